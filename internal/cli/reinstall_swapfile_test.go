package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan/reinstall"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/kinds"
	"github.com/victorinix/vic/internal/registration/locate"
	"github.com/victorinix/vic/internal/registration/staged"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// swapSize is that of the swap file on a full disk.
var swapSize = map[string]int64{"ext4": 800 << 20, "btrfs": 400 << 20}

// fullDisk is a disk of 1200 MiB that one file system has all of. It is mounted, a swap
// file is swapped to, and some of the rest is free. An ext is less
// than half full without the swap file, or the RAM system could not shrink it; that of
// a btrfs is at its end.
func fullDisk(t *testing.T, format string, free int64) (dev, mount string) {
	t.Helper()
	tooltest.Need(t, "sfdisk", "mkswap", "mkfs."+format, "blkid", "fallocate", "chattr")
	dev = tooltest.Loop(t, 1200<<20)
	cmd := tool.Cmd{Name: "sfdisk", Args: []string{"--quiet", "--no-reread", "--no-tell-kernel", dev}, Stdin: strings.NewReader("label: dos\nstart=1MiB, type=83, bootable\n")}
	_, err := tool.Exec{}.Run(t.Context(), cmd)
	var table layout.Table
	if err == nil {
		table, err = locate.ReadTable(dev)
	}
	if err == nil {
		err = disk.Reread(t.Context(), dev, table)
	}
	if err != nil {
		t.Fatal(err)
	}
	tooltest.Run(t, "mkfs."+format, "-q", dev+"p1")
	mount = t.TempDir()
	tooltest.Run(t, "mount", dev+"p1", mount)
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	path := mount + "/swap.img"
	early, size := "100M", swapSize[format]
	if format == "btrfs" {
		early = "500M"
	}
	tooltest.Run(t, "fallocate", "--length", "8M", mount+"/data") // a btrfs without data allocates room for it before it shrinks
	tooltest.Run(t, "fallocate", "--length", early, mount+"/early")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if format == "btrfs" {
		tooltest.Run(t, "chattr", "+C", path)
	}
	tooltest.Run(t, "fallocate", "--length", fmt.Sprint(size), path)
	tooltest.Run(t, "mkswap", "--quiet", "--label", "FULL", path)
	tooltest.Run(t, "sync", "--file-system", path)
	if err := disk.SwapOn(path, nil, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = disk.SwapOff(path) })
	if err := os.Remove(mount + "/early"); err != nil {
		t.Fatal(err)
	}
	tooltest.Run(t, "sync", "--file-system", path)
	var st unix.Statfs_t
	if err := unix.Statfs(mount, &st); err != nil {
		t.Fatal(err)
	}
	const tables = 24 << 20 // of the file system, and what it keeps back
	if more := int64(st.Bavail)*st.Bsize - free - tables; more > 0 {
		tooltest.Run(t, "fallocate", "--length", fmt.Sprint(more), mount+"/mine")
		tooltest.Run(t, "sync", "--file-system", path)
	}
	return dev, mount
}

// swapFileOn is what the running system tells of the swap file on a disk.
func swapFileOn(t *testing.T, mount string) reinstall.SwapFile {
	t.Helper()
	swaps, err := sysfs.Root("/").Swaps()
	i := slices.IndexFunc(swaps, func(s sysfs.Swap) bool { return s.Path == mount+"/swap.img" })
	if err != nil || i < 0 {
		t.Fatalf("the swaps are %+v, %v", swaps, err)
	}
	return swapFile(swaps[i])
}

// fullAttempt plans an attempt as if the system ran from a full disk.
func fullAttempt(t *testing.T, dev, mount string, room reinstall.Room, files ...reinstall.SwapFile) (*reinstallRun, error) {
	t.Helper()
	table, err := locate.ReadTable(dev)
	if err != nil {
		t.Fatal(err)
	}
	content, err := locate.Contents(dev + "p1")
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(dev)
	root, err := filesystem(name+"p1", sysfs.Mount{Target: mount, Type: content[0].Type}, content)
	if err != nil {
		t.Fatal(err)
	}
	root.Mountpoint = "/"
	d := envscan.Disk{Name: name, Serial: "LOOP0001", Size: table.Size, SectorSize: 512}
	d.Table = &table
	d.Partition = []envscan.Partition{{Number: 1, Name: name + "p1", Offset: 1 << 20, Size: 1199 << 20, Content: content, Use: envscan.Use{Mounts: []string{"/"}}}}
	r, err := planFor(t, d, reinstall.Running{Filesystems: []reinstall.Filesystem{root}, SwapFiles: files}, room)
	if r.plan.Room.Folder != "" { // the host's root is another
		r.plan.Room.Folder = filepath.Join(mount, r.plan.Room.Folder)
	}
	return r, err
}

// fullState is everything of a full disk that an attempt changes.
func fullState(t *testing.T, dev, mount string) string {
	t.Helper()
	text := tooltest.Run(t, "sfdisk", "--dump", dev)
	err := filepath.WalkDir(mount, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			st, err := e.Info()
			if err != nil {
				return err
			}
			text += fmt.Sprintln(path, st.Size(), st.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(mount, &st); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(mount + "/swap.img"); err == nil {
		text += tooltest.Run(t, "blkid", "-p", "-o", "export", mount+"/swap.img")
	}
	return text + fmt.Sprintln(st.Blocks)
}

func attemptStore(t *testing.T, r *reinstallRun) *registration.Store {
	t.Helper()
	dir := t.TempDir()
	store, err := registration.Open(registration.Config{
		Dirs: []string{dir + "/registrations"}, Lock: dir + "/lock", Kinds: kinds.All(), Group: attemptGroup + r.id.String(), Env: registration.Env{Run: tool.Exec{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// A swap file goes where the stage, or its files, would have no room, and is there again
// when the attempt is taken back.
func TestSwapFileGoesForRoom(t *testing.T) {
	tooltest.Root(t)
	for _, tt := range []struct {
		format string
		room   reinstall.Room
		free   int64
	}{{"ext4", reinstall.Files, 1 << 20}, {"btrfs", reinstall.Btrfs, 100 << 20}} {
		t.Run(tt.format, func(t *testing.T) {
			dev, mount := fullDisk(t, tt.format, tt.free)
			before := fullState(t, dev, mount)
			if r, err := fullAttempt(t, dev, mount, tt.room); !errors.Is(err, reinstall.ErrRefused) {
				t.Fatalf("without swap files there is room: %+v %v", r.plan.Room, err)
			}
			file := swapFileOn(t, mount)
			if file.Size < swapSize[tt.format] || file.Device != filepath.Base(dev)+"p1" || file.Stays != "" {
				t.Fatalf("%+v", file)
			}
			r, err := fullAttempt(t, dev, mount, tt.room, file)
			if err != nil || !slices.Equal(r.plan.Room.SwapFiles, []reinstall.SwapFile{file}) {
				t.Fatalf("%+v %v", r.plan.Room, err)
			}
			store, group := attemptStore(t, r), attemptGroup+r.id.String()
			if err := r.make(t.Context(), &staged.Records{Store: store}, filesOf(t, r)); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(file.Path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the swap file: %v", err)
			}
			if title := store.List(t.Context())[0].Title; title != fmt.Sprintf("swap file %s (%d bytes) removed", file.Path, swapSize[tt.format]) {
				t.Error(title)
			}
			if err := os.WriteFile(file.Path, []byte("somebody else's"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := undoAttempt(t.Context(), store, group); err == nil || !strings.Contains(err.Error(), "there is another file at "+file.Path) {
				t.Errorf("with a file in its place: %v", err)
			}
			if err := os.Remove(file.Path); err != nil {
				t.Fatal(err)
			}
			if err := undoAttempt(t.Context(), store, group); err != nil {
				t.Fatal(err)
			}
			if after := fullState(t, dev, mount); after != before {
				t.Errorf("the disk is not as it was:\n%s\nand was\n%s", after, before)
			}
		})
	}
}

// What fails after the swap file went, takes it back.
func TestSwapFileIsTakenBack(t *testing.T) {
	tooltest.Root(t)
	dev, mount := fullDisk(t, "ext4", 1<<20)
	before := fullState(t, dev, mount)
	r, err := fullAttempt(t, dev, mount, reinstall.Files, swapFileOn(t, mount))
	if err != nil {
		t.Fatal(err)
	}
	f := filesOf(t, r)
	if err := os.Remove(f.at["payload.erofs"]); err != nil {
		t.Fatal(err)
	}
	store := attemptStore(t, r)
	if err := r.make(t.Context(), &staged.Records{Store: store}, f); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if err := undoAttempt(t.Context(), store, attemptGroup+r.id.String()); err != nil {
		t.Fatal(err)
	}
	if after := fullState(t, dev, mount); after != before {
		t.Errorf("the disk is not as it was:\n%s\nand was\n%s", after, before)
	}
}

// The kernel does not move what it swaps to: a btrfs with room enough shrinks all the
// same only without its swap file.
func TestSwapFilePinsBtrfs(t *testing.T) {
	tooltest.Root(t)
	dev, mount := fullDisk(t, "btrfs", 1<<30)
	before := fullState(t, dev, mount)
	r, err := fullAttempt(t, dev, mount, reinstall.Btrfs, swapFileOn(t, mount))
	if err != nil || len(r.plan.Room.SwapFiles) != 1 {
		t.Fatalf("%+v %v", r.plan.Room, err)
	}
	pinned := *r
	pinned.plan.Room.SwapFiles = nil
	store, group := attemptStore(t, r), attemptGroup+r.id.String()
	f := filesOf(t, r)
	if err := pinned.make(t.Context(), &staged.Records{Store: store}, f); err == nil || !strings.Contains(err.Error(), "the kernel swaps to a file in what would be cut off") {
		t.Errorf("while it is swapped to: %v", err)
	}
	if err := undoAttempt(t.Context(), store, group); err != nil {
		t.Fatal(err)
	}
	if err := r.make(t.Context(), &staged.Records{Store: store}, f); err != nil {
		t.Error(err)
	}
	if err := undoAttempt(t.Context(), store, group); err != nil {
		t.Fatal(err)
	}
	if after := fullState(t, dev, mount); after != before {
		t.Errorf("the disk is not as it was:\n%s\nand was\n%s", after, before)
	}
}

// What cannot be removed, or looked at, stays.
func TestSwapFileStays(t *testing.T) {
	tooltest.Root(t)
	dir := t.TempDir()
	path := dir + "/a b"
	err := os.WriteFile(path, bytes.Repeat([]byte{1}, 8192), 0o600)
	if err == nil {
		err = os.Link(path, dir+"/second")
	}
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]string{path: "it has 2 names", path + " (deleted)": "no such file"} {
		if f := swapFile(sysfs.Swap{Path: at, File: true, Used: 5}); f.Used != 5 || !strings.Contains(f.Stays, want) {
			t.Errorf("%s: %+v", at, f)
		}
	}
}
