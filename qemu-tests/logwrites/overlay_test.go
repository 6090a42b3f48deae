package logwrites

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
)

var _ disk.Device = (*Overlay)(nil)
var _ disk.Device = (*Recorder)(nil)

// An overlay does what a slice of bytes does.
func TestOverlay(t *testing.T) {
	const size = 5<<20 + 512
	base := make([]byte, 3<<20) // shorter than the disk
	choose := rand.New(rand.NewPCG(1, 1))
	for i := range base {
		base[i] = byte(choose.Uint32())
	}
	file := filepath.Join(t.TempDir(), "base")
	if err := os.WriteFile(file, base, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, d := range map[string]*Overlay{
		"blank": NewOverlay(nil, size, 512), "file": NewOverlay(f, size, 512),
		"layers": NewOverlay(NewOverlay(bytes.NewReader(base), size, 512), size, 512),
	} {
		want := make([]byte, size)
		if name != "blank" {
			copy(want, base)
		}
		for i := range 300 {
			off := choose.IntN(size)
			n := choose.IntN(min(size-off, 1<<(8+choose.IntN(15)))) + 1
			p := bytes.Repeat([]byte{byte(i)}, n)
			if choose.IntN(4) == 0 {
				clear(p)
				if err := d.Zero(int64(off), int64(n)); err != nil {
					t.Fatal(err)
				}
			} else if _, err := d.WriteAt(p, int64(off)); err != nil {
				t.Fatal(err)
			}
			copy(want[off:], p)
		}
		if !bytes.Equal(content(t, d), want) {
			t.Errorf("%s: the content differs", name)
		}
		saved := filepath.Join(t.TempDir(), "saved")
		if err := d.Save(saved); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(saved); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: what was saved differs (%v)", name, err)
		}
		if err := d.Save(saved); !errors.Is(err, os.ErrExist) {
			t.Errorf("saved over a file: %v", err)
		}
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, base) {
		t.Errorf("the base was written to (%v)", err)
	}
}

func TestOverlayEnds(t *testing.T) {
	d := NewOverlay(nil, 1<<20, 512)
	p := make([]byte, 1024)
	if n, err := d.ReadAt(p, 1<<20-512); n != 512 || err == nil {
		t.Errorf("read beyond the end: %d, %v", n, err)
	}
	if _, err := d.WriteAt(p, 1<<20-512); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("write beyond the end: %v", err)
	}
	if err := d.Zero(1<<20-512, 1024); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("zero beyond the end: %v", err)
	}
	if _, err := d.WriteAt(p, -1); err == nil {
		t.Error("write before the beginning")
	}
}

// Discarding a large disk takes no room.
func TestOverlayDiscard(t *testing.T) {
	d := NewOverlay(bytes.NewReader(make([]byte, 4096)), 1<<40, 512)
	if err := d.Zero(4096, 8<<30); err != nil {
		t.Fatal(err)
	}
	if len(d.chunks) != 8<<10+1 {
		t.Errorf("%d chunks", len(d.chunks))
	}
}
