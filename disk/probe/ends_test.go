package probe

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// counted counts reads, and fails those that touch a byte.
type counted struct {
	io.ReaderAt
	reads int
	bad   int64
}

var errSector = errors.New("sector is bad")

func (c *counted) ReadAt(p []byte, at int64) (int, error) {
	c.reads++
	if c.bad > 0 && at <= c.bad && c.bad < at+int64(len(p)) {
		return 0, errSector
	}
	return c.ReaderAt.ReadAt(p, at)
}

func TestEnds(t *testing.T) {
	for _, size := range []int{0, 1, 4096, 2*window - 1, 2 * window, 3*window + 7} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(i * 7 >> 3)
		}
		for _, bad := range []int64{0, 3000, int64(size) - 1} {
			plain := &counted{ReaderAt: bytes.NewReader(b), bad: bad}
			c := &counted{ReaderAt: bytes.NewReader(b), bad: bad}
			r := newEnds(c, int64(size))
			defer r.done()
			for _, at := range []int{0, 1000, 3000, 4095, window - 1, window, size/2 - 3, size - window, size - 4096, size - 10, size - 1, size} {
				for _, n := range []int{0, 1, 512, 4096} {
					if at < 0 {
						continue
					}
					want, got := make([]byte, n), make([]byte, n)
					wn, wantErr := plain.ReadAt(want, int64(at))
					gn, gotErr := r.ReadAt(got, int64(at))
					if wn != gn || !bytes.Equal(want[:wn], got[:gn]) || errors.Is(wantErr, errSector) != errors.Is(gotErr, errSector) {
						t.Fatalf("%d bytes, bad %d: %d at %d: %d %v, want %d %v", size, bad, n, at, gn, gotErr, wn, wantErr)
					}
				}
			}
		}
	}
}

// A look at a device reads each end once, and little else.
func TestProbeReadsLittle(t *testing.T) {
	c := &counted{ReaderAt: bytes.NewReader(make([]byte, 128<<20))}
	if found, err := Probe(c, 128<<20); err != nil || len(found) != 0 {
		t.Errorf("%v %v", found, err)
	}
	if c.reads > 12 {
		t.Errorf("%d reads", c.reads)
	}
}
