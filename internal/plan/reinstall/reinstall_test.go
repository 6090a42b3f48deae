package reinstall

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/stage"
)

var update = flag.Bool("update", false, "rewrite golden files")

var machines = map[string]func(*testing.T) Config{
	"bios-free":    biosFree,
	"bios-swap":    biosSwap,
	"bios-logical": biosLogical,
	"bios-full":    func(t *testing.T) Config { return shrinking(biosFull(t)) },
	"bios-extent": func(t *testing.T) Config {
		c := biosFull(t)
		c.Running.Piece = map[string]int64{"vda1": 6200 << 20}
		return c
	},
	"bios-extent-grub": func(t *testing.T) Config {
		c := noKexec(biosFull(t))
		c.Running.GRUB = &GRUBFound{Folder: "/boot/grub", Mountpoint: "/", OneShot: true}
		return c
	},
	"uefi-extent":        uefiGRUB,
	"uefi-extent-boot":   encrypted,
	"uefi-extent-esp":    encryptedESP,
	"uefi-extent-ntfs":   besideWindows,
	"uefi-extent-xfs":    func(t *testing.T) Config { c := noKexec(uefiGRUB(t)); c.Running.Filesystems[1].Type = "xfs"; return c },
	"bios-lvm-swap":      func(t *testing.T) Config { return lvm(t, true) },
	"uefi-lvm":           ubuntu,
	"bios-lvm-logical":   logicalLVM,
	"uefi-ext4-full":     func(t *testing.T) Config { return shrinking(uefiGRUB(t)) },
	"uefi-4096":          func(t *testing.T) Config { return shrinking(large(uefiGRUB(t))) },
	"uefi-btrfs":         uefiBtrfs,
	"uefi-btrfs-noexec":  func(t *testing.T) Config { return noKexec(uefiBtrfs(t)) },
	"bios-swap-512M":     func(t *testing.T) Config { return small(biosSwap(t)) },
	"uefi-btrfs-sd-boot": func(t *testing.T) Config { c := uefiBtrfs(t); c.Way = SystemdBoot; return c },
	"uefi-grub": func(t *testing.T) Config {
		c := shrinking(uefiGRUB(t))
		c.Way = GRUB // the ESP has no room for a UKI
		return c
	},
	"bios-full-swapfile":  func(t *testing.T) Config { return tight(biosFull(t), swapFile("/swap.img", 1024)) },
	"uefi-ext4-swapfiles": func(t *testing.T) Config { return tight(shrinking(uefiGRUB(t)), someSwapFiles()...) },
	"uefi-btrfs-swapfile": func(t *testing.T) Config { return tight(uefiBtrfs(t), swapFile("/swap/swapfile", 2048)) },
	"bios-grub": func(t *testing.T) Config {
		c := noKexec(biosSwap(t))
		c.Running.GRUB = &GRUBFound{Folder: "/boot/grub", Mountpoint: "/", OneShot: true}
		return c
	},
}

func TestGolden(t *testing.T) {
	for name, machine := range machines {
		t.Run(name, func(t *testing.T) {
			p, err := New(machine(t))
			if err != nil {
				t.Fatal(err)
			}
			sound(t, p)
			text, _, _ := strings.Cut(p.Describe(), "\nthen, in RAM:")
			doc := p
			doc.Install.Steps, doc.Install.Storage.Create = nil, nil // have their own
			doc.Install.Storage.Mount, doc.Install.Storage.Unmount = nil, nil
			got, err := json.MarshalIndent(doc, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", string(got)+"\n")
			golden(t, name+".txt", text+"\n")
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// soundHop: what the RAM system is told to make is the table that was planned.
func soundHop(t *testing.T, p Plan, table layout.Table) {
	t.Helper()
	var made []layout.Entry
	if p.Hop.Table != nil {
		made = p.Hop.Table.Entries
	} else {
		tables, err := layout.Resolve(p.Hop.Layout, map[string]layout.Geometry{"main": {Size: table.Size, SectorSize: table.SectorSize, Now: &p.Before}}, uuid.UUID{1})
		if err != nil {
			t.Fatalf("the hop's layout: %v", err)
		}
		made = tables[0].Entries
	}
	for _, e := range table.Entries {
		i := slices.IndexFunc(made, func(o layout.Entry) bool { return o.Number == e.Number })
		if i < 0 {
			t.Errorf("the hop makes %+v, and not %+v", made, e)
			continue
		}
		got := made[i]
		got.Name, e.Name, got.Kept, got.OldLast, got.Content = "", "", false, 0, nil // how it is made
		if diff := gocmp.Diff(e, got); diff != "" {
			t.Errorf("the hop makes another partition %d than was planned (-want +got):\n%s", e.Number, diff)
		}
	}
	_, last, _ := layout.Usable(layout.Geometry{Size: table.Size, SectorSize: table.SectorSize})
	if end := uint64(p.Stage.Offset+p.Stage.Size)/uint64(table.SectorSize) - 1; end > last {
		t.Errorf("the stage ends at sector %d, behind the last one that a GPT has: %d", end, last)
	}
}

// soundExtent: the places are in the root's partition, and the document says so.
func soundExtent(t *testing.T, p Plan) {
	t.Helper()
	i := slices.IndexFunc(p.Before.Entries, func(e layout.Entry) bool { return e.Number == p.Room.Partition })
	from, end := bounds(p.Before.Entries[i], p.Before.SectorSize)
	first := p.Stage.Offset
	if p.Core != nil {
		first = p.Core.Offset
	}
	if early := p.Room.Unused > 0; !early && first < (from+end)/2 || first < from || p.Stage.Offset+p.Stage.Size > end {
		t.Errorf("the stage is at %d to %d, its partition at %d to %d", first, p.Stage.Offset+p.Stage.Size, from, end)
	}
	doc := stage.Document{
		Version: stage.Version, ID: p.ID, Firmware: p.Firmware, Disk: plan.Selector(p.Disk), Stage: p.Stage, Core: p.Core, Extent: p.Extent,
		Files: []stage.File{{Name: stage.Payload, SHA256: strings.Repeat("ab", 32)}, {Name: stage.Request, SHA256: strings.Repeat("ab", 32)}},
	}
	if p.Core != nil {
		doc.BootCode, doc.OldBootCode = make([]byte, 440), make([]byte, 440)
	}
	if err := doc.Validate(); err != nil {
		t.Error(err)
	}
}

// sound is what holds for every plan: nothing overlaps, what is there stays where
// it is, and the stage is on the disk.
func sound(t *testing.T, p Plan) {
	t.Helper()
	table := p.After
	if p.Hop != nil {
		table = *p.Room.Table
		soundHop(t, p, table)
	}
	if p.Extent != nil {
		table = p.Extent.After
		soundExtent(t, p)
	}
	entries := slices.DeleteFunc(slices.Clone(table.Entries), func(e layout.Entry) bool { return e.MBR != nil && e.MBR.Part == "extended" })
	slices.SortFunc(entries, func(a, b layout.Entry) int { return int(a.FirstLBA) - int(b.FirstLBA) })
	for i, e := range entries {
		if i > 0 && e.FirstLBA <= entries[i-1].LastLBA {
			t.Errorf("partitions %d and %d overlap", entries[i-1].Number, e.Number)
		}
		if e.LastLBA >= uint64(table.Size)/uint64(table.SectorSize) {
			t.Errorf("partition %d is not on the disk", e.Number)
		}
	}
	for _, b := range p.Before.Entries {
		i := slices.IndexFunc(table.Entries, func(e layout.Entry) bool { return e.Number == b.Number && e.FirstLBA == b.FirstLBA })
		goes := p.Room.Kind == Swap && b.Number == p.Room.Partition || p.Extent != nil && (b.Number == p.Room.Partition || p.Before.Kind == layout.KindMBR)
		if (i < 0) != goes {
			t.Errorf("partition %d is gone", b.Number)
		}
	}
	if p.Stage.Offset%mib != 0 || p.Stage.Size%mib != 0 || p.Install.Steps == nil {
		t.Errorf("stage %+v, %d steps", p.Stage, len(p.Install.Steps))
	}
}

// xfs has a root that cannot be shrunk.
func xfs(c *Config) { c.Running.Filesystems[0].Type = "xfs"; *c = shrinking(*c) }

func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		name    string
		machine func(*testing.T) Config
		spoil   func(*Config)
		want    string
	}{
		{"LVM with its volumes at the end", ubuntu, func(c *Config) { *c = shrinking(*c); c.Running.Physical[0].Least = 6600 << 20 },
			"a physical volume of LVM that is not full: /dev/vda3: the volumes of vg0 lie in its first 6.4 GiB, and it would have to shrink to 6.3 GiB"},
		{"LVM that cannot be looked at", ubuntu, func(c *Config) { *c = shrinking(*c); c.Running.Physical[0].Stays = "run pvs: not found" }, "/dev/vda3: run pvs: not found"},
		{"LVM and no other room", func(t *testing.T) Config { return lvm(t, false) }, func(c *Config) { *c = shrinking(*c) }, "/: it is in vg0-root (lvm), and vic makes no room in a volume"},
		{"xfs", uefiGRUB, func(c *Config) { *c = shrinking(*c); c.Running.Filesystems[1].Type = "xfs" }, "the root is xfs, which cannot be shrunk"},
		{"a piece, and /var apart", uefiGRUB, func(c *Config) {
			c.Facts.HW.Volume = []envscan.Volume{{Name: "dm-0", Kind: "crypt", From: []string{"vdb1"}}}
			c.Facts.HW.Volume[0].Mounts = []string{"/var"}
		}, "in one piece: /: /var is in a file system of its own"},
		{"a piece that is before the new system", uefiGRUB, func(c *Config) { c.Running.Piece, c.Room = map[string]int64{"vda2": 2 << 30}, Extent }, "/: the new system would lie behind it, and 2.2 GiB before that would be lost to it"},
		{"a piece of a small root", biosFree, func(c *Config) { c.Running.Filesystems[0].Free = 250 << 20; c.Room = Extent }, "/: 250.0 MiB are free in it, and 330.0 MiB are needed"},
		{"a piece of btrfs", uefiBtrfs, func(c *Config) { c.Room, c.Running.Filesystems[0].Free = Extent, 100<<20 }, "/: it is btrfs, and only ext4, xfs, FAT and ntfs3 keep the blocks of a file where they are\n/boot/efi: 100.0 MiB are free in it, and 296.0 MiB are needed"},
		{"full", uefiGRUB, func(c *Config) { *c = shrinking(*c); c.Running.Filesystems[1].Free = 300 << 20 }, "300.0 MiB are free"},
		{"full MBR", biosSwap, func(c *Config) { xfs(c); c.Running.Resume = "vda2" }, "wakes up from it"},
		{"swapped out", biosSwap, func(c *Config) { xfs(c); c.Running.Swapped["vda2"] = 4 << 30 }, "4.0 GiB are swapped out"},
		{"payload too large", biosSwap, func(c *Config) { xfs(c); c.Sizes.Payload = 2 << 30 }, "and 2.1 GiB are needed"},
		{"variables full", uefiBtrfs, func(c *Config) { c.Running.VariableRoom = 1000 }, "1000 bytes free for variables"},
		{"efivarfs read-only", uefiBtrfs, func(c *Config) { c.Facts.HW.Firmware.VarsWrite = new(bool) }, "efivarfs is mounted read-only"},
		{"efivarfs missing", uefiBtrfs, func(c *Config) { c.Facts.HW.Firmware.VarsWrite = nil }, "variables cannot be read"},
		{"errors", biosSwap, func(c *Config) { c.Running.Filesystems[0].Errors = "3 errors since 2026-01-01" }, "has errors: 3 errors"},
		{"read-only", biosSwap, func(c *Config) { c.Running.Filesystems[0].ReadOnly = true }, "remount,rw /"},
		{"MBR with UEFI", biosSwap, func(c *Config) { c.Facts.HW.Firmware.Type = "uefi" }, "boots by UEFI, and vda has an MBR"},
		{"device tree", biosSwap, func(c *Config) { c.Facts.HW.Firmware.Type = "devicetree" }, "boots by devicetree"},
		{"again", biosSwap, func(c *Config) { c.Running.Attempt = "a1" }, "under way already"},
		{"RAID", biosSwap, func(c *Config) {
			c.Facts.HW.Disk = append(c.Facts.HW.Disk, envscan.Disk{Name: "vdb", Serial: "QM0002"})
			c.Facts.HW.Volume = []envscan.Volume{{Name: "md0", Kind: "raid1", From: []string{"vda1", "vdb"}}}
		}, "md0 (raid1) is on vda and on vdb too"},
		{"btrfs over two", uefiBtrfs, func(c *Config) { c.Running.Filesystems[1].Devices = 2 }, "on 2 devices"},
		{"no way", biosSwap, func(c *Config) { *c = noKexec(*c) }, "there is no GRUB on this system"},
		{"GRUB on btrfs", uefiBtrfs, func(c *Config) {
			c.Running.GRUB, c.Way = &GRUBFound{Folder: "/boot/grub", Mountpoint: "/", OneShot: true}, GRUB
		}, "GRUB cannot write to btrfs"},
		{"Secure Boot", uefiBtrfs, func(c *Config) {
			on := true
			*c = noKexec(*c)
			c.Facts.HW.Firmware.SecureBoot = &on
		}, "Secure Boot on"},
		{"small ESP", uefiGRUB, func(c *Config) { *c = noKexec(*c); c.Running.GRUB = nil; c.Running.Filesystems[0].Free = 20 << 20 }, "/boot/efi has 20.0 MiB free"},
		{"sectors that a BIOS cannot read", biosSwap, func(c *Config) { c.Facts.HW.Disk[0].SectorSize = 4096 }, "sectors of 4096 bytes, and a BIOS starts nothing from those: install it from another medium, by UEFI"},
		{"sectors", uefiGRUB, func(c *Config) { c.Facts.HW.Disk[0].SectorSize = 1024 }, "sectors of 1024 bytes: only those of 512 and 4096 are known"},
		{"damaged table", biosSwap, func(c *Config) { c.Facts.HW.Disk[0].TableDamage = []string{"backup is missing"} }, "is damaged: backup"},
		{"full table", biosFree, func(c *Config) {
			*c = shrinking(*c)
			for i := range 2 {
				at := uint64(3001+i) << 11
				c.Facts.HW.Disk[0].Table.Entries = append(c.Facts.HW.Disk[0].Table.Entries, layout.Entry{Number: 2 + i, FirstLBA: at, LastLBA: at + 2047, MBR: &layout.MBREntry{Type: 0x83}})
			}
		}, "the MBR has no entry left"},
		{"what the RAM system would refuse", biosSwap, func(c *Config) { c.Request.Payload.TreeSize = 9 << 30 }, "is too small: the root file system would hold"},
		{"missing secret", biosSwap, func(c *Config) { c.Secrets = nil }, `secret "password" is missing`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := tt.machine(t)
			tt.spoil(&c)
			_, err := New(c)
			if err == nil || !strings.Contains(err.Error(), tt.want) || !errors.Is(err, ErrRefused) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestBatteryIsAWarning(t *testing.T) {
	c := biosSwap(t)
	c.Facts.State.Battery = map[string]envscan.Charge{"BAT0": {Status: "discharging", Percent: 31}}
	p, err := New(c)
	if err != nil || !slices.ContainsFunc(p.Warnings, func(w string) bool { return strings.Contains(w, "BAT0: 31 %") }) {
		t.Errorf("%v %q", err, p.Warnings)
	}
}

// Partitions of the new layout that are kept stay, whatever the room.
func TestKeeps(t *testing.T) {
	c := old(t, "uefi", layout.KindGPT, part{from: 1, size: 512, fs: "vfat", mount: "/boot/efi"}, part{from: 513, size: 3000, fs: "ext4", mount: "/"}, part{from: 3513, size: 2000, fs: "ext4", mount: "/home"})
	gpt := c.Request.Layout.Disk["main"].Content.Spec.(*layout.GPT)
	gpt.Partitions["home"] = layout.Partition{Keep: true, UUID: uuid.UUID{3}.String(), Content: &layout.Content{Spec: &layout.Filesystem{Format: "ext4", Mountpoint: "/home"}}}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Kept) != 1 || !strings.Contains(p.Kept[0], "vda3") || len(p.Lost) != 2 {
		t.Errorf("kept %q, lost %q", p.Kept, p.Lost)
	}
}
