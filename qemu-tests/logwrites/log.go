package logwrites

import (
	"bytes"
	"fmt"
	"io"
)

// Flags of an entry, as in the log's file format.
type Flags uint64

const (
	Flush    Flags = 1 << iota // what came before is on the medium; then the data, if any
	FUA                        // the data is on the medium at once
	Discard                    // no data: the range reads as zeros afterwards
	Mark                       // no data: a label
	Metadata                   // of a file system, as Linux sees it
	allFlags = 1<<iota - 1
)

func (f Flags) String() string {
	var b bytes.Buffer
	for i, name := range []string{"flush", "fua", "discard", "mark", "metadata"} {
		if f&(1<<i) != 0 {
			fmt.Fprintf(&b, "+%s", name)
		}
	}
	return string(bytes.TrimPrefix(b.Bytes(), []byte("+")))
}

// Entry is one write, flush, discard or mark.
type Entry struct {
	Offset, Length int64 // bytes
	Flags          Flags
	Label          string      // of a mark
	data           io.ReaderAt // nil: zeros
}

// ReadAt reads what was written; a discard's data are zeros.
func (e Entry) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= e.Length {
		return 0, io.EOF
	}
	end := min(int64(len(p)), e.Length-off)
	var err error
	if e.data == nil {
		clear(p[:end])
	} else if n, readErr := e.data.ReadAt(p[:end], off); int64(n) < end {
		return n, readErr
	}
	if end < int64(len(p)) {
		err = io.EOF
	}
	return int(end), err
}

// writes tells whether the entry changes the disk.
func (e Entry) writes() bool { return e.Length > 0 && e.Flags&Mark == 0 }

// zeroer is a device that makes a range zero without being given zeros.
type zeroer interface {
	Zero(offset, length int64) error
}

// apply writes the bytes [from, to) of the entry's data to where they belong.
func (e Entry) apply(w io.WriterAt, from, to int64) error {
	if z, ok := w.(zeroer); ok && e.data == nil {
		return z.Zero(e.Offset+from, to-from)
	}
	buf := make([]byte, min(1<<20, to-from))
	for from < to {
		p := buf[:min(int64(len(buf)), to-from)]
		if n, err := e.ReadAt(p, from); n < len(p) {
			return fmt.Errorf("read data of a logged write: %w", err)
		}
		if _, err := w.WriteAt(p, e.Offset+from); err != nil {
			return err
		}
		from += int64(len(p))
	}
	return nil
}

// Log is what happened to a disk, in order.
type Log struct {
	SectorSize int // the unit in which a write can be torn, bytes
	Entries    []Entry
	// Counted is how many entries the super block of a log file counts. Those
	// after it were found all the same: a QEMU that is killed counts no more.
	Counted int
}

// Marked is the index of the first mark with this label, -1 without one.
func (l *Log) Marked(label string) int {
	for i, e := range l.Entries {
		if e.Flags&Mark != 0 && e.Label == label {
			return i
		}
	}
	return -1
}

// Writes counts the entries that change the disk.
func (l *Log) Writes() int {
	n := 0
	for _, e := range l.Entries {
		if e.writes() {
			n++
		}
	}
	return n
}
