package logwrites

import (
	"bytes"
	"math/rand/v2"
	"os"
	"sync"
)

// Flash is a firmware's variable store beside a disk that is recorded. It keeps what
// it is told at once, unlike the disk: what it holds after a power cut are the writes
// up to then, the last of them perhaps in part.
type Flash struct {
	disk *Recorder

	mu      sync.Mutex
	before  []byte
	now     []byte
	changes []change
}

// change is a write to the flash, when the disk's log had so many entries.
type change struct {
	after int
	at    int64
	data  []byte
}

// FlashMark is the label in the disk's log of where a row of writes to the flash
// begins, so that Points cuts there too.
const FlashMark = "flash"

// NewFlash is a variable store with this content.
func NewFlash(content []byte, disk *Recorder) *Flash {
	return &Flash{disk: disk, before: bytes.Clone(content), now: bytes.Clone(content)}
}

// Size, SectorSize and Sync implement Device.
func (f *Flash) Size() int64     { return int64(len(f.before)) }
func (f *Flash) SectorSize() int { return 512 }
func (f *Flash) Sync() error     { return nil }

// ReadAt implements io.ReaderAt.
func (f *Flash) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.NewReader(f.now).ReadAt(p, off)
}

// WriteAt implements io.WriterAt.
func (f *Flash) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if off < 0 || off+int64(len(p)) > int64(len(f.now)) {
		return 0, os.ErrInvalid
	}
	if bytes.Equal(f.now[off:off+int64(len(p))], p) {
		return len(p), nil // QEMU writes whole sectors for each byte
	}
	f.changes = append(f.changes, change{after: f.disk.markOnce(FlashMark), at: off, data: bytes.Clone(p)})
	return copy(f.now[off:], p), nil
}

// At is what the flash holds after a cut of the disk's log: all that was written to it
// before the last entry that the disk was given, and of what came between that one and
// the next as much as the seed chooses.
func (f *Flash) At(c Cut, seed uint64) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	content := bytes.Clone(f.before)
	var open []change
	for _, w := range f.changes {
		switch {
		case w.after < c.N:
			copy(content[w.at:], w.data)
		case w.after == c.N:
			open = append(open, w)
		}
	}
	kept := rand.New(rand.NewPCG(seed, 4)).IntN(len(open) + 1)
	for _, w := range open[:kept] {
		copy(content[w.at:], w.data)
	}
	return content
}

// markOnce marks the log unless it ends in this mark, and returns its length.
func (r *Recorder) markOnce(label string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.entries); n == 0 || r.entries[n-1].Flags != Mark || r.entries[n-1].Label != label {
		r.entries = append(r.entries, Entry{Flags: Mark, Label: label})
	}
	return len(r.entries)
}
