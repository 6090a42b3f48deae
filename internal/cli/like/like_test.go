package like

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/envscan"
)

var update = flag.Bool("update", false, "rewrite golden files")

func number(n int64) *int64 { return &n }

func yes() *bool { v := true; return &v }

// machines are facts as real machines have them.
func machines() map[string]envscan.Facts {
	laptop := envscan.Facts{HW: envscan.HW{
		Arch: "amd64", Firmware: envscan.Firmware{Type: "uefi", SecureBoot: yes()}, CPU: envscan.CPU{Count: 8},
		Memory: envscan.Memory{Total: 16542535680, DIMM: []envscan.DIMM{{Size: 8 << 30}, {Size: 8 << 30}}},
		Disk: []envscan.Disk{
			{Name: "nvme0n1", Serial: "S4EWNX0M123456", WWN: "eui.0025385b71b00b62", Size: 512110190592, SectorSize: 512, Physical: 512, Transport: "nvme"},
			{Name: "mmcblk0", Serial: "0x12345678", Size: 31914983424, SectorSize: 512, Physical: 512, Transport: "mmc"},
			{Name: "sda", Serial: "A serial that is much too long", Size: 4004511744, SectorSize: 512, Physical: 512, Transport: "usb"},
		},
		NIC: []envscan.NIC{
			{Name: "enp0s31f6", Kind: "ethernet", Path: "pci-0000:00:1f.6", Driver: "e1000e", HWAddr: "02:00:00:00:00:01", Index: number(1), Label: "Onboard - Ethernet"},
			{Name: "wlp2s0", Kind: "wlan", Path: "pci-0000:02:00.0", Driver: "iwlwifi", HWAddr: "02:00:00:00:00:02", Wireless: true},
			{Name: "enx020000000003", Kind: "ethernet", Path: "pci-0000:00:14.0-usb-0:3:1.0", Driver: "r8152", HWAddr: "02:00:00:00:00:03"},
			{Name: "wwan0", Kind: "wwan", Path: "pci-0000:00:14.0-usb-0:4:1.0", Driver: "cdc_mbim"},
		},
	}}
	server := envscan.Facts{HW: envscan.HW{
		Arch: "amd64", Firmware: envscan.Firmware{Type: "bios"}, CPU: envscan.CPU{Count: 512}, Memory: envscan.Memory{Total: 540_000_000_000},
		NIC: []envscan.NIC{
			{Name: "eno1", Kind: "ethernet", Path: "pci-0000:01:00.0", Driver: "igb", HWAddr: "02:00:00:00:01:01", Index: number(1), Label: "NIC1"},
			{Name: "eno2", Kind: "ethernet", Path: "pci-0000:01:00.1", Driver: "igb", HWAddr: "02:00:00:00:01:02", Index: number(2), Label: "NIC2"},
			{Name: "enp2s0", Kind: "ethernet", Path: "pci-0000:02:00.0", Driver: "virtio_net", HWAddr: "02:00:00:00:01:03"},
			{Name: "ens3f1", Kind: "ethernet", Path: "pci-0000:3d:00.1", Driver: "e1000e", HWAddr: "02:00:00:00:01:04", Index: number(9)},
			{Name: "old0", Kind: "ethernet", Path: "pci-0000:05:04.0", Driver: "8139too", Current: "02:00:00:00:01:05"},
			{Name: "there", Kind: "ethernet", Path: "pci-0000:00:00.0", Driver: "e1000", HWAddr: "hash:3f1a"},
			{Name: "far", Kind: "ethernet", Path: "pci-0001:01:00.0", Driver: "vmxnet3", HWAddr: "03:00:00:00:00:01"},
			{Name: "again", Kind: "ethernet", Path: "pci-0000:02:00.0", Driver: "virtio_net", HWAddr: "02:00:00:00:01:06"},
			{Name: "ib0", Kind: "infiniband", Path: "pci-0000:06:00.0", Driver: "mlx5_core"},
		},
	}}
	for _, name := range []string{"sda", "sdb", "sdc", "sdd", "sde", "sdf", "sdg"} {
		server.HW.Disk = append(server.HW.Disk, envscan.Disk{Name: name, Serial: "Z" + name, WWN: "0x5000c500aabbccd" + name[2:3], Model: "EXAMPLE ST4000 " + name, Size: 4000787030016,
			SectorSize: 512, Physical: 4096, Transport: "sata", Rotational: name != "sda"})
	}
	server.HW.Disk = append(server.HW.Disk,
		envscan.Disk{Name: "sdh", Serial: "S", WWN: "t10.LONG", Model: "A model of many letters", Size: 1 << 40, SectorSize: 4096, Physical: 4096, Transport: "sas"},
		envscan.Disk{Name: "sdi", Size: 1<<40 + 512, SectorSize: 4096, Physical: 4096, Transport: "sata"},
		envscan.Disk{Name: "xvda", Size: 1<<30 + 512, SectorSize: 4096, Physical: 4096, Transport: "xen", ReadOnly: true})
	board := envscan.Facts{HW: envscan.HW{
		Arch: "arm64", Firmware: envscan.Firmware{Type: "devicetree"}, CPU: envscan.CPU{Count: 4}, Memory: envscan.Memory{Total: 3_900_000_000},
		Disk: []envscan.Disk{{Name: "mmcblk0", Size: 32 << 30, SectorSize: 512, Physical: 512, Transport: "mmc"}},
		NIC:  []envscan.NIC{{Name: "end0", Kind: "ethernet", Path: "platform-fd580000.ethernet", Driver: "bcmgenet", HWAddr: "02:00:00:00:02:01"}},
	}}
	return map[string]envscan.Facts{"laptop": laptop, "server": server, "board": board}
}

func TestGolden(t *testing.T) {
	for name, f := range machines() {
		for scale, o := range map[string]Options{"": {}, "-small": {MaxMemory: 512 << 20, MaxCPUs: 2, MaxDisk: 1 << 30, IGB: true}} {
			m, err := New(f, o)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(m, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+scale+".json")
			if *update {
				if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Errorf("%s: %s", golden, diff)
			}
		}
	}
}

func TestNoMachine(t *testing.T) {
	for want, f := range map[string]envscan.Facts{
		"hw.arch is riscv64":     {HW: envscan.HW{Arch: "riscv64"}},
		"hw.memory.total is 0":   {HW: envscan.HW{Arch: "amd64", CPU: envscan.CPU{Count: 1}}},
		"no facts of a machine":  {HW: envscan.HW{Arch: "amd64", Memory: envscan.Memory{Total: 1 << 30}}},
		"hw.arch is null: only ": {},
	} {
		if _, err := New(f, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
