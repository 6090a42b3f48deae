package logwrites

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Overlay is a disk.Device in memory over a disk that stays as it is. It takes
// room for what was written to it alone, in pages of 4 KiB.
type Overlay struct {
	base   io.ReaderAt // nil: zeros
	size   int64
	sector int

	mu     sync.RWMutex
	chunks map[int64]*chunk
}

const (
	pageSize  = 4 << 10
	chunkSize = 1 << 20
)

// chunk is a part of an overlay that differs from the base.
type chunk struct {
	zero  bool // where there is no page: zeros, and not the base
	pages [chunkSize / pageSize]*[pageSize]byte
}

// NewOverlay makes a device of size bytes. What base (nil: nothing) has less
// than that reads as zeros.
func NewOverlay(base io.ReaderAt, size int64, sectorSize int) *Overlay {
	return &Overlay{base: base, size: size, sector: sectorSize, chunks: map[int64]*chunk{}}
}

// Size, SectorSize and Sync implement disk.Device.
func (o *Overlay) Size() int64     { return o.size }
func (o *Overlay) SectorSize() int { return o.sector }
func (o *Overlay) Sync() error     { return nil }

// each cuts the range into the parts of pages that it covers.
func (o *Overlay) each(op string, off, length int64, use func(c, page, from, to int64) error) (done int64, err error) {
	if off < 0 || length < 0 || off > o.size || length > o.size-off {
		return 0, fmt.Errorf("%s %d bytes at %d of a device of %d: %w", op, length, off, o.size, unix.ENOSPC)
	}
	for done < length {
		at := off + done
		from := at % pageSize
		n := min(pageSize-from, length-done)
		if err := use(at/chunkSize, at%chunkSize/pageSize, from, from+n); err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// ReadAt implements io.ReaderAt.
func (o *Overlay) ReadAt(p []byte, off int64) (int, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	length := min(int64(len(p)), max(0, o.size-off))
	rest := p
	n, err := o.each("read", off, length, func(c, page, from, to int64) error {
		out := rest[:to-from]
		rest = rest[to-from:]
		return o.readPage(out, c, page, from)
	})
	if err == nil && n < int64(len(p)) {
		err = io.EOF
	}
	return int(n), err
}

func (o *Overlay) readPage(out []byte, c, page, from int64) error {
	ch := o.chunks[c]
	switch {
	case ch != nil && ch.pages[page] != nil:
		copy(out, ch.pages[page][from:])
	case ch != nil && ch.zero || o.base == nil:
		clear(out)
	default:
		n, err := o.base.ReadAt(out, c*chunkSize+page*pageSize+from)
		if n < len(out) && !errors.Is(err, io.EOF) {
			return err
		}
		clear(out[n:])
	}
	return nil
}

// WriteAt implements io.WriterAt.
func (o *Overlay) WriteAt(p []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.each("write", off, int64(len(p)), func(c, page, from, to int64) error {
		dst, err := o.page(c, page, to-from == pageSize)
		if err != nil {
			return err
		}
		copy(dst[from:to], p)
		p = p[to-from:]
		return nil
	})
	return int(n), err
}

// page returns a page to write to. Unless all of it will be, it gets what is
// read there now.
func (o *Overlay) page(c, page int64, whole bool) (*[pageSize]byte, error) {
	ch := o.chunk(c)
	if ch.pages[page] != nil {
		return ch.pages[page], nil
	}
	dst := new([pageSize]byte)
	if !whole {
		if err := o.readPage(dst[:], c, page, 0); err != nil {
			return nil, err
		}
	}
	ch.pages[page] = dst
	return dst, nil
}

func (o *Overlay) chunk(c int64) *chunk {
	ch := o.chunks[c]
	if ch == nil {
		ch = &chunk{zero: o.base == nil}
		o.chunks[c] = ch
	}
	return ch
}

// Zero makes a range zero, as a discard does.
func (o *Overlay) Zero(off, length int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if off < 0 || length < 0 || off > o.size || length > o.size-off {
		return fmt.Errorf("zero %d bytes at %d of a device of %d: %w", length, off, o.size, unix.ENOSPC)
	}
	for length > 0 {
		n := min(chunkSize-off%chunkSize, length)
		if n == chunkSize {
			if o.base == nil {
				delete(o.chunks, off/chunkSize)
			} else {
				o.chunks[off/chunkSize] = &chunk{zero: true}
			}
		} else if err := o.zeroPages(off, n); err != nil {
			return err
		}
		off, length = off+n, length-n
	}
	return nil
}

func (o *Overlay) zeroPages(off, length int64) error {
	_, err := o.each("zero", off, length, func(c, page, from, to int64) error {
		if ch := o.chunks[c]; o.base == nil && (ch == nil || ch.pages[page] == nil) {
			return nil
		}
		dst, err := o.page(c, page, to-from == pageSize)
		if err == nil {
			clear(dst[from:to])
		}
		return err
	})
	return err
}

// Save writes the disk to a new file, zeros as holes.
func (o *Overlay) Save(path string) (err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("save disk: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = fmt.Errorf("save disk: %w", err)
		}
	}()
	buf, zero := make([]byte, chunkSize), make([]byte, chunkSize)
	for at := int64(0); at < o.size; at += chunkSize {
		if !o.mayHold(at) {
			continue
		}
		p := buf[:min(chunkSize, o.size-at)]
		if _, err := o.ReadAt(p, at); err != nil {
			return err
		}
		if string(p) == string(zero[:len(p)]) {
			continue
		}
		if _, err := f.WriteAt(p, at); err != nil {
			return err
		}
	}
	return f.Truncate(o.size)
}

// mayHold tells whether the chunk at an offset can be other than zeros, without
// reading it.
func (o *Overlay) mayHold(at int64) bool {
	o.mu.RLock()
	ch := o.chunks[at/chunkSize]
	o.mu.RUnlock()
	switch base := o.base.(type) {
	case nil:
		return ch != nil
	case *Overlay:
		return ch != nil || base.mayHold(at)
	case io.Seeker: // lseek(2), SEEK_DATA
		if ch != nil {
			return true
		}
		next, err := base.Seek(at, unix.SEEK_DATA)
		return err == nil && next < at+chunkSize || err != nil && !errors.Is(err, unix.ENXIO)
	}
	return true
}
