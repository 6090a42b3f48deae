package vm

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

// fixed is a setup that no host had a part in.
func fixed(t *testing.T, c Config) setup {
	t.Helper()
	c.Dir = "/run"
	c, err := c.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	s := setup{Config: c, qemu: "/usr/bin/" + targets[c.Arch].qemu, accel: "tcg"}
	if c.Firmware == "uefi" {
		s.code, s.vars, s.template = "/fw/CODE.fd", c.Vars, "/fw/VARS.fd"
		if s.vars == "" {
			s.vars = s.temp("vars.fd")
		}
	}
	if s.initrd = strings.Join(c.Initrd, ""); len(c.Initrd) > 1 {
		s.initrd = s.temp("initrd")
	}
	for _, d := range c.Disks {
		img, under := image{d.Path, "raw"}, image{}
		if d.Snapshot {
			img, under = image{s.temp("disk.qcow2"), "qcow2"}, img
		}
		s.disks, s.backing = append(s.disks, img), append(s.backing, under)
	}
	for i, n := range c.NICs {
		if n.Index > 0 {
			s.onboard = append(s.onboard, s.temp(fmt.Sprintf("onboard%d", i)))
		}
	}
	for range c.Credentials {
		s.creds = append(s.creds, s.temp("credential"+string(rune('0'+len(s.creds)))))
	}
	return s
}

func TestCommandGolden(t *testing.T) {
	for name, c := range map[string]Config{
		"bios": {Name: "it's, me", Disks: []Disk{{Path: "/d/a,b.img", Serial: "QM0001"}}},
		"another-machine": {
			Disks: []Disk{
				{Path: "/d/sata", Bus: "sata", Serial: "S1", Model: "EXAMPLE, A", WWN: "5000c50012345678", RPM: 7200, Physical: 4096},
				{Path: "/d/scsi", Bus: "scsi", Model: "EXAMPLE B", RPM: 1}, {Path: "/d/card", Bus: "mmc"},
			},
			NICs: []NIC{
				{Model: "e1000e", Address: "3d:00.1"}, {Model: "e1000e", Address: "3d:00.0"}, {Model: "usb-net"}, {},
				{Model: "e1000e", Address: "00:1f.6", Index: 1, Label: "Onboard, LAN"}, {Model: "rtl8139", Address: "02:00.0", Index: 2}, {Model: "e1000", Address: "01:00.0"},
			},
		},
		"uefi-everything": {
			Firmware: "uefi", Vars: "/v/vars.fd", MemoryMiB: 512, CPUs: 1,
			Events: true, Watchdog: "reset", NoReboot: true, Extra: []string{"-d", "guest_errors"},
			Credentials: map[string]string{"vic.psk": "hunter2", "ssh.key": "k"}, EasyToEmulate: true,
			Disks: []Disk{
				{Path: "/d/virtio", SectorSize: 4096, Hotplug: true, BootIndex: 1, Cache: "unsafe"},
				{Path: "/d/nvme", Bus: "nvme", Cache: "none"},
				{Path: "/d/sata", Bus: "sata", ReadOnly: true},
				{Path: "/d/usb", Bus: "usb", Snapshot: true},
				{Path: "/d/scsi", Bus: "scsi", SectorSize: 4096, LogWrites: "/d/log", FailWrites: 2},
			},
			NICs: []NIC{{Forward: []int{22, 80}}, {Model: "e1000e", MAC: "02:00:00:00:00:01", Restrict: true}},
		},
		"direct": {Kernel: "/k/vmlinuz", Initrd: []string{"/k/a", "/k/b"}, Cmdline: "console=ttyS0 quiet"},
		"arm64":  {Arch: "arm64", Disks: []Disk{{Path: "/d/sata", Bus: "sata"}}},
		"raspberry-pi": {
			Arch: "arm64", Firmware: "none", Board: RaspberryPi, Kernel: "/k/kernel8.img", Initrd: []string{"/k/a"}, Cmdline: "quiet", DeviceTree: "/k/pi.dtb",
			Disks: []Disk{{Path: "/d/card, a", Bus: "mmc", Cache: "unsafe"}}, NICs: []NIC{{Model: "usb-net", Forward: []int{22}, Guest: "10.0.2.1"}}, NoReboot: true,
		},
		"arm64-plain": {Arch: "arm64", Firmware: "none", Kernel: "/k/Image", Initrd: []string{"/k/a"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := fixed(t, c)
			live := backends{console: "socket,id=console,fd=3", monitor: "socket,id=monitor,fd=4"}
			if c.Events {
				live.events = "socket,id=events,fd=5"
			}
			got := "# live\n" + strings.Join(s.args(live), "\n") + "\n# by hand\n" + s.command()
			if strings.Contains(got, "hunter2") {
				t.Error("a secret is in the arguments")
			}
			golden(t, name, got)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got:\n%s", file, diff)
	}
}

func TestConfigRefuses(t *testing.T) {
	disk := func(d Disk) Config { d.Path = "/x"; return Config{Disks: []Disk{d}} }
	for want, c := range map[string]Config{
		`arch "riscv64"`:           {Arch: "riscv64"},
		`firmware "efi"`:           {Firmware: "efi"},
		"arm64 has no BIOS":        {Arch: "arm64", Firmware: "bios"},
		"firmware none needs":      {Firmware: "none"},
		"needs firmware uefi":      {Vars: "/v"},
		"need a kernel":            {Cmdline: "quiet"},
		`accelerator "hvf"`:        {Accel: "hvf"},
		`watchdog action "reboot"`: {Watchdog: "reboot"},
		"-1 MiB":                   {MemoryMiB: -1},
		`credential name "a=b"`:    {Credentials: map[string]string{"a=b": ""}},
		"no path":                  {Disks: []Disk{{}}},
		`format "vmdk"`:            disk(Disk{Format: "vmdk"}),
		`bus "ide"`:                disk(Disk{Bus: "ide"}),
		`cache "fast"`:             disk(Disk{Cache: "fast"}),
		"sector size 520":          disk(Disk{SectorSize: 520}),
		"512-byte sectors":         disk(Disk{SectorSize: 4096, Bus: "sata"}),
		"20 fit":                   disk(Disk{Serial: strings.Repeat("s", 21)}),
		"hotplug ports are for":    disk(Disk{Bus: "usb", Hotplug: true}),
		"would lack flushes on n":  disk(Disk{Bus: "nvme", LogWrites: "/l"}),
		"with cache writethrough":  disk(Disk{Cache: "writethrough", LogWrites: "/l"}),
		"not -1":                   disk(Disk{FailWrites: -1}),
		"can fail on virtio":       disk(Disk{Bus: "sata", FailWrites: 1}),
		"boot index -1":            disk(Disk{BootIndex: -1}),
		"the user-mode network":    {NICs: []NIC{{Cable: os.Stdin, Forward: []int{22}}}},
		"port 70000":               {NICs: []NIC{{Forward: []int{70000}}}},
		`board "raspi9"`:           {Board: "raspi9"},
		"for arm64 with firmware":  {Board: RaspberryPi},
		"and a device tree":        {Board: RaspberryPi, Arch: "arm64", Firmware: "none", Kernel: "/k"},
		"one disk":                 {Board: RaspberryPi, Arch: "arm64", Firmware: "none", Kernel: "/k", DeviceTree: "/d", Disks: []Disk{{Path: "/x"}}},
		"no PCI":                   {Board: RaspberryPi, Arch: "arm64", Firmware: "none", Kernel: "/k", DeviceTree: "/d", Events: true},
		"of model usb-net":         {Board: RaspberryPi, Arch: "arm64", Firmware: "none", Kernel: "/k", DeviceTree: "/d", NICs: []NIC{{}}},
		`address "02:00"`:          {NICs: []NIC{{MAC: "02:00"}}},
	} {
		if _, err := c.withDefaults(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestSMBIOSString(t *testing.T) {
	for in, want := range map[string]string{
		"plain\ntext": "io.systemd.credential:n=plain\ntext",
		"":            "io.systemd.credential:n=",
		"a\x00b":      "io.systemd.credential.binary:n=YQBi",
		"\xff":        "io.systemd.credential.binary:n=/w==",
	} {
		if got := smbiosString("n", in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestParsePorts(t *testing.T) {
	text := "Hub -1 (nic0):\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n" +
		"  TCP[HOST_FORWARD]   9       127.0.0.1 34799       10.0.2.15    22     0     0\n" +
		"  TCP[ESTABLISHED]   11       127.0.0.1 34799       10.0.2.15    22     0     0\n" +
		"Hub -1 (nic1):\n  TCP[HOST_FORWARD]  10       127.0.0.1 40001       10.0.3.15    22     0     0\n"
	want := map[portKey]string{{0, 22}: "127.0.0.1:34799", {1, 22}: "127.0.0.1:40001"}
	if diff := cmp.Diff(want, parsePorts(text), cmp.AllowUnexported(portKey{})); diff != "" {
		t.Error(diff)
	}
}

func FuzzParsePorts(f *testing.F) {
	f.Add("Hub -1 (nic0):\n  TCP[HOST_FORWARD]   9       127.0.0.1 34799       10.0.2.15    22     0     0\n")
	f.Fuzz(func(t *testing.T, s string) {
		for k := range parsePorts(s) {
			if k.nic < 0 || k.guest < 0 {
				t.Errorf("%+v", k)
			}
		}
	})
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{"a-b/c=d,e": "a-b/c=d,e", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$HOME": "'$HOME'"} {
		if got := shellWord(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

// A cable is a descriptor; a run by hand has none, and its card leads nowhere.
func TestCable(t *testing.T) {
	s := fixed(t, Config{NICs: []NIC{{}, {Cable: os.Stdin}}})
	for want, b := range map[string]backends{
		"socket,id=nic1,fd=7":         {cables: map[int]int{1: 7}},
		"ipv6-net=fec0:0:0:1::/64,re": {},
	} {
		if got := strings.Join(s.args(b), " "); !strings.Contains(got, want) || !strings.Contains(got, "user,id=nic0,net=10.0.2.0/24,ipv6-net=fec0:0:0:0::/64 ") {
			t.Errorf("want %s in\n%s", want, got)
		}
	}
}
