package disk

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk/layout"
)

// Range is a part of a device, in bytes.
type Range struct{ Offset, Size int64 }

// Ranges are the parts of a device that a table's partitions take.
func Ranges(t layout.Table) []Range {
	var list []Range
	for _, e := range t.Entries {
		list = append(list, Range{int64(e.FirstLBA) * int64(t.SectorSize), e.Size(t.SectorSize)})
	}
	return list
}

// margin is how much is cleared at both ends of a range. Nearly all formats
// keep their magic bytes there; the others are looked up one by one.
const margin = 1 << 20

// Wipe makes a disk forget what was on it: signatures of file systems, RAID,
// LVM, LUKS, swap and the like, in every partition of the tables it has now
// (GPT in either sector size, both copies, and MBR with logical partitions),
// in the ranges, and at both ends of the disk, with the tables themselves. The
// rest of the data stays.
//
// The tables go last, so that a run that was interrupted finds the old
// partitions again.
func Wipe(ctx context.Context, d Device, ranges []Range) error {
	inner := append(oldRanges(d), ranges...)
	inner = slices.DeleteFunc(inner, func(r Range) bool {
		return r.Offset < 0 || r.Size <= 0 || r.Offset > d.Size()-r.Size
	})
	inner = slices.Compact(sorted(inner))
	whole := Range{0, d.Size()}
	for _, list := range [][]Range{inner, {whole}} {
		for _, r := range list {
			if err := wipeRange(ctx, d, r); err != nil {
				return fmt.Errorf("wipe bytes %d to %d: %w", r.Offset, r.Offset+r.Size, err)
			}
		}
		if err := d.Sync(); err != nil {
			return fmt.Errorf("wipe: %w", err)
		}
	}
	if c, ok := d.(interface{ dropCache() error }); ok {
		if err := c.dropCache(); err != nil {
			return err
		}
	}
	return verifyWiped(d, append(inner, whole))
}

func sorted(list []Range) []Range {
	slices.SortFunc(list, func(a, b Range) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Size, b.Size))
	})
	return list
}

// wipeRange clears both ends of a range and the signatures farther in.
func wipeRange(ctx context.Context, d Device, r Range) error {
	found, err := Signatures(d, r.Offset, r.Size)
	if err != nil {
		return err
	}
	for _, s := range found {
		// All of the block, so that a checksum goes with it.
		at := s.Offset - (s.Offset-r.Offset)%4096
		if err := zero(ctx, d, at, min(4096, r.Offset+r.Size-at)); err != nil {
			return err
		}
	}
	n := min(margin, r.Size)
	if err := zero(ctx, d, r.Offset+r.Size-n, n); err != nil {
		return err
	}
	return zero(ctx, d, r.Offset, n)
}

func zero(ctx context.Context, d Device, off, size int64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_, err := d.WriteAt(make([]byte, size), off)
	return err
}

// verifyWiped reports what is still there.
func verifyWiped(d Device, ranges []Range) error {
	var left []string
	for _, r := range ranges {
		found, err := Signatures(d, r.Offset, r.Size)
		if err != nil {
			return err
		}
		for _, s := range found {
			left = append(left, fmt.Sprintf("%s at byte %d", s.Type, s.Offset))
		}
	}
	if left != nil {
		return errors.New("wipe: the disk still holds " + strings.Join(left, ", "))
	}
	return nil
}

// oldRanges are the partitions of every table that is on the disk now.
func oldRanges(d Device) []Range {
	var list []Range
	for _, sectorSize := range []int64{512, 4096} {
		last := d.Size()/sectorSize - 1
		for _, lba := range []int64{1, last} {
			h, ok := readHeader(d, int(sectorSize), lba)
			if !ok {
				continue
			}
			list = append(list, entryRanges(d, sectorSize, h)...)
			if lba == 1 && h.alternate != last { // of a disk that has grown since
				list = append(list, Range{h.alternate * sectorSize, sectorSize})
			}
		}
	}
	return append(list, dosRanges(d, int64(d.SectorSize()))...)
}

// entryRanges reads entries also when their checksum is wrong: what they say
// is cleared, not trusted.
func entryRanges(d Device, sectorSize int64, h header) []Range {
	b := make([]byte, h.count*entrySize)
	if _, err := d.ReadAt(b, h.entries*sectorSize); err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	var list []Range
	for ; len(b) > 0; b = b[entrySize:] {
		first, last := binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:])
		if first == 0 || last < first || last >= uint64(d.Size()/sectorSize) {
			continue
		}
		list = append(list, Range{int64(first) * sectorSize, int64(last-first+1) * sectorSize})
	}
	return list
}

// dosRanges follows an MBR and its chain of extended boot records.
func dosRanges(d Device, sectorSize int64) []Range {
	var list []Range
	var extended int64 // LBA of the first EBR; the others count from it
	read := func(lba int64) (next int64) {
		b := make([]byte, 512)
		if _, err := d.ReadAt(b, lba*sectorSize); err != nil || b[510] != 0x55 || b[511] != 0xaa {
			return 0
		}
		for e := b[446:510]; len(e) > 0; e = e[16:] {
			first, n := int64(binary.LittleEndian.Uint32(e[8:])), int64(binary.LittleEndian.Uint32(e[12:]))
			switch typ := e[4]; {
			case typ == 0 || typ == 0xee || n == 0:
			case typ == 0x05 || typ == 0x0f || typ == 0x85:
				next = extended + first
			default:
				list = append(list, Range{(lba + first) * sectorSize, n * sectorSize})
			}
		}
		if next > 0 {
			list = append(list, Range{next * sectorSize, 512}) // the record itself
		}
		return next
	}
	next := read(0)
	extended = next
	for i := 0; next > 0 && i < 128; i++ {
		next = read(next)
	}
	return list
}
