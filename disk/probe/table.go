package probe

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/victorinix/vic/disk/layout"
)

// Table is a partition table as the kernel reads it. Its entries have no
// content.
type Table struct {
	layout.Table
	// Damage says all that is wrong with it, for people: a copy that is not
	// valid, an old GPT beneath an MBR, and what Table.Lost says. Empty when all
	// is well. With an empty Lost the entries are all there, and writing them
	// again repairs it.
	Damage []string
	// overlapping are the numbers of partitions that share sectors. They are
	// not probed: which of them the bytes belong to, nobody can say.
	overlapping map[int]bool
}

// ReadTable reads the partition table of a device with sectors of sectorSize
// bytes; nil when it has none. A GPT counts as the kernel and sgdisk count it:
// one valid copy is enough, but an MBR with partitions and without the
// protective entry makes the disk an MBR disk.
func ReadTable(r io.ReaderAt, size int64, sectorSize int) (*Table, error) {
	s := &source{r: r, size: size}
	t := s.table(sectorSize)
	if s.err != nil {
		return t, fmt.Errorf("read partition table: %w", s.err)
	}
	return t, nil
}

// SectorSize finds the sector size for which an image has a GPT; 512 when it
// has none.
func SectorSize(r io.ReaderAt, size int64) int {
	s := &source{r: r, size: size}
	for _, sector := range []int{512, 4096} {
		if g := s.gpt(sector); g.primary != nil || g.backup != nil {
			return sector
		}
	}
	return 512
}

func (s *source) table(sectorSize int) *Table {
	if !powerOfTwo(uint64(sectorSize), 512, 64<<10) || s.size < 2*int64(sectorSize) {
		return nil
	}
	m, g := s.mbr(), s.gpt(sectorSize)
	protective := m != nil && m.protective()
	isMBR := m != nil && !protective && m.plausible() && m.named() && !s.bootSector()
	valid := g.primary != nil || g.backup != nil
	switch {
	case valid && (!isMBR || !m.anything()):
		t := s.gptTable(g, sectorSize)
		t.hybrid(m)
		if !protective {
			t.damaged("there is no protective MBR: the kernel does not see the GPT")
		}
		return t
	case isMBR:
		t := s.mbrTable(*m, sectorSize)
		if valid {
			t.damaged("an old GPT is still there, which the kernel does not see")
		}
		return t
	case protective || g.magic:
		t := s.emptyTable(layout.KindGPT, sectorSize)
		t.lost("neither copy of the GPT is valid")
		return t
	}
	return nil
}

// bootSector says whether the first sector is of a file system, which looks
// like an MBR: it ends in the same two bytes.
func (s *source) bootSector() bool {
	for _, probe := range []func(*source) *Result{vfat, exfat, ntfs, bitLocker} {
		if probe(s) != nil {
			return true
		}
	}
	return false
}

func (s *source) emptyTable(kind string, sectorSize int) *Table {
	return &Table{overlapping: map[int]bool{}, Table: layout.Table{Kind: kind, SectorSize: sectorSize, Size: s.size, Entries: []layout.Entry{}}}
}

func (t *Table) damaged(format string, args ...any) {
	t.Damage = append(t.Damage, fmt.Sprintf(format, args...))
}

// lost is damage by which partitions may be missing from the entries.
func (t *Table) lost(format string, args ...any) {
	t.damaged(format, args...)
	if t.Lost == "" {
		t.Lost = t.Damage[len(t.Damage)-1]
	}
}

// add takes an entry that is on the disk, and tells of one that is not.
func (t *Table) add(e layout.Entry) {
	if sectors := uint64(t.Size) / uint64(t.SectorSize); e.FirstLBA > e.LastLBA || e.LastLBA >= sectors {
		t.lost("partition %d: sectors %d to %d are not on the disk, which has %d", e.Number, e.FirstLBA, e.LastLBA, sectors)
		return
	}
	t.Entries = append(t.Entries, e)
}

// overlaps notes partitions that share sectors. An extended partition contains
// its logical ones.
func (t *Table) overlaps() {
	var list []layout.Entry
	for _, e := range t.Entries {
		if e.MBR == nil || e.MBR.Part != partExtended {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b layout.Entry) int { return cmp.Compare(a.FirstLBA, b.FirstLBA) })
	for i := 1; i < len(list); i++ {
		if a, b := list[i-1], list[i]; b.FirstLBA <= a.LastLBA {
			t.damaged("partitions %d and %d overlap", a.Number, b.Number)
			t.overlapping[a.Number], t.overlapping[b.Number] = true, true
		}
	}
}
