package logwrites

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
)

// The format is that of drivers/md/dm-log-writes.c, which QEMU's
// block/blklogwrites.c writes too. All numbers are little-endian.
//
//	sector 0   super block: magic, version, entries (64 bits each), sector size (32)
//	then       entry: sector, sectors, flags, length of label (64 bits each), label
//	           its data, unless it is a discard; and so on
const (
	magic     = 0x6a736677736872
	version   = 1
	superSize = 28
	entrySize = 32
)

// ErrUnflushed is the error of a log to which nothing was flushed: QEMU writes
// the super block with the first flush.
var ErrUnflushed = errors.New("log has no super block yet")

// Open reads a log. The data stay in r, which has to outlive the Log.
func Open(r io.ReaderAt) (*Log, error) {
	count, sector, err := readSuper(r)
	if err != nil {
		return nil, err
	}
	l := &Log{SectorSize: sector}
	at := int64(sector)
	for uint64(len(l.Entries)) < count {
		e, next, err := readEntry(r, at, int64(sector))
		if err != nil {
			return nil, fmt.Errorf("read log entry %d of %d: %w", len(l.Entries), count, err)
		}
		l.Entries, at = append(l.Entries, e), next
	}
	l.Counted = len(l.Entries)
	for {
		e, next, err := readEntry(r, at, int64(sector))
		if err != nil || e.Length == 0 && e.Flags == 0 {
			return l, nil // the rest was not written
		}
		l.Entries, at = append(l.Entries, e), next
	}
}

func readSuper(r io.ReaderAt) (count uint64, sector int, err error) {
	var b [superSize]byte
	n, err := r.ReadAt(b[:], 0)
	if b == [superSize]byte{} && (n == len(b) || errors.Is(err, io.EOF)) {
		return 0, 0, ErrUnflushed
	}
	if n < len(b) {
		return 0, 0, fmt.Errorf("read super block of log: %w", err)
	}
	if m := binary.LittleEndian.Uint64(b[:]); m != magic {
		return 0, 0, fmt.Errorf("read super block of log: magic is %#x, not %#x", m, uint64(magic))
	}
	if v := binary.LittleEndian.Uint64(b[8:]); v != version {
		return 0, 0, fmt.Errorf("read super block of log: version is %d, not %d", v, version)
	}
	size := binary.LittleEndian.Uint32(b[24:])
	if bits.OnesCount32(size) != 1 || size < 512 || size >= 1<<24 {
		return 0, 0, fmt.Errorf("read super block of log: sectors of %d bytes", size)
	}
	return binary.LittleEndian.Uint64(b[16:]), int(size), nil
}

// readEntry reads the entry at an offset, and says where the next one is.
func readEntry(r io.ReaderAt, at, sector int64) (Entry, int64, error) {
	var b [entrySize]byte
	if n, err := r.ReadAt(b[:], at); n < len(b) {
		return Entry{}, 0, err
	}
	start, count := binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])
	flags, labelSize := Flags(binary.LittleEndian.Uint64(b[16:])), binary.LittleEndian.Uint64(b[24:])
	limit := uint64(math.MaxInt64 / sector)
	switch {
	case flags&^allFlags != 0:
		return Entry{}, 0, fmt.Errorf("unknown flags %#x", uint64(flags))
	case start > limit || count > limit-start:
		return Entry{}, 0, fmt.Errorf("%d sectors at %d are beyond any disk", count, start)
	case labelSize > uint64(sector-entrySize):
		return Entry{}, 0, fmt.Errorf("label of %d bytes in a sector of %d", labelSize, sector)
	}
	e := Entry{Offset: int64(start) * sector, Length: int64(count) * sector, Flags: flags}
	if labelSize > 0 {
		label := make([]byte, labelSize)
		if n, err := r.ReadAt(label, at+entrySize); n < len(label) {
			return Entry{}, 0, fmt.Errorf("read label: %w", err)
		}
		e.Label = string(label)
	}
	next := at + sector
	if e.Length == 0 || flags&Discard != 0 {
		return e, next, nil
	}
	if e.Length > math.MaxInt64-next-sector {
		return Entry{}, 0, fmt.Errorf("data of %d bytes at %d", e.Length, next)
	}
	if n, err := r.ReadAt(b[:1], next+e.Length-1); n < 1 {
		return Entry{}, 0, fmt.Errorf("data of %d bytes are cut short: %w", e.Length, err)
	}
	e.data = io.NewSectionReader(r, next, e.Length)
	return e, next + e.Length, nil
}

// Encode writes the log in the file format.
func (l *Log) Encode(w io.WriterAt) error {
	sector := int64(l.SectorSize)
	at := sector
	for i, e := range l.Entries {
		if (e.Offset|e.Length)&(sector-1) != 0 || int64(len(e.Label)) > sector-entrySize {
			return fmt.Errorf("write log entry %d: %d bytes at %d with a label of %d do not suit sectors of %d",
				i, e.Length, e.Offset, len(e.Label), sector)
		}
		b := make([]byte, sector)
		binary.LittleEndian.PutUint64(b, uint64(e.Offset/sector))
		binary.LittleEndian.PutUint64(b[8:], uint64(e.Length/sector))
		binary.LittleEndian.PutUint64(b[16:], uint64(e.Flags))
		binary.LittleEndian.PutUint64(b[24:], uint64(len(e.Label)))
		copy(b[entrySize:], e.Label)
		if _, err := w.WriteAt(b, at); err != nil {
			return fmt.Errorf("write log entry %d: %w", i, err)
		}
		at += sector
		if e.Length == 0 || e.Flags&Discard != 0 {
			continue
		}
		body := e
		body.Offset = at
		if err := body.apply(w, 0, e.Length); err != nil {
			return fmt.Errorf("write log entry %d: %w", i, err)
		}
		at += e.Length
	}
	b := make([]byte, sector)
	binary.LittleEndian.PutUint64(b, magic)
	binary.LittleEndian.PutUint64(b[8:], version)
	binary.LittleEndian.PutUint64(b[16:], uint64(len(l.Entries)))
	binary.LittleEndian.PutUint32(b[24:], uint32(sector))
	if _, err := w.WriteAt(b, 0); err != nil {
		return fmt.Errorf("write super block of log: %w", err)
	}
	return nil
}
