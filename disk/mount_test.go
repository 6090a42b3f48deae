package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func TestMountOptions(t *testing.T) {
	tests := []struct {
		options []string
		bits    uintptr
		data    string
	}{
		{nil, 0, ""},
		{[]string{"defaults"}, 0, ""},
		{[]string{"umask=0077", "noatime", "ro"}, unix.MS_NOATIME | unix.MS_RDONLY, "umask=0077"},
		{[]string{"ro,nodev", "rw", "x-systemd.growfs", "nofail", "commit=5", "errors=remount-ro"}, unix.MS_NODEV, "commit=5,errors=remount-ro"},
	}
	for _, tt := range tests {
		if bits, data := mountOptions(tt.options); bits != tt.bits || data != tt.data {
			t.Errorf("%q: %#x %q", tt.options, bits, data)
		}
	}
}

func TestPartitionPath(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "by-id")
	if err := os.WriteFile(filepath.Join(dir, "nvme0n1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nvme0n1", link); err != nil {
		t.Fatal(err)
	}
	for disk, want := range map[string]string{
		"/dev/sda": "/dev/sda3", "/dev/vdb": "/dev/vdb3", "/dev/nvme1n1": "/dev/nvme1n1p3",
		"/dev/mmcblk0": "/dev/mmcblk0p3", "/dev/loop7": "/dev/loop7p3", link: filepath.Join(dir, "nvme0n1p3"),
	} {
		if got := PartitionPath(disk, 3); got != want {
			t.Errorf("%s: %s, want %s", disk, got, want)
		}
	}
}

// format writes a table with file systems to a new loop device.
func format(t *testing.T, sectorSize int) (string, layout.Table) {
	t.Helper()
	dev := loop(t, testSize, sectorSize)
	// Not every kernel that tests run on has vfat.
	table := testTable(t, strings.NewReplacer("vfat", "ext4", "-n", "-L").Replace(testLayout), testSize, sectorSize)
	d := openRW(t, dev)
	if err := WriteGPT(t.Context(), d, table); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Reread(t.Context(), dev, table); err != nil {
		t.Fatal(err)
	}
	runner := tooltest.Need(t, "mkfs.ext4", "mkfs.vfat")
	for _, e := range table.Entries[1:] {
		f := Filesystem{Format: "ext4", UUID: e.GUID.String(), Size: e.Size(sectorSize), SectorSize: sectorSize}
		if err := Mkfs(t.Context(), runner, f, PartitionPath(dev, e.Number), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	return dev, table
}

// TestMountedDisk goes from a blank disk to mounted file systems, and sees
// that nobody gets at the disk meanwhile.
func TestMountedDisk(t *testing.T) {
	for _, sectorSize := range []int{512, 4096} {
		dev, _ := format(t, sectorSize)
		name := filepath.Base(dev)
		if users, err := InUse("/", name); err != nil || users != nil {
			t.Errorf("%s is in use: %v %v", dev, users, err)
		}
		root := t.TempDir()
		t.Cleanup(func() {
			if err := UnmountAll(root); err != nil {
				t.Error(err)
			}
		})
		for _, m := range []struct {
			number int
			target string
		}{{3, "/"}, {2, "/boot/efi"}} {
			if err := Mount(PartitionPath(dev, m.number), root+m.target, "ext4", nil); err != nil {
				t.Fatal(err)
			}
		}
		users, err := InUse("/", name)
		want := []string{PartitionPath(dev, 2) + " mounted on " + root + "/boot/efi", PartitionPath(dev, 3) + " mounted on " + root + "/"}
		want[1] = strings.TrimSuffix(want[1], "/")
		if err != nil || !slices.Equal(users, want) {
			t.Errorf("got %q %v\nwant %q", users, err, want)
		}
		if d, err := Open(dev, os.O_RDWR); err == nil {
			t.Errorf("%s was opened for writing: %v", dev, d.Close())
		}
		if err := UnmountAll(root); err != nil {
			t.Error(err)
		}
		if users, err := InUse("/", name); err != nil || users != nil {
			t.Errorf("after unmounting: %v %v", users, err)
		}
	}
}

func TestSwapInUse(t *testing.T) {
	dev := loop(t, 32<<20, 512)
	run(t, "mkswap", dev)
	if err := SwapOn(dev, nil, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := SwapOff(dev); err != nil {
			t.Error(err)
		}
	})
	users, err := InUse("/", filepath.Base(dev))
	if err != nil || !slices.Equal(users, []string{dev + " is swap"}) {
		t.Errorf("%q %v", users, err)
	}
}

// TestMountImage: from a tmpfs the kernel takes no erofs file, and a loop
// device is needed; elsewhere it does, since 6.12.
func TestMountImage(t *testing.T) {
	tooltest.Root(t)
	tree := t.TempDir()
	if err := os.WriteFile(filepath.Join(tree, "hello"), []byte("world"), 0o600); err != nil {
		t.Fatal(err)
	}
	memory := t.TempDir()
	if err := Mount("tmpfs", memory, "tmpfs", []string{"size=16m"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := UnmountAll(memory); err != nil {
			t.Error(err)
		}
	})
	for _, dir := range []string{t.TempDir(), memory} {
		erofs, squashfs := filepath.Join(dir, "erofs"), filepath.Join(dir, "squashfs")
		run(t, "mkfs.erofs", erofs, tree)
		run(t, "mksquashfs", tree, squashfs, "-quiet", "-no-progress")
		mountAndRead(t, erofs, "erofs")
		mountAndRead(t, squashfs, "squashfs")
		if err := MountImage(filepath.Join(tree, "hello"), "erofs", t.TempDir()); err == nil {
			t.Error("a text was mounted")
		}
	}
}

// mountAndRead mounts an image, and sees that nothing of it stays.
func mountAndRead(t *testing.T, img, fstype string) {
	t.Helper()
	if b, err := os.ReadFile("/proc/filesystems"); err != nil || !strings.Contains(string(b), "\t"+fstype+"\n") {
		tooltest.Missing(t, "this kernel has no "+fstype)
	}
	target := t.TempDir()
	if err := MountImage(img, fstype, target); err != nil {
		t.Error(err)
		return
	}
	if b, err := os.ReadFile(filepath.Join(target, "hello")); err != nil || string(b) != "world" {
		t.Errorf("%s: %q %v", img, b, err)
	}
	if err := os.WriteFile(filepath.Join(target, "new"), nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("%s: writing gives %v", img, err)
	}
	if err := Unmount(target); err != nil {
		t.Error(err)
	}
	mounts, err := sysfs.Root("/").Mounts()
	if err != nil || slices.ContainsFunc(mounts, func(m sysfs.Mount) bool { return m.Target == target }) {
		t.Errorf("%s is still mounted: %v", img, err)
	}
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range loops {
		if b, err := os.ReadFile(l); err == nil && strings.TrimSpace(string(b)) == img {
			t.Errorf("%s is left", l)
		}
	}
}

// TestReread takes a disk from one table to another, by both ways to tell the
// kernel, and refuses when a partition is in use.
func TestReread(t *testing.T) {
	for _, scanned := range []bool{false, true} {
		dev := loop(t, testSize, 512)
		if scanned {
			partscan(t, dev)
		}
		var table layout.Table
		for _, size := range []string{"300M", "100M"} {
			table = testTable(t, strings.ReplaceAll(testLayout, "300M", size), testSize, 512)
			d := openRW(t, dev)
			if err := WriteGPT(t.Context(), d, table); err != nil {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if err := Reread(t.Context(), dev, table); err != nil {
				t.Fatal(err)
			}
			out := strings.TrimSpace(run(t, "blockdev", "--getsize64", PartitionPath(dev, 2)))
			if want := fmt.Sprint(table.Entries[1].Size(512)); out != want {
				t.Errorf("%s has %s bytes, want %s", PartitionPath(dev, 2), out, want)
			}
		}
		held, err := os.OpenFile(PartitionPath(dev, 3), os.O_RDONLY|unix.O_EXCL, 0)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		table.Entries = table.Entries[:2]
		if err := Reread(ctx, dev, table); !errors.Is(err, unix.EBUSY) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with a partition in use: %v", err)
		}
		cancel()
		if err := held.Close(); err != nil {
			t.Error(err)
		}
	}
}

// partscan has the kernel read partition tables of a loop device itself.
func partscan(t *testing.T, dev string) {
	t.Helper()
	f, err := os.Open(dev)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	info.Flags |= unix.LO_FLAGS_PARTSCAN
	if err := unix.IoctlLoopSetStatus64(int(f.Fd()), info); err != nil {
		t.Fatal(err)
	}
}
