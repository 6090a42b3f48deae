package reinstall

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/request"
)

// attempt is the ID of every attempt here.
var attempt = uuid.MustParse("a1b2c3d4-0000-4000-8000-000000000001")

// part is a partition of an old system, in MiB.
type part struct {
	from, size int64
	fs, mount  string
	logical    bool
	holder     string
}

// old is an old system: its disk has 8 GiB, its memory is 2 GiB, and a third of each
// file system is in use.
func old(t *testing.T, firmware, table string, parts ...part) Config {
	t.Helper()
	disk := envscan.Disk{Name: "vda", Path: "pci-0000:00:02.0", Serial: "QM0001", Size: 8 << 30, SectorSize: 512, Transport: "virtio"}
	now := layout.Table{Kind: table, GUID: uuid.UUID{7}, SectorSize: 512, Size: disk.Size}
	run := Running{VariableRoom: -1, Swapped: map[string]int64{}}
	number, logical := 0, 4
	for _, p := range parts {
		e := layout.Entry{FirstLBA: uint64(p.from) << 11, LastLBA: uint64(p.from+p.size)<<11 - 1}
		if number++; p.logical {
			number--
			logical++
			e.Number = logical
		} else {
			e.Number = number
		}
		if table == layout.KindMBR {
			e.MBR = &layout.MBREntry{Type: 0x83, Part: "primary"}
			switch {
			case p.logical:
				e.MBR.Part = "logical"
			case p.fs == "extended":
				e.MBR.Type, e.MBR.Part = 0x0f, "extended"
			}
		} else {
			e.GUID = uuid.UUID{byte(e.Number)}
			if p.fs == "vfat" {
				e.Type = layout.TypeESP
			}
		}
		now.Entries = append(now.Entries, e)
		if p.fs == "extended" {
			continue
		}
		f := partition(p, e.Number)
		disk.Partition = append(disk.Partition, f)
		disk.InUse = append(disk.InUse, "/dev/"+f.Name+" mounted on "+p.mount)
		if p.mount != "" && p.fs != "swap" {
			run.Filesystems = append(run.Filesystems, Filesystem{Mountpoint: p.mount, Device: f.Name, Type: p.fs, UUID: f.Content[0].UUID, Free: p.size << 20 * 2 / 3})
		}
	}
	disk.Table = &now
	writable := true
	facts := envscan.Facts{
		Schema: envscan.Schema,
		HW: envscan.HW{
			Arch: "amd64", Memory: envscan.Memory{Total: 2 << 30}, Disk: []envscan.Disk{disk},
			Firmware: envscan.Firmware{Type: firmware, VarsWrite: &writable},
			NIC:      []envscan.NIC{{Name: "eth0", Path: "pci-0000:00:03.0", Driver: "virtio_net", HWAddr: "52:54:00:12:34:56", HWAddrFrom: "permanent"}},
		},
		OS:    envscan.OS{Kexec: envscan.Kexec{Allowed: true}},
		State: envscan.State{MemoryAvailable: 1800 << 20},
	}
	return Config{
		ID: attempt, Facts: facts, Running: run, Request: debian(t), Disk: "main", Secrets: []string{"password"},
		Sizes: Sizes{Kernel: 9 << 20, Initrd: 24 << 20, Payload: 150 << 20, Load: 100 << 20, Total: 256 << 20},
	}
}

func partition(p part, number int) envscan.Partition {
	f := envscan.Partition{Number: number, Name: "vda" + string(rune('0'+number)), Offset: p.from << 20, Size: p.size << 20}
	f.Content = []probe.Result{{Type: p.fs, Usage: probe.UsageFilesystem, UUID: "0000000" + string(rune('0'+number)), Size: f.Size, MinSize: f.Size / 3}}
	switch {
	case p.fs == "swap":
		f.Content[0].Usage, f.Swap = probe.UsageOther, p.mount != ""
	case p.mount != "":
		f.Mounts = []string{p.mount}
	}
	if p.holder != "" {
		f.Holders = []string{p.holder}
	}
	return f
}

func debian(t *testing.T) request.Request {
	t.Helper()
	doc, err := images.Layout("default", "amd64")
	if err != nil {
		t.Fatal(err)
	}
	l, err := layout.Parse("default.yaml", doc)
	if err != nil {
		t.Fatal(err)
	}
	return request.Request{
		Version: request.Version, Item: "debian",
		Payload: request.Payload{
			Format: "erofs", Size: 150 << 20, TreeSize: 400 << 20, Arch: "amd64", Kernel: "6.12.1-amd64",
			SHA256: strings.Repeat("ab", 32), Source: request.Source{Path: "/out/payload.erofs"},
		},
		Disks:  map[string]request.DiskSelector{"main": {Serial: "QM0001"}},
		Layout: l,
		System: request.System{
			Hostname: "web1", Timezone: "UTC", Locale: "C.UTF-8", Keymap: "us",
			Users:   []request.User{{Name: "anna", PasswordSecret: "password"}},
			Network: request.Network{Mode: request.NetworkDHCP},
			APT:     request.APT{Suite: "trixie", Mirror: "http://mirror.example.org/debian"},
		},
		Finish: request.FinishReboot,
	}
}

// The old systems of the issue. All but the first four are full.
func biosSwap(t *testing.T) Config {
	return old(t, "bios", layout.KindMBR, part{from: 1, size: 7000, fs: "ext4", mount: "/"}, part{from: 7001, size: 1190, fs: "swap", mount: "on"})
}

func biosFree(t *testing.T) Config {
	return old(t, "bios", layout.KindMBR, part{from: 1, size: 3000, fs: "ext4", mount: "/"})
}

// The root has all of the disk, to its last sector.
func biosFull(t *testing.T) Config {
	return old(t, "bios", layout.KindMBR, part{from: 1, size: 8191, fs: "ext4", mount: "/"})
}

// As Debian's installer cuts a small disk.
func biosLogical(t *testing.T) Config {
	return old(t, "bios", layout.KindMBR, part{from: 1, size: 7000, fs: "ext4", mount: "/"}, part{from: 7001, size: 1190, fs: "extended"}, part{from: 7002, size: 1189, fs: "swap", mount: "on", logical: true})
}

func uefiGRUB(t *testing.T) Config {
	c := old(t, "uefi", layout.KindGPT, part{from: 1, size: 100, fs: "vfat", mount: "/boot/efi"}, part{from: 101, size: 8090, fs: "ext4", mount: "/"})
	c.Running.GRUB = &GRUBFound{Folder: "/boot/grub", Mountpoint: "/", OneShot: true}
	return c
}

// large has its disk in sectors of 4096 bytes.
func large(c Config) Config {
	d := &c.Facts.HW.Disk[0]
	d.SectorSize, d.Table.SectorSize = 4096, 4096
	for i := range d.Table.Entries {
		e := &d.Table.Entries[i]
		e.FirstLBA, e.LastLBA = e.FirstLBA/8, (e.LastLBA+1)/8-1
	}
	return c
}

func uefiBtrfs(t *testing.T) Config {
	c := old(t, "uefi", layout.KindGPT, part{from: 1, size: 512, fs: "vfat", mount: "/boot/efi"}, part{from: 513, size: 7678, fs: "btrfs", mount: "/"})
	c.Facts.OS.Loader = "systemd-boot 257.7"
	return c
}

// lvm has everything but /boot in a volume group.
func lvm(t *testing.T, swap bool) Config {
	pv := int64(7678)
	if swap {
		pv = 6000
	}
	parts := []part{{from: 1, size: 512, fs: "ext4", mount: "/boot"}, {from: 513, size: pv, fs: "LVM2_member", holder: "dm-0"}}
	if swap {
		parts = append(parts, part{from: 6513, size: 1678, fs: "swap", mount: "on"})
	}
	c := old(t, "bios", layout.KindGPT, parts...)
	c.Facts.HW.Volume = []envscan.Volume{{Name: "dm-0", Kind: "lvm", Title: "vg0-root", From: []string{"vda2"}}}
	c.Facts.HW.Volume[0].Mounts = []string{"/"}
	c.Running.Filesystems = append(c.Running.Filesystems, Filesystem{Mountpoint: "/", Device: "dm-0", Type: "ext4", Free: 4 << 30})
	return c
}

// ubuntu has a volume group that is half free, as Ubuntu's server leaves it.
func ubuntu(t *testing.T) Config {
	return onLVM(old(t, "uefi", layout.KindGPT, part{from: 1, size: 512, fs: "vfat", mount: "/boot/efi"},
		part{from: 513, size: 1024, fs: "ext4", mount: "/boot"}, part{from: 1537, size: 6654, fs: "LVM2_member", holder: "dm-0"}), "vda3")
}

// logicalLVM is as Debian's installer cuts a disk with an MBR.
func logicalLVM(t *testing.T) Config {
	return onLVM(old(t, "bios", layout.KindMBR, part{from: 1, size: 512, fs: "ext4", mount: "/boot"},
		part{from: 514, size: 7677, fs: "extended"}, part{from: 515, size: 7676, fs: "LVM2_member", holder: "dm-0", logical: true}), "vda5")
}

// onLVM has the root in a physical volume whose last half is free.
func onLVM(c Config, device string) Config {
	c.Facts.HW.Volume = []envscan.Volume{{Name: "dm-0", Kind: "lvm", Title: "vg0-root", From: []string{device}}}
	c.Facts.HW.Volume[0].Mounts = []string{"/"}
	c.Running.Filesystems = append(c.Running.Filesystems, Filesystem{Mountpoint: "/", Device: "dm-0", Type: "ext4", Free: 2 << 30})
	c.Running.Physical = []PhysicalVolume{{Device: device, Group: "vg0", Least: 3 << 30}}
	return c
}

// shrinking has nothing in one piece: the RAM system shrinks the root.
func shrinking(c Config) Config {
	c.Running.NoPiece = map[string]string{}
	for _, f := range c.Running.Filesystems {
		c.Running.NoPiece[f.Device] = "the file system has no free piece of that size there"
	}
	return c
}

// encrypted has all but /boot in a volume that is encrypted, as installers cut the disk
// of a laptop.
func encrypted(t *testing.T) Config {
	c := old(t, "uefi", layout.KindGPT, part{from: 1, size: 512, fs: "vfat", mount: "/boot/efi"},
		part{from: 513, size: 1024, fs: "ext4", mount: "/boot"}, part{from: 1537, size: 6654, fs: "crypto_LUKS", holder: "dm-0"})
	c.Facts.HW.Volume = []envscan.Volume{{Name: "dm-0", Kind: "crypt", Title: "luks-root", From: []string{"vda3"}}}
	c.Facts.HW.Volume[0].Mounts = []string{"/"}
	c.Running.Filesystems = append(c.Running.Filesystems, Filesystem{Mountpoint: "/", Device: "dm-0", Type: "ext4", Free: 2 << 30})
	return c
}

// encryptedESP has kernels on a large ESP, and systemd-boot: all else is encrypted.
func encryptedESP(t *testing.T) Config {
	c := old(t, "uefi", layout.KindGPT, part{from: 1, size: 1023, fs: "vfat", mount: "/boot"}, part{from: 1024, size: 7167, fs: "crypto_LUKS", holder: "dm-0"})
	c.Facts.HW.Volume = []envscan.Volume{{Name: "dm-0", Kind: "crypt", Title: "luks-root", From: []string{"vda2"}}}
	c.Facts.HW.Volume[0].Mounts = []string{"/"}
	c.Running.Filesystems = append(c.Running.Filesystems, Filesystem{Mountpoint: "/", Device: "dm-0", Type: "ext4", Free: 2 << 30})
	c.Facts.OS.Loader = "systemd-boot 257"
	c.Way = SystemdBoot
	return c
}

// besideWindows has a btrfs that is full beside an NTFS that is mounted.
func besideWindows(t *testing.T) Config {
	c := old(t, "uefi", layout.KindGPT, part{from: 1, size: 128, fs: "vfat", mount: "/boot/efi"},
		part{from: 129, size: 3967, fs: "btrfs", mount: "/"}, part{from: 4096, size: 4095, fs: "ntfs", mount: "/windows"})
	c.Running.Filesystems[1].Free, c.Running.Filesystems[2].Type = 100<<20, "ntfs3"
	return c
}

func noKexec(c Config) Config {
	c.Facts.OS.Kexec = envscan.Kexec{Why: []string{"kernel.kexec_load_disabled is 1"}}
	return c
}

func small(c Config) Config {
	c.Facts.HW.Memory.Total, c.Facts.State.MemoryAvailable = 512<<20, 300<<20
	c.Sizes.Payload, c.Request.Payload.Size = 700<<20, 700<<20
	return c
}
