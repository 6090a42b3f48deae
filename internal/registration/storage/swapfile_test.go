package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/regtest"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// swapSystem is the root file system of a system with a swap file of 16 MiB that is
// on, with a priority and by fstab.
func swapSystem(t *testing.T, format string, size int64) (root string) {
	t.Helper()
	tooltest.Need(t, "mkswap")
	dev := tooltest.Loop(t, size)
	tooltest.Run(t, "mkfs."+format, "-q", dev)
	root = mounted(t, dev, format)
	for _, dir := range []string{"/etc", "/var"} {
		if err := os.Mkdir(root+dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(root+"/swap.img", os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil && format == "btrfs" {
		err = setNoCOW(f)
	}
	if err == nil {
		err = allocate(f, 16*mib)
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.WriteFile(root+"/etc/fstab", []byte("# swap\n/swap.img none swap sw,pri=7 0 0\n"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	tooltest.Run(t, "mkswap", "--quiet", "--label", "SWAP", root+"/swap.img")
	if format == "btrfs" { // or its room is not known
		tooltest.Run(t, "sync", "-f", root)
	}
	priority := 7
	if err := disk.SwapOn(root+"/swap.img", &priority, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = disk.SwapOff(root + "/swap.img") })
	return root
}

// swapFileState is all of a swap file that has to be as it was.
func swapFileState(t *testing.T, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		st, err := os.Lstat(path)
		if err != nil {
			return err
		}
		page, err := readAt(path, 0, min(4096, int(st.Size())))
		fmt.Fprintf(&b, "%s %v %d %v %x\n", strings.TrimPrefix(path, root), st.Mode(), st.Size(), st.ModTime().UTC(), page)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	path := root + "/swap.img"
	f, err := os.Open(path)
	if err != nil {
		return b.String()
	}
	defer f.Close()
	var st unix.Stat_t
	flags, err := inodeFlags(f)
	if err := errors.Join(err, unix.Fstat(int(f.Fd()), &st)); err != nil {
		t.Fatal(err)
	}
	on, err := swapFile{SwapFile: &SwapFile{}, path: path}.swappedTo()
	fmt.Fprintf(&b, "owner %d %d, names %d, whole %t, noCOW %t, on %v %v\n",
		st.Uid, st.Gid, st.Nlink, st.Blocks*512 >= st.Size, flags&noCOW != 0, on != nil && on.Priority == 7, err)
	return b.String()
}

func swapFileHost(t *testing.T, root string) regtest.Host {
	return regtest.Host{
		Kinds: kinds, Env: registration.Env{Run: tool.Exec{}, Root: root},
		Snapshot: func() string { return swapFileState(t, root) },
		Changes:  func() []registration.Change { return []registration.Change{GiveUpFile("/swap.img")} },
	}
}

// A swap file goes, and is the same again: UUID, mode, owner, priority, and every
// block of it allocated.
func TestSwapFile(t *testing.T) {
	for format, size := range map[string]int64{"ext4": 64 * mib, "ext3": 64 * mib, "btrfs": 200 * mib} {
		t.Run(format, func(t *testing.T) {
			root := swapSystem(t, format, size)
			if err := os.Chown(root+"/swap.img", 12, 34); err != nil {
				t.Fatal(err)
			}
			if want := "noCOW " + fmt.Sprint(format == "btrfs") + ", on true <nil>"; !strings.Contains(swapFileState(t, root), want) {
				t.Fatalf("%s: not %s", swapFileState(t, root), want)
			}
			regtest.Run(t, swapFileHost(t, root))
		})
	}
}

// One that fstab does not name is not turned on again, and one that was off neither.
func TestSwapFileOff(t *testing.T) {
	root := swapSystem(t, "ext4", 64*mib)
	if err := os.WriteFile(root+"/etc/fstab", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := swapFileStore(t, root)
	if got := undone(t, s); got != "taken back" || !strings.Contains(swapFileState(t, root), "on false <nil>") {
		t.Error(got, swapFileState(t, root))
	}
	regtest.Run(t, swapFileHost(t, root))
}

// swapFileStore has given the swap file up.
func swapFileStore(t *testing.T, root string) *registration.Store {
	t.Helper()
	s := regtest.Open(t, regtest.Host{Kinds: kinds, Env: registration.Env{Run: tool.Exec{}, Root: root}}, regtest.Dir(t), nil)
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Do(t.Context(), GiveUpFile("/swap.img")); err != nil {
		t.Fatal(err)
	}
	return s
}

// What others have put in its place stays, and is named.
func TestSwapFileOfOthers(t *testing.T) {
	root := swapSystem(t, "ext4", 64*mib)
	before := swapFileState(t, root)
	s := swapFileStore(t, root)
	path := root + "/swap.img"
	if err := os.WriteFile(path, bytes.Repeat([]byte("mine"), 4*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := undone(t, s); !strings.HasPrefix(got, "left alone: there is another file at "+path) {
		t.Error(got)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(b, []byte("mine")) {
		t.Errorf("their file: %q %v", b[:4], err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if got := undone(t, s); got != "taken back" {
		t.Error(got)
	}
	if now := swapFileState(t, root); now != before {
		t.Error(regtest.Diff(before, now))
	}
}

// Where its room was taken meanwhile, nothing of it is made.
func TestSwapFileHasNoRoom(t *testing.T) {
	for format, size := range map[string]int64{"ext4": 64 * mib, "btrfs": 200 * mib} {
		t.Run(format, func(t *testing.T) {
			root := swapSystem(t, format, size)
			before := swapFileState(t, root)
			s := swapFileStore(t, root)
			fill(t, root+"/var/fill")
			if got := undone(t, s); !strings.HasPrefix(got, "failed: make "+root+"/swap.img again: there is no room for its 16777216 bytes") {
				t.Error(got)
			}
			if list, err := filepath.Glob(root + "/*swap*"); err != nil || len(list) > 0 {
				t.Errorf("it leaves %q, %v", list, err)
			}
			if list, err := filepath.Glob(root + "/.*swap*"); err != nil || len(list) > 0 {
				t.Errorf("it leaves %q, %v", list, err)
			}
			if err := os.Remove(root + "/var/fill"); err != nil {
				t.Fatal(err)
			}
			if got := undone(t, s); got != "taken back" {
				t.Error(got)
			}
			if now := swapFileState(t, root); now != before {
				t.Error(regtest.Diff(before, now))
			}
		})
	}
}

// fill writes a file until the file system is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(bytes.Repeat([]byte{1}, mib))
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Error(err)
	}
	_ = f.Close() // it may tell that it is full, again
}

func TestSwapFileRefused(t *testing.T) {
	root := swapSystem(t, "ext4", 64*mib)
	if err := disk.SwapOff(root + "/swap.img"); err != nil { // then it may have other names
		t.Fatal(err)
	}
	for name, prepare := range map[string]func(path string) error{
		"no swap file that can be given up: []": func(path string) error { return os.WriteFile(path, make([]byte, mib), 0o600) },
		"is no file":                            func(path string) error { return os.Symlink("/swap.img", path) },
		"has 2 names":                           func(path string) error { return os.Link(root+"/swap.img", path) },
		"in the way of it": func(path string) error {
			return errors.Join(os.WriteFile(path, nil, 0o600), os.WriteFile(filepath.Dir(path)+"/.it.vic-new", nil, 0o600))
		},
		"no such file": func(string) error { return nil },
	} {
		if err := prepare(root + "/var/it"); err != nil {
			t.Fatal(err)
		}
		s := regtest.Open(t, swapFileHost(t, root), regtest.Dir(t), nil)
		if _, err := s.Do(t.Context(), GiveUpFile("/var/it")); err == nil || !strings.Contains(err.Error(), name) || len(s.List(t.Context())) > 0 {
			t.Errorf("%s: %v", name, err)
		}
		_ = s.Close()
		_ = os.Remove(root + "/var/it")
		_ = os.Remove(root + "/var/.it.vic-new")
	}
}

// What is swapped out comes back into memory when the swap file goes.
func TestSwapFileInUse(t *testing.T) {
	root := swapSystem(t, "ext4", 64*mib)
	memory, err := unix.Mmap(-1, 0, 4*mib, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(memory) }()
	want := bytes.Repeat([]byte("swapped!"), len(memory)/8)
	copy(memory, want)
	if err := unix.Madvise(memory, unix.MADV_PAGEOUT); err != nil {
		t.Fatal(err)
	}
	on, err := swapFile{SwapFile: &SwapFile{}, path: root + "/swap.img"}.swappedTo()
	if err != nil || on == nil || on.Used < mib {
		t.Fatalf("nothing is swapped out: %+v %v", on, err)
	}
	before := swapFileState(t, root)
	s := swapFileStore(t, root)
	if !bytes.Equal(memory, want) {
		t.Error("the memory is another")
	}
	if got := undone(t, s); got != "taken back" {
		t.Error(got)
	}
	if now := swapFileState(t, root); now != before {
		t.Error(regtest.Diff(before, now))
	}
}
