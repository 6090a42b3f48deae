package logwrites

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// blank is a disk in memory.
func blank(size int64, sector int) *Overlay { return NewOverlay(nil, size, sector) }

// A program's writes to the block device are in the log as it made them.
func TestAttach(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			dev := blank(64<<20, sector)
			path, r := Record(t, dev, Faults{})
			start := len(r.Log().Entries) // attaching flushes
			f, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if n, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET); err != nil || n != sector {
				t.Errorf("sectors of %d, %v", n, err)
			}
			p := aligned(8192)
			copy(p, bytes.Repeat([]byte("ab"), 4096))
			if _, err := f.WriteAt(p, 1<<20); err != nil {
				t.Fatal(err)
			}
			r.Mark("written")
			if err := f.Sync(); err != nil {
				t.Fatal(err)
			}
			clear(p)
			if _, err := f.ReadAt(p, 1<<20); err != nil || !bytes.HasPrefix(p, []byte("abab")) {
				t.Errorf("read %q, %v", p[:4], err)
			}
			var got []string
			for _, e := range r.Log().Entries[start:] {
				got = append(got, fmt.Sprintf("%d+%d %v", e.Offset, e.Length, e.Flags))
			}
			if want := []string{"1048576+8192 ", "0+0 mark", "0+0 flush"}; fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("log is %q, want %q", got, want)
			}
		})
	}
}

// aligned is memory for direct I/O.
func aligned(n int) []byte {
	p, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	return p
}

// mkfs is cut at a hundred places; fsck finds each disk without a file system, or
// mends it. The kernel mounts what was whole.
func TestCutMkfs(t *testing.T) {
	run := tooltest.Need(t, "mkfs.ext4", "e2fsck")
	dev := blank(64<<20, 512)
	path, r := Record(t, dev, Faults{})
	if out, err := run.Run(t.Context(), tool.Cmd{Name: "mkfs.ext4", Args: []string{"-q", path}}); err != nil {
		t.Fatalf("%v\n%s", err, out.Stdout)
	}
	l := r.Log()
	if l.Writes() < 10 || l.Entries[len(l.Entries)-1].Flags&Flush == 0 {
		t.Fatalf("%d writes; the last entry is %+v", l.Writes(), l.Entries[len(l.Entries)-1])
	}
	whole := 0
	err := l.Replay(nil, dev.Size(), l.Cuts(Sample{Max: 8}), func(c Cut, d *Overlay) error {
		With(t, d, func(path string) {
			if _, err := run.Run(t.Context(), tool.Cmd{Name: "e2fsck", Args: []string{"-fn", path}}); err == nil {
				whole++
			} else if c.N == len(l.Entries) && c.Subset == "none" {
				t.Errorf("%v: %v", c, err)
			}
		})
		return nil
	})
	if err != nil || whole == 0 || whole == 8 {
		t.Errorf("%d of 8 file systems are whole, %v", whole, err)
	}
}

// Partitions are made as on any disk. They are announced to the kernel by addpart,
// as not every kernel reads the tables itself.
func TestPartitions(t *testing.T) {
	run := tooltest.Need(t, "addpart", "delpart")
	dev := blank(64<<20, 512)
	path := Attach(t, dev)
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "addpart", Args: []string{path, "1", "2048", "8192"}}); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path+"p1", os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := aligned(4096)
	copy(p, "here")
	if _, err := f.WriteAt(p, 4096); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dev)[1<<20+4096:][:4]; string(got) != "here" {
		t.Errorf("the disk has %q", got)
	}
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "delpart", Args: []string{path, "1"}}); err != nil {
		t.Error(err)
	}
}

// Faults reach programs as the errors of a disk.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		faults Faults
		want   []error // of three writes
		read   error
	}{
		{Faults{}, []error{nil, nil, nil}, nil},
		{Faults{Writes: 1}, []error{nil, unix.EIO, unix.EIO}, nil},
		{Faults{Writes: -1, Err: unix.ENOSPC}, []error{unix.ENOSPC, unix.ENOSPC, unix.ENOSPC}, nil},
		{Faults{Writes: 1, Once: true}, []error{nil, unix.EIO, nil}, nil},
		{Faults{Writes: 2, Gone: true}, []error{nil, nil, unix.EIO}, unix.EIO},
	} {
		path, r := Record(t, blank(8<<20, 512), tt.faults)
		f, err := os.OpenFile(path, os.O_RDWR|unix.O_DIRECT, 0)
		if err != nil {
			t.Fatal(err)
		}
		p := aligned(4096)
		for i, want := range tt.want {
			if _, err := f.WriteAt(p, int64(i)<<20); !errors.Is(err, want) || (err == nil) != (want == nil) {
				t.Errorf("%+v: write %d: %v", tt.faults, i, err)
			}
		}
		if _, err := f.ReadAt(p, 1<<20); !errors.Is(err, tt.read) || (err == nil) != (tt.read == nil) {
			t.Errorf("%+v: read: %v", tt.faults, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if r.Writes() != 3 {
			t.Errorf("%+v: %d writes", tt.faults, r.Writes())
		}
	}
}
