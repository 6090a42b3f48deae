package facts

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/cli/like"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

func number(n int64) *int64 { return &n }

// original is a machine with one of everything that QEMU can be like.
func original() envscan.Facts {
	disk := func(name, transport, serial string, size int64, sector, physical int) envscan.Disk {
		return envscan.Disk{Name: name, Transport: transport, Serial: serial, Size: size, SectorSize: sector, Physical: physical}
	}
	sata := disk("sda", "sata", "SATA-0001", 3<<30, 512, 4096)
	sata.Model, sata.WWN, sata.Rotational = "EXAMPLE TURNING", "0x5000c500aabbccdd", true
	still := disk("sdb", "sata", "SATA-0002", 5<<20, 512, 512)
	still.Model = "EXAMPLE STILL"
	scsi := disk("sdc", "scsi", "SCSI-0001", 2<<30, 4096, 4096)
	scsi.WWN = "0x5000c500aabbccee"
	nic := func(name, path, driver string, last byte) envscan.NIC {
		return envscan.NIC{Name: name, Kind: "ethernet", Path: path, Driver: driver, HWAddr: fmt.Sprintf("02:00:00:00:00:%02x", last)}
	}
	onboard, far := nic("eno1", "pci-0000:00:1f.6", "e1000e", 1), nic("eno9", "pci-0000:3d:00.0", "e1000e", 2)
	onboard.Index, onboard.Label = number(1), "Onboard - Ethernet"
	far.Index, far.Label = number(9), "LAN 9"
	return envscan.Facts{HW: envscan.HW{
		Arch: "amd64", Firmware: envscan.Firmware{Type: "bios"}, CPU: envscan.CPU{Count: 1}, Memory: envscan.Memory{Total: 1000 << 20},
		Disk: []envscan.Disk{
			sata, still, scsi, disk("nvme0n1", "nvme", "NVME-0001", 1<<40, 4096, 4096), disk("vda", "virtio", "VIRTIO-0001", 1<<30, 512, 512),
			disk("sdd", "usb", "USB-0001", 64<<20, 512, 512), disk("mmcblk0", "mmc", "0x12345678", 3<<30, 512, 512),
		},
		NIC: []envscan.NIC{
			onboard, far, nic("two1", "pci-0000:3d:00.1", "e1000e", 3), nic("ens3", "pci-0000:00:03.0", "virtio_net", 4),
			nic("enp2s0", "pci-0000:02:00.0", "r8169", 5), nic("enp3s0", "pci-0000:03:00.0", "e1000", 6), nic("usb0", "pci-0000:00:14.0-usb-0:3:1.0", "cdc_ether", 7),
			{Name: "wlan0", Kind: "wlan", Path: "pci-0000:04:00.0", Driver: "iwlwifi", HWAddr: "02:00:00:00:00:08", Wireless: true},
		},
	}}
}

// TestLike: a machine that is like another has the same facts, but for what was
// said to be different.
func TestLike(t *testing.T) {
	lab.Need(t)
	was := original()
	m, err := like.New(was, like.Options{MaxMemory: 512 << 20, MaxDisk: 1 << 35})
	if err != nil {
		t.Fatal(err)
	}
	for i := range m.Config.Disks {
		m.Config.Disks[i].Path = filepath.Join(t.TempDir(), "disk.img")
		if err := vm.BlankDisk(m.Config.Disks[i].Path, m.Disks[i].Size); err != nil {
			t.Fatal(err)
		}
	}
	out := machineScript{
		modules: []string{fmt.Sprintf("mac80211_hwsim radios=%d", m.Radios), "virtio_pci", "virtio_net", "virtio_scsi", "e1000", "e1000e", "8139too",
			"xhci_pci", "usb_storage", "cdc_ether", "ahci", "sd_mod", "nvme", "sdhci_pci", "mmc_block"},
		tools:  []string{"sleep", "ls"},
		script: "for i in 1 2 3 4 5 6 7 8 9; do test -e /sys/block/mmcblk0 && ls -d /sys/block/sdd && break; sleep 1; done\necho '@ dump'\nvic-env dump 2>&1\necho '@ end'\n",
		config: m.Config,
	}.run(t)
	var is envscan.Facts
	if err := json.Unmarshal([]byte(out["dump"]), &is); err != nil {
		t.Fatalf("%v in %s", err, out["dump"])
	}
	told := map[string]bool{}
	for _, d := range m.Differences {
		told[d.Fact] = true
	}
	c := comparison{t: t, told: told}
	c.machine(was, is)
	c.disks(was.HW.Disk, is.HW.Disk)
	c.nics(was.HW.NIC, is.HW.NIC)
}

// comparison checks that facts are the same, or were said to be different.
type comparison struct {
	t    *testing.T
	told map[string]bool
}

func (c comparison) same(fact string, was, is any) {
	c.t.Helper()
	if (fmt.Sprint(was) == fmt.Sprint(is)) == c.told[fact] {
		c.t.Errorf("%s was %v and is %v; said to be different: %v", fact, was, is, c.told[fact])
	}
}

func (c comparison) machine(was, is envscan.Facts) {
	c.same("hw.arch", was.HW.Arch, is.HW.Arch)
	c.same("hw.firmware.type", was.HW.Firmware.Type, is.HW.Firmware.Type)
	c.same("hw.cpu.count", was.HW.CPU.Count, is.HW.CPU.Count)
	if c.same("hw.memory.total", was.HW.Memory.Total, is.HW.Memory.Total); is.HW.Memory.Total > 512<<20 || is.HW.Memory.Total < 384<<20 {
		c.t.Errorf("%d bytes of memory", is.HW.Memory.Total)
	}
}

func (c comparison) disks(was, is []envscan.Disk) {
	if len(was)+1 != len(is) { // and that of the script's output
		c.t.Errorf("%d disks were %d: %+v", len(is), len(was), is)
	}
	found := map[string]envscan.Disk{}
	for _, d := range is {
		found[d.Serial] = d
		if d.Transport == "mmc" {
			found["0x12345678"] = d
		}
	}
	for _, d := range was {
		fact, other := "hw.disk[name="+d.Name+"]", found[d.Serial]
		c.same(fact+".transport", d.Transport, other.Transport)
		c.same(fact+".serial", d.Serial, other.Serial)
		c.same(fact+".size", d.Size, other.Size)
		c.same(fact+".sectorSize", d.SectorSize, other.SectorSize)
		if c.same(fact+".physicalSector", d.Physical, other.Physical); d.WWN != "" {
			c.same(fact+".wwn", d.WWN, other.WWN)
		}
		if d.Model != "" {
			c.same(fact+".model", d.Model, other.Model)
		}
		if d.Transport == "sata" {
			c.same(fact+".rotational", d.Rotational, other.Rotational)
		}
	}
}

func (c comparison) nics(was, is []envscan.NIC) {
	found, radios := map[string]envscan.NIC{}, 0
	for _, n := range is {
		if len(n.HWAddr) > 2 {
			found[n.HWAddr[2:]] = n
		}
		if n.Wireless {
			radios++
		}
	}
	if len(was) != len(is) || radios != 1 {
		c.t.Errorf("%d network cards were %d, %d wireless: %+v", len(is), len(was), radios, is)
	}
	for _, n := range was {
		fact, other := "hw.nic[name="+n.Name+"]", found[n.HWAddr[2:]]
		if n.Wireless {
			c.same(fact+".driver", n.Driver, "mac80211_hwsim")
			continue
		}
		c.same(fact+".hwaddr", n.HWAddr, other.HWAddr)
		c.same(fact+".path", n.Path, other.Path)
		c.same(fact+".driver", n.Driver, other.Driver)
		c.same(fact+".label", n.Label, other.Label)
		was, is := int64(0), int64(0)
		if n.Index != nil {
			was = *n.Index
		}
		if other.Index != nil {
			is = *other.Index
		}
		c.same(fact+".index", was, is)
	}
}
