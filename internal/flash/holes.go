package flash

import (
	"errors"
	"fmt"
	"io"
)

// Holes of an image have to read as zeroes on the device as well: file systems
// rely on it (FAT directories, dm-verity trees), and what was there before is
// nobody's business. How to get there, best first; a device that does not keep
// what it promises is taken one step down.
const (
	byPromise int32 = iota // write zeroes offloaded to the device
	byDiscard              // discard, and look whether it reads as zeroes
	byWriting
)

// cheapHoles says whether small holes are worth a command of their own.
func (f *flight) cheapHoles() bool { return f.how.Load() == byPromise }

// zero makes a range read as zeroes.
func (f *flight) zero(off, size int64) error {
	done, err := f.zeroCheaply(off, roundUp(size, int64(f.dev.SectorSize())))
	if err != nil {
		return err
	}
	if done {
		f.skipped.Add(size - max(0, min(headSize, off+size)-off)) // the first MiB comes later
		f.meter.add(size)
		return nil
	}
	for end := off + size; off < end; off += blockSize {
		n := min(blockSize, end-off)
		if _, err := f.dev.WriteAt(zeroes[:roundUp(n, int64(f.dev.SectorSize()))], off); err != nil {
			return fmt.Errorf("write %s of zeroes at byte %d: %w", Bytes(n), off, err)
		}
		f.written.Add(n)
		f.meter.add(n)
		if f.stopped() {
			return nil
		}
	}
	return nil
}

func (f *flight) zeroCheaply(off, size int64) (bool, error) {
	if f.how.Load() == byPromise {
		ok, err := f.dev.Zero(off, size)
		if err != nil {
			return false, fmt.Errorf("zero %s at byte %d: %w", Bytes(size), off, err)
		}
		if ok && (f.target.Fresh || f.readsZero(off, size, true)) {
			return true, nil
		}
		f.how.CompareAndSwap(byPromise, byDiscard)
	}
	if f.how.Load() != byDiscard || size < blockSize {
		return false, nil
	}
	ok, err := f.dev.Discard(off, size)
	if err != nil {
		return false, fmt.Errorf("discard %s at byte %d: %w", Bytes(size), off, err)
	}
	// Without a promise all of it is read: that takes a third of the time of writing.
	if ok && f.readsZero(off, size, true) && f.readsZero(off, size, false) {
		return true, nil
	}
	f.how.Store(byWriting)
	return false, nil
}

// readsZero looks at both ends of a range, or at all of it. What cannot be read
// is no zero: writing it tells why.
func (f *flight) readsZero(off, size int64, ends bool) bool {
	if ends && size > 2*page {
		return f.readsZero(off, page, false) && f.readsZero(off+size-page, page, false)
	}
	b := aligned(int(min(size, blockSize)))
	for end := off + size; off < end; off += int64(len(b)) {
		b = b[:min(int64(len(b)), end-off)]
		n, err := f.dev.ReadAt(b, off)
		if err != nil && (!errors.Is(err, io.EOF) || n < len(b)) || !isZero(b) {
			return false
		}
	}
	return true
}
