package file

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/regtest"
	"github.com/victorinix/vic/internal/stage/direct"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

var kinds = registration.Kinds{Kind: {Version: Version, New: func() registration.Change { return new(File) }}}

// hostFiles puts files there that are going to be replaced.
func hostFiles(t *testing.T, dir string) {
	t.Helper()
	large := bytes.Repeat([]byte("large "), KeepMost/5)
	old := time.Date(2024, 2, 3, 4, 5, 6, 700, time.UTC)
	for name, content := range map[string][]byte{"small": []byte("old"), "large": large, "same": []byte("equal"), "setuid": []byte("#!")} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, content, 0o640), os.Chtimes(path, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(os.Symlink("small", filepath.Join(dir, "link")), os.Chown(filepath.Join(dir, "setuid"), 12, 34),
		os.Chmod(filepath.Join(dir, "setuid"), os.ModeSetuid|0o750), os.Chtimes(filepath.Join(dir, "setuid"), old, old))
	if err != nil {
		t.Fatal(err)
	}
}

func changes(dir string) []registration.Change {
	at := func(name string) string { return filepath.Join(dir, name) }
	return []registration.Change{
		New(at("new"), 0o600, []byte("new")),
		New(at("a/b/c/deep"), 0o644, []byte("deep")),
		New(at("a/b/second"), 0o644, []byte("second")),
		New(at("small"), 0o755, []byte("other")),
		New(at("large"), 0o644, bytes.Repeat([]byte("another "), KeepMost/5)),
		New(at("same"), 0o600, []byte("equal")),
		New(at("setuid"), 0o600, nil),
		New(at("link"), 0o644, []byte("no link")),
		New(at("small"), 0o755, []byte("and once more")),
	}
}

func TestFiles(t *testing.T) {
	dir := regtest.Dir(t)
	hostFiles(t, dir)
	// The second change of one file is not as the first left it: one at a time.
	list := changes(dir)
	regtest.Run(t, regtest.Host{
		Kinds: kinds, Env: registration.Env{Run: tool.Exec{}}, Step: 9,
		Changes:  func() []registration.Change { return changes(dir)[:len(list)-1] },
		Snapshot: func() string { return regtest.Tree(t, dir) },
	})
	base := regtest.Dir(t)
	before := regtest.Tree(t, dir)
	s := regtest.Open(t, regtest.Host{Kinds: kinds}, base, nil)
	defer s.Close()
	for _, c := range list {
		if _, err := s.Do(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "new")); err != nil || st.Mode() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
	if _, err := s.Undo(t.Context(), registration.Selection{All: true}); err != nil {
		t.Fatal(err)
	}
	if got := regtest.Tree(t, dir); got != before {
		t.Error(regtest.Diff(before, got))
	}
}

func TestOthersChangedFiles(t *testing.T) {
	dir := t.TempDir()
	hostFiles(t, dir)
	s := regtest.Open(t, regtest.Host{Kinds: kinds}, t.TempDir(), nil)
	defer s.Close()
	for _, c := range changes(dir) {
		if _, err := s.Do(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "new"), []byte("edited"), 0o600),
		os.Remove(filepath.Join(dir, "large")),
		os.WriteFile(filepath.Join(dir, "a/b/c/theirs"), nil, 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	list, err := s.Undo(t.Context(), registration.Selection{All: true})
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]string{}
	for _, o := range list {
		if !o.Undone() {
			left[o.ID] = string(o.Did) + ": " + o.Reason
		}
	}
	if len(left) != 2 || !strings.HasPrefix(left["r1"], "left alone: it has another content") || left["r5"] != "left alone: somebody removed it" {
		t.Errorf("%v", left)
	}
	for name, want := range map[string]string{"new": "edited", "a/b/c/theirs": "", "small": "old"} {
		if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
			t.Errorf("%s: %q %v", name, b, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "a/b/c/deep")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestFilesRefused(t *testing.T) {
	dir := t.TempDir()
	hostFiles(t, dir)
	before := regtest.Tree(t, dir)
	s := regtest.Open(t, regtest.Host{Kinds: kinds}, t.TempDir(), nil)
	defer s.Close()
	for _, path := range []string{dir, "relative", filepath.Join(dir, "small/below"), dir + "/a//b", "/"} {
		if _, err := s.Do(t.Context(), New(path, 0o644, nil)); err == nil {
			t.Errorf("%s was made", path)
		}
	}
	if got := regtest.Tree(t, dir); got != before || len(s.List(t.Context())) > 0 {
		t.Error(regtest.Diff(before, got))
	}
}

// A file on a file system that is mounted elsewhere when it is undone, or not
// at all: as in the RAM system.
func TestFilesElsewhere(t *testing.T) {
	for format, size := range map[string]int64{"ext4": 16 << 20, "btrfs": 120 << 20, "vfat": 8 << 20} {
		t.Run(format, func(t *testing.T) {
			dev := tooltest.Loop(t, size)
			if format == "vfat" {
				needVFAT(t)
				tooltest.Run(t, "mkfs.vfat", dev)
			} else {
				tooltest.Run(t, "mkfs."+format, "-q", dev)
			}
			first, second := t.TempDir(), t.TempDir()
			mount := func(dir string, options ...string) {
				t.Helper()
				if err := disk.Mount(dev, dir, format, options); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
			}
			unmount := func(dir string) {
				t.Helper()
				if err := disk.Unmount(dir); err != nil {
					t.Fatal(err)
				}
			}
			mount(first)
			if format == "btrfs" {
				tooltest.Run(t, "btrfs", "subvolume", "create", first+"/@root")
				unmount(first)
				mount(first, "subvol=/@root")
			}
			if err := os.WriteFile(first+"/old", []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			before := regtest.Tree(t, first)
			home := func() {
				for _, dir := range []string{first, second} {
					for unix.Unmount(dir, 0) == nil {
					}
				}
				if format == "btrfs" {
					mount(first, "subvol=/@root")
				} else {
					mount(first)
				}
			}
			for name, where := range map[string]func(){
				"where it was":  func() {},
				"not mounted":   func() { unmount(first) },
				"elsewhere":     func() { unmount(first); mount(second) },
				"hidden":        func() { hide(t, first) },
				"read-only too": func() { mount(second); bindReadOnly(t, second, first) },
			} {
				base := t.TempDir()
				s := regtest.Open(t, regtest.Host{Kinds: kinds}, base, nil)
				for _, c := range []registration.Change{New(first+"/old", 0o600, []byte("x")), New(first+"/EFI/vic/x.efi", 0o600, []byte("x"))} {
					if _, err := s.Do(t.Context(), c); err != nil {
						t.Fatal(err)
					}
				}
				where()
				list, err := s.Undo(t.Context(), registration.Selection{All: true})
				if err != nil || s.Close() != nil {
					t.Fatal(err)
				}
				for _, o := range list {
					if o.Did != registration.TookBack {
						t.Errorf("%s: %s %s: %s", name, o.ID, o.Did, o.Reason)
					}
				}
				home()
				if got := regtest.Tree(t, first); got != before {
					t.Error(name, regtest.Diff(before, got))
				}
			}
			unmount(first)
		})
	}
}

// What a power cut leaves of a FAT right after the change has the whole file. What it
// leaves of an older vic's, an empty one, is taken back too.
func TestFilesOnFAT(t *testing.T) {
	needVFAT(t)
	tooltest.Root(t)
	dev := tooltest.Loop(t, 8<<20)
	tooltest.Run(t, "mkfs.vfat", dev)
	dir, cut := t.TempDir(), t.TempDir()
	if err := disk.Mount(dev, dir, "vfat", nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	before := regtest.Tree(t, dir)
	s := regtest.Open(t, regtest.Host{Kinds: kinds}, t.TempDir(), nil)
	content := []byte(strings.Repeat("content ", 4096))
	if _, err := s.Do(t.Context(), New(dir+"/EFI/vic/x.efi", 0o700, content)); err != nil {
		t.Fatal(err)
	}
	now := make([]byte, 8<<20)
	medium, err := direct.Open(dev, os.O_RDONLY, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = medium.ReadAt(now, 0)
	if err := errors.Join(err, medium.Close()); err != nil {
		t.Fatal(err)
	}
	after := tooltest.Loop(t, 8<<20)
	f, err := os.OpenFile(after, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.Write(now)
	if err := errors.Join(err, f.Close(), disk.Mount(after, cut, "vfat", []string{"ro"})); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(cut + "/EFI/vic/x.efi")
	if err := errors.Join(err, disk.Unmount(cut)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes of %d are there after a power cut: %v", len(got), len(content), err)
	}
	if err := os.Truncate(dir+"/EFI/vic/x.efi", 0); err != nil {
		t.Fatal(err)
	}
	list, err := s.Undo(t.Context(), registration.Selection{All: true})
	if err != nil || len(list) != 1 || list[0].Did != registration.TookBack {
		t.Errorf("%+v, %v", list, err)
	}
	if got := regtest.Tree(t, dir); got != before {
		t.Error(regtest.Diff(before, got))
	}
	if err := errors.Join(s.Close(), disk.Unmount(dir)); err != nil {
		t.Error(err)
	}
}

// needVFAT skips on a kernel without FAT, such as one for tests alone.
func needVFAT(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "\tvfat\n") {
		t.Skip("this kernel has no vfat: qemu-tests/disks runs it on one that has")
	}
}

// hide mounts something over a directory.
func hide(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("none", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
}

// bindReadOnly shows a directory in a second place where nothing can be written.
func bindReadOnly(t *testing.T, from, to string) {
	t.Helper()
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", to, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
}
