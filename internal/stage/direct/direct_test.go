package direct

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// image is a file in dir of 3 MiB of noise.
func image(t *testing.T, dir string) (path string, content []byte) {
	t.Helper()
	content = make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	path = filepath.Join(dir, "image")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, content
}

// Reads and writes of any offset and length do what they would do in memory,
// with O_DIRECT and, on tmpfs, perhaps without it.
func TestLikeMemory(t *testing.T) {
	for _, dir := range []string{t.TempDir(), shm(t)} {
		path, want := image(t, dir)
		const base, size = 4096, 2 << 20
		d, err := Open(path, os.O_RDWR|unix.O_DSYNC, base, size)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { d.Close() })
		rng := rand.New(rand.NewPCG(1, 2))
		for range 40 {
			off := rng.Int64N(size)
			p := make([]byte, min(rng.Int64N(3<<19), size-off))
			if n, err := d.ReadAt(p, off); n != len(p) || err != nil {
				t.Fatalf("read %d bytes at %d: got %d, %v", len(p), off, n, err)
			}
			if !bytes.Equal(p, want[base+off:base+off+int64(len(p))]) {
				t.Fatalf("read %d bytes at %d: other bytes", len(p), off)
			}
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			copy(want[base+off:], p)
			if n, err := d.WriteAt(p, off); n != len(p) || err != nil {
				t.Fatalf("write %d bytes at %d: got %d, %v", len(p), off, n, err)
			}
		}
		if err := d.Sync(); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("the file is another than it would be in memory (%v)", err)
		}
	}
}

func shm(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "vic-direct-")
	if err != nil {
		t.Skip("no tmpfs: ", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Nothing is read or written outside of the range.
func TestBounds(t *testing.T) {
	path, _ := image(t, t.TempDir())
	d, err := Open(path, os.O_RDWR, 4096, 8192)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if n, err := d.ReadAt(make([]byte, 1000), 8000); n != 192 || !errors.Is(err, io.EOF) {
		t.Errorf("read across the end: got %d, %v", n, err)
	}
	if _, err := d.WriteAt(make([]byte, 1000), 8000); err == nil {
		t.Error("wrote across the end")
	}
	if _, err := Open(path, os.O_RDWR, 4096, 3<<20); err == nil {
		t.Error("opened a range that the file does not have")
	}
}
