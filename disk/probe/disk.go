package probe

import (
	"errors"
	"fmt"
	"io"

	"github.com/victorinix/vic/disk/layout"
)

// Disk is everything that the bytes of a disk say.
type Disk struct {
	Table *Table // nil when there is none
	// Content is that of the disk as a whole. With a table, what lies within a
	// partition belongs to that alone: the superblock at the end of the last
	// partition is at the end of the disk, too.
	Content    []Result
	Partitions []Partition // in the order of the table's entries
}

// Partition is what is in one.
type Partition struct {
	Number  int
	Content []Result
}

// Open gives the bytes of a partition; nil has them read from the disk itself.
// The kernel caches a partition's device apart from the disk's.
type Open func(e layout.Entry) io.ReaderAt

// ReadDisk reads the table and probes the disk and every partition. open may be
// nil. An error says what could not be read; everything else is in the result.
func ReadDisk(r io.ReaderAt, size int64, sectorSize int, open Open) (Disk, error) {
	var d Disk
	var errs []error
	var err error
	if d.Table, err = ReadTable(r, size, sectorSize); err != nil {
		errs = append(errs, err)
	}
	whole, err := Probe(r, size)
	if err != nil {
		errs = append(errs, err)
	}
	for _, found := range whole {
		if !d.Table.covers(found.Offset) {
			d.Content = append(d.Content, found)
		}
	}
	if d.Table == nil {
		return d, errors.Join(errs...)
	}
	s := &source{r: r, size: size}
	for _, e := range d.Table.Entries {
		p := Partition{Number: e.Number}
		if !d.Table.overlapping[e.Number] && (e.MBR == nil || e.MBR.Part != partExtended) {
			part := s.part(int64(e.FirstLBA)*int64(sectorSize), e.Size(sectorSize))
			if open != nil {
				if own := open(e); own != nil {
					part.r = own
				}
			}
			if p.Content, err = Probe(part.r, part.size); err != nil {
				errs = append(errs, fmt.Errorf("partition %d: %w", e.Number, err))
			}
		}
		d.Partitions = append(d.Partitions, p)
	}
	return d, errors.Join(errs...)
}

// covers says whether a byte is within a partition.
func (t *Table) covers(at int64) bool {
	if t == nil {
		return false
	}
	for _, e := range t.Entries {
		first := int64(e.FirstLBA) * int64(t.SectorSize)
		if at >= first && at-first < e.Size(t.SectorSize) {
			return true
		}
	}
	return false
}
