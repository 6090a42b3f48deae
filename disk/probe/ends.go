package probe

import (
	"io"
	"sync"
)

// window is how much ends reads at once: both ZFS labels, both headers of most
// LUKS2 containers, and the superblocks of nearly everything else.
const window = 512 << 10

// ends reads the beginning and the end of a device in one go each, when the
// first byte there is wanted: formats are known by some sixty places there, and a
// device that has to go and look for each takes longer than mkfs. Elsewhere, and
// where a window as a whole cannot be read, it reads what it is asked for.
//
// It is for one look at a device that nobody writes to meanwhile, and for one
// goroutine.
type ends struct {
	r     io.ReaderAt
	parts []part
}

func newEnds(r io.ReaderAt, size int64) *ends {
	if size < 2*window {
		return &ends{r: r, parts: []part{{size: max(size, 0)}}}
	}
	return &ends{r: r, parts: []part{{size: window}, {at: size - window, size: window}}}
}

// part is a window.
type part struct {
	at, size int64
	tried    bool
	buffer   *[2 * window]byte // of buffers; nil: not read yet
	b        []byte            // of buffer; nil: not read yet, or not readable
}

// buffers are what windows are read into. Each partition of a disk is looked at
// several times, and for new memory each time the kernel would clear as many
// pages.
var buffers = sync.Pool{New: func() any { return new([2 * window]byte) }}

// view is a piece of a window, until the end of the look; nil where there is
// none.
func (e *ends) view(at int64, n int) []byte {
	for i := range e.parts {
		w := &e.parts[i]
		if at < w.at || at+int64(n) > w.at+w.size {
			continue
		}
		if !w.tried {
			w.tried, w.buffer = true, buffers.Get().(*[2 * window]byte)
			b := w.buffer[:w.size]
			if n, _ := e.r.ReadAt(b, w.at); n == len(b) {
				w.b = b
			}
		}
		if from := at - w.at; w.b != nil {
			return w.b[from : from+int64(n) : from+int64(n)]
		}
	}
	return nil
}

// ReadAt implements io.ReaderAt.
func (e *ends) ReadAt(p []byte, at int64) (int, error) {
	if v := e.view(at, len(p)); v != nil {
		return copy(p, v), nil
	}
	return e.r.ReadAt(p, at)
}

// done gives the windows back: nothing that view returned is used any more.
func (e *ends) done() {
	for i, w := range e.parts {
		if w.buffer != nil {
			buffers.Put(w.buffer)
		}
		e.parts[i] = part{at: w.at, size: w.size}
	}
}
