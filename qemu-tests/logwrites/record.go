package logwrites

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sys/unix"
)

// Device is what is recorded: a disk.Device.
type Device interface {
	io.ReaderAt
	io.WriterAt
	Size() int64
	SectorSize() int
	Sync() error
}

// Faults is what goes wrong with a device. The zero value: nothing.
type Faults struct {
	// Writes is how many writes succeed before all that follow fail. A
	// discard is a write. 0: all succeed; to fail the first, use -1.
	Writes int
	// Err is what they fail with: EIO without it; ENOSPC for a thin device
	// that has run out of space.
	Err unix.Errno
	// Once lets all but one write succeed.
	Once bool
	// Gone makes reads and flushes fail too from then on: a pulled disk.
	Gone bool
}

// Recorder is a disk.Device that passes everything on to another, and keeps a
// log of it. Writes that fail are not in the log.
type Recorder struct {
	dev    Device
	faults Faults

	mu      sync.Mutex
	entries []Entry
	writes  int // submitted
}

// NewRecorder records what is done to a device.
func NewRecorder(dev Device, faults Faults) *Recorder { return &Recorder{dev: dev, faults: faults} }

// Writes is how many writes were submitted so far, those that failed too.
func (r *Recorder) Writes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.writes
}

// Log is what was done so far.
func (r *Recorder) Log() *Log {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.entries)
	return &Log{SectorSize: r.dev.SectorSize(), Entries: r.entries[:n:n], Counted: n}
}

// Mark puts a label into the log, to find the place again.
func (r *Recorder) Mark(label string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries = append(r.entries, Entry{Flags: Mark, Label: label})
}

// Size and SectorSize implement disk.Device.
func (r *Recorder) Size() int64     { return r.dev.Size() }
func (r *Recorder) SectorSize() int { return r.dev.SectorSize() }

// ReadAt implements io.ReaderAt.
func (r *Recorder) ReadAt(p []byte, off int64) (int, error) {
	if err := r.gone(); err != nil {
		return 0, err
	}
	return r.dev.ReadAt(p, off)
}

// WriteAt implements io.WriterAt. Writes happen one after the other, so that
// the log has them in the order in which they reach the device.
func (r *Recorder) WriteAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.fault(); err != nil {
		return 0, err
	}
	n, err := r.dev.WriteAt(p, off)
	if err == nil {
		r.entries = append(r.entries, Entry{Offset: off, Length: int64(n), data: bytes.NewReader(bytes.Clone(p))})
	}
	return n, err
}

// Zero writes zeros.
func (r *Recorder) Zero(off, length int64) error { return r.zero(off, length, 0) }

// Discard makes a range zero, as discarding it does on many a disk.
func (r *Recorder) Discard(off, length int64) error { return r.zero(off, length, Discard) }

func (r *Recorder) zero(off, length int64, flags Flags) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.fault(); err != nil {
		return err
	}
	e := Entry{Offset: off, Length: length, Flags: flags}
	if err := e.apply(r.dev, 0, length); err != nil {
		return err
	}
	r.entries = append(r.entries, e)
	return nil
}

// Sync implements disk.Device: it is a flush.
func (r *Recorder) Sync() error {
	if err := r.gone(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.dev.Sync(); err != nil {
		return err
	}
	r.entries = append(r.entries, Entry{Flags: Flush})
	return nil
}

// fault counts a write, and is the error that it fails with.
func (r *Recorder) fault() error {
	r.writes++
	limit := max(0, r.faults.Writes)
	switch {
	case r.faults.Writes == 0 || r.writes <= limit || r.faults.Once && r.writes > limit+1:
		return nil
	case r.faults.Err != 0:
		return fmt.Errorf("write %d: %w", r.writes, r.faults.Err)
	}
	return fmt.Errorf("write %d: %w", r.writes, unix.EIO)
}

// gone is the error of everything after a disk was pulled.
func (r *Recorder) gone() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.faults.Gone && r.faults.Writes != 0 && r.writes > max(0, r.faults.Writes) {
		return fmt.Errorf("device is gone: %w", unix.EIO)
	}
	return nil
}
