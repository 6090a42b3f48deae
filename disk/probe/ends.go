package probe

import "io"

// window is how much Ends reads at once: both ZFS labels, both headers of most
// LUKS2 containers, and the superblocks of nearly everything else.
const window = 512 << 10

// Ends reads the beginning and the end of a device in one go each, when the
// first byte there is wanted: formats are known by some sixty places there, and a
// device that has to go and look for each takes longer than mkfs. Elsewhere, and
// where a window as a whole cannot be read, it reads what it is asked for.
//
// It is for one look at a device that nobody writes to meanwhile, and for one
// goroutine.
func Ends(r io.ReaderAt, size int64) io.ReaderAt {
	if size < 2*window {
		return &ends{r: r, parts: []part{{size: max(size, 0)}}}
	}
	return &ends{r: r, parts: []part{{size: window}, {at: size - window, size: window}}}
}

type ends struct {
	r     io.ReaderAt
	parts []part
}

// part is a window.
type part struct {
	at, size int64
	tried    bool
	b        []byte // nil: not read yet, or not readable
}

// ReadAt implements io.ReaderAt.
func (e *ends) ReadAt(p []byte, at int64) (int, error) {
	for i := range e.parts {
		w := &e.parts[i]
		if at < w.at || at+int64(len(p)) > w.at+w.size {
			continue
		}
		if !w.tried {
			w.tried = true
			b := make([]byte, w.size)
			if n, _ := e.r.ReadAt(b, w.at); n == len(b) {
				w.b = b
			}
		}
		if w.b != nil {
			return copy(p, w.b[at-w.at:]), nil
		}
	}
	return e.r.ReadAt(p, at)
}
