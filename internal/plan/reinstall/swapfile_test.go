package reinstall

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// tight has 200 MiB free in its root file system, and swap files.
func tight(c Config, files ...SwapFile) Config {
	for i, f := range c.Running.Filesystems {
		if f.Mountpoint != "/" {
			continue
		}
		c.Running.Filesystems[i].Free = 200 * mib
		for j := range files {
			if files[j].Device == "" {
				files[j].Device = f.Device
			}
		}
	}
	c.Running.SwapFiles = files
	return c
}

// swapFile has a size in MiB, and holds some memory. It is in the root file system.
func swapFile(path string, size int64) SwapFile {
	return SwapFile{Path: path, Size: size * mib, Used: 12 * mib}
}

// someSwapFiles: of those that may go, the one of 900 MiB is the smallest that will do.
func someSwapFiles() []SwapFile {
	other := swapFile("/srv/swap", 800)
	other.Device = "vda3"
	return []SwapFile{swapFile("/swap.img", 4096), swapFile("/swap2", 100), swapFile("/swap3", 900), other}
}

// With room enough, swap files are left alone. Those of a btrfs that shrinks are not:
// the kernel would not move what it swaps to.
func TestSwapFilesStay(t *testing.T) {
	for name, machine := range map[string]func(*testing.T) Config{"bios-full": biosFull, "bios-free": biosFree, "bios-swap": biosSwap} {
		c := machine(t)
		free := c.Running.Filesystems[len(c.Running.Filesystems)-1].Free
		c = tight(c, swapFile("/swap.img", 1024))
		for i := range c.Running.Filesystems {
			c.Running.Filesystems[i].Free = free
		}
		if p, err := New(c); err != nil || p.Room.SwapFiles != nil {
			t.Errorf("%s: %+v %v", name, p.Room, err)
		}
	}
}

// Several go when one is too small, and no more than needed.
func TestSwapFilesTogether(t *testing.T) {
	c := tight(uefiGRUB(t), swapFile("/a", 100), swapFile("/b", 240), swapFile("/c", 180), swapFile("/d", 150))
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, f := range p.Room.SwapFiles {
		paths = append(paths, f.Path)
	}
	if want := []string{"/c", "/a"}; !slices.Equal(paths, want) {
		t.Errorf("%q go, expected %q", paths, want)
	}
}

// What keeps a swap file where it is stands beside why the room does not serve.
func TestSwapFilesRefused(t *testing.T) {
	for name, c := range map[string]Config{
		"swapfile-resume": func(c Config) Config { c.Running.Resume = "vda1"; return c }(tight(biosFull(t), swapFile("/swap.img", 1024))),
		"swapfile-used":   func(c Config) Config { c.Running.SwapFiles[0].Used = 3 << 30; return c }(tight(biosFull(t), swapFile("/swap.img", 4096))),
		"swapfile-btrfs-used": func(c Config) Config {
			c.Running.SwapFiles[0].Used, c.Running.Filesystems[0].Free = 3<<30, 100<<20
			return c
		}(tight(uefiBtrfs(t), swapFile("/swap.img", 4096))),
		"swapfile-stays":     tight(biosFull(t), SwapFile{Path: "/swap.img", Device: "vda1", Size: 1 << 30, Stays: "it has 2 names"}),
		"swapfile-elsewhere": tight(biosFull(t), SwapFile{Path: "/srv/swap.img", Device: "vdb1", Size: 1 << 30}),
		"swapfile-small":     tight(biosFull(t), swapFile("/swap.img", 64), swapFile("/swap2", 32)),
	} {
		_, err := New(c)
		if !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		golden(t, name+".refused.txt", err.Error()+"\n")
	}
}

// Of a btrfs that shrinks all of them go that may, whatever is free in it. Where they
// may not, it is tried as it is.
func TestSwapFilesPinBtrfs(t *testing.T) {
	with := func(change func(c *Config)) Config {
		c := uefiBtrfs(t)
		c.Running.SwapFiles = []SwapFile{{Path: "/swap/a", Device: "vda2", Size: mib}, {Path: "/swap/b", Device: "vda2", Size: mib, Used: mib}, {Path: "/srv/c", Device: "vdb1", Size: mib}}
		change(&c)
		return c
	}
	for name, tt := range map[string]struct {
		config Config
		want   int
	}{
		"all":    {with(func(*Config) {}), 2},
		"stays":  {with(func(c *Config) { c.Running.SwapFiles[0].Stays = "it has 2 names" }), 1},
		"resume": {with(func(c *Config) { c.Running.Resume = "vda2" }), 0},
		"used":   {with(func(c *Config) { c.Running.SwapFiles[1].Used = 3 << 30 }), 0},
	} {
		if p, err := New(tt.config); err != nil || p.Room.Kind != Btrfs || len(p.Room.SwapFiles) != tt.want {
			t.Errorf("%s: %+v %v", name, p.Room, err)
		}
	}
}

// The RAM system is in memory before swap goes, when it is entered by kexec.
func TestSwapsInBesideTheRAMSystem(t *testing.T) {
	c := tight(biosFull(t), swapFile("/swap.img", 1024))
	c.Facts.State.MemoryAvailable = 100 * mib // 64 stay available, 33 are the RAM system
	c.Sizes.Load = 50 * mib
	if _, err := New(c); err == nil || !strings.Contains(err.Error(), "12.0 MiB are swapped out, and memory has room for 3.0 MiB") {
		t.Errorf("kexec: %v", err)
	}
	c.Way = GRUB
	c.Running.GRUB = &GRUBFound{Folder: "/boot/grub", Mountpoint: "/", OneShot: true}
	if p, err := New(c); err != nil || len(p.Room.SwapFiles) != 1 {
		t.Errorf("GRUB: %+v %v", p.Room, err)
	}
}

// An ext4 that resize2fs could not bring down to what is wanted is refused beforehand,
// whatever is free in it; when its data goes with a swap file, it is not.
func TestExtThatCannotShrinkSoFar(t *testing.T) {
	c := shrinking(biosFull(t))
	root := &c.Running.Filesystems[len(c.Running.Filesystems)-1]
	size := c.Facts.HW.Disk[0].Partition[0].Size
	root.MinSize = size - 300*mib
	_, err := New(c)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "it can be shrunk to ") {
		t.Errorf("%v", err)
	}
	c.Running.SwapFiles = []SwapFile{{Path: "/swap.img", Device: root.Device, Size: 1 << 30}}
	if p, err := New(c); err != nil || len(p.Room.SwapFiles) != 1 {
		t.Errorf("%+v, %v", p.Room, err)
	}
	c.Running.SwapFiles = nil
	root.MinSize = size / 2
	if _, err := New(c); err != nil {
		t.Error(err)
	}
}
