package extent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

const mib = 1 << 20

// mounted makes a file system on a loop device and mounts it.
func mounted(t *testing.T, kind string, size int64) (dir, device string) {
	t.Helper()
	device, dir = tooltest.Loop(t, size), t.TempDir()
	tooltest.Run(t, "mkfs."+kind, "-q", device)
	if err := unix.Mount(device, dir, kind, 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir, device
}

func free(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bfree) * st.Bsize
}

// TestAllocate: what is written to the place on the device is what the file has, and
// what the file does not have of the file system is free again.
func TestAllocate(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			dir, device := mounted(t, kind, 3<<30)
			before := free(t, dir)
			w := Want{Size: 300 * mib, From: 3 << 29, Align: mib, Origin: 12 * 4096, Spare: 64 * mib}
			p, err := Allocate(dir, w)
			if err != nil {
				t.Fatal(err)
			}
			if p.Offset < w.From || (p.Offset+w.Origin)%w.Align != 0 || p.Size != w.Size {
				t.Errorf("it is at %v", p.Extent)
			}
			lost := before - free(t, dir)
			for limit := time.Now().Add(20 * time.Second); lost > w.Size+4*mib && time.Now().Before(limit); lost = before - free(t, dir) {
				time.Sleep(10 * time.Millisecond) // xfs gives back what was closed when it comes to it
			}
			if lost < w.Size || lost > w.Size+4*mib {
				t.Errorf("%d bytes are taken for %d", lost, w.Size)
			}
			path := filepath.Join(dir, "stage.img")
			if err := p.Link(path); err != nil {
				t.Fatal(err)
			}
			if err := p.Link(path); !errors.Is(err, fs.ErrExist) {
				t.Errorf("another name in its place: %v", err)
			}
			word := []byte("of the file")
			if _, err := p.File.WriteAt(word, p.Inside+7*4096); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(p.File.Sync(), p.Close()); err != nil {
				t.Fatal(err)
			}
			raw, err := os.Open(device)
			if err != nil {
				t.Fatal(err)
			}
			defer raw.Close()
			got := make([]byte, len(word))
			if _, err := raw.ReadAt(got, p.Offset+7*4096); err != nil || string(got) != string(word) {
				t.Errorf("the device has %q at its place: %v", got, err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestAllocateAt: a file that has a name from the beginning has its piece too; without
// one there is no file, and one that is there stays.
func TestAllocateAt(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			dir, _ := mounted(t, kind, 1<<30)
			path := filepath.Join(dir, "stage.img")
			if _, err := AllocateAt(path, Want{Size: 2 << 30, Align: mib}); !errors.Is(err, ErrNone) {
				t.Errorf("more than there is: %v", err)
			}
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("after that: %v", err)
			}
			p, err := AllocateAt(path, Want{Size: 64 * mib, From: 300 * mib, Align: mib, Spare: mib})
			if err != nil {
				t.Fatal(err)
			}
			list, err := Map(p.File)
			if err != nil || !p.In(list) || p.Offset < 300*mib {
				t.Errorf("it is at %v, the piece at %v, %v", list, p.Extent, err)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if _, err := AllocateAt(path, Want{Size: mib, Align: mib}); !errors.Is(err, fs.ErrExist) {
				t.Errorf("again: %v", err)
			}
			if st, err := os.Lstat(path); err != nil || st.Size() < 64*mib {
				t.Errorf("what was there: %v, %v", st, err)
			}
		})
	}
}

// TestMapBlocks: asked block by block, the kernel says the same.
func TestMapBlocks(t *testing.T) {
	dir, _ := mounted(t, "ext4", 1<<30)
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{0, 5 * mib} { // between them is a hole
		if _, err := f.WriteAt(make([]byte, 2*mib), at); err != nil {
			t.Fatal(err)
		}
	}
	want, err := Map(f)
	if err != nil {
		t.Fatal(err)
	}
	got, err := mapBlocks(f, 4096)
	if err != nil || len(want) < 2 || !slices.Equal(got, want) {
		t.Errorf("%v, %v, expected %v", got, err, want)
	}
}

// TestAllocateNone: nothing is left when there is no piece.
func TestAllocateNone(t *testing.T) {
	dir, _ := mounted(t, "ext4", 1<<30)
	before := free(t, dir)
	for name, w := range map[string]Want{
		"larger than what is free":  {Size: 2 << 30, Align: mib},
		"behind the end":            {Size: 64 * mib, From: 1 << 30, Align: mib},
		"not with what has to stay": {Size: 64 * mib, Align: mib, Spare: 1 << 30},
	} {
		p, err := Allocate(dir, w)
		if !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	unix.Sync()
	if now := free(t, dir); now != before {
		t.Errorf("%d bytes are free, before %d", now, before)
	}
}

func TestMap(t *testing.T) {
	var list []Extent
	for _, e := range []Extent{{0, 1000, 10}, {10, 1010, 5}, {15, 2000, 5}, {30, 2005, 5}} {
		list = join(list, e)
	}
	if len(list) != 3 || list[0] != (Extent{0, 1000, 15}) {
		t.Error(list)
	}
	for e, want := range map[Extent]bool{{2, 1002, 13}: true, {2, 1002, 14}: false, {2, 1003, 5}: false, {15, 2000, 5}: true, {30, 2004, 5}: false} {
		if e.In(list) != want {
			t.Errorf("%v in %v: expected %v", e, list, want)
		}
	}
	w := Want{Size: 8, From: 1003, Align: 4, Origin: 2}
	if e, ok := w.within(list); !ok || e != (Extent{6, 1006, 8}) {
		t.Error(e, ok)
	}
}
