package probe

import (
	"slices"

	"github.com/victorinix/vic/disk/layout"
)

// The parts of an MBR that a partition can be.
const (
	partPrimary  = "primary"
	partExtended = "extended"
	partLogical  = "logical"
)

const mbrProtective = 0xee

// mostLogical bounds the chain of logical partitions; the kernel follows a
// hundred.
const mostLogical = 128

// mbr is a boot record: the first sector, or that of a logical partition.
type mbr struct {
	signature bytesOf // four bytes, which name the disk
	entries   [4]mbrEntry
	flags     [4]byte
}

type mbrEntry struct {
	typ            byte
	bootable       bool
	first, sectors uint32
}

func (e mbrEntry) extended() bool { return e.typ == 0x05 || e.typ == 0x0f || e.typ == 0x85 }

func (s *source) mbr() *mbr { return s.mbrAt(0) }

func (s *source) mbrAt(at int64) *mbr {
	b := s.read(at, 512)
	if !b.has(510, "\x55\xaa") {
		return nil
	}
	m := &mbr{signature: b[440:444]}
	for i := range m.entries {
		e := b[446+16*i:]
		m.flags[i] = e[0]
		m.entries[i] = mbrEntry{typ: e[4], bootable: e[0] == 0x80, first: e.le32(8), sectors: e.le32(12)}
	}
	return m
}

// protective says whether the MBR protects a GPT.
func (m *mbr) protective() bool {
	return slices.ContainsFunc(m.entries[:], func(e mbrEntry) bool { return e.typ == mbrProtective })
}

// anything says whether there is a partition in it.
func (m *mbr) anything() bool {
	return slices.ContainsFunc(m.entries[:], func(e mbrEntry) bool { return e.typ != 0 && e.sectors > 0 })
}

// named says whether it is a table at all: boot code alone ends in the same
// two bytes, and has neither partitions nor a signature.
func (m *mbr) named() bool { return m.anything() || string(m.signature) != "\x00\x00\x00\x00" }

// plausible tells a table from boot code at its place: the flags have two
// values.
func (m *mbr) plausible() bool {
	for _, f := range m.flags {
		if f != 0 && f != 0x80 {
			return false
		}
	}
	return true
}

// mbrTable numbers partitions as the kernel does: logical ones from 5, in the
// order of their chain.
func (s *source) mbrTable(m mbr, sectorSize int) *Table {
	t := s.emptyTable(layout.KindMBR, sectorSize)
	copy(t.GUID[:], m.signature)
	slices.Reverse(t.GUID[:4]) // so that it reads as the number that tools print
	next := 5
	for i, e := range m.entries {
		if e.typ == 0 || e.sectors == 0 {
			continue
		}
		part := partPrimary
		if e.extended() {
			part = partExtended
		}
		t.add(e.entry(i+1, 0, part))
		if e.extended() {
			next = s.logical(t, int64(e.first), next)
		}
	}
	slices.SortStableFunc(t.Entries, func(a, b layout.Entry) int { return a.Number - b.Number })
	t.overlaps()
	return t
}

// logical walks the chain of an extended partition: each record has a
// partition, whose place is from the record itself, and the next record, whose
// place is from the start of the extended partition.
func (s *source) logical(t *Table, base int64, number int) int {
	at := base
	for range mostLogical {
		m := s.mbrAt(at * int64(t.SectorSize))
		if m == nil {
			if at == base && s.blank(at*int64(t.SectorSize)) {
				return number // an extended partition without any
			}
			t.lost("the chain of logical partitions is broken at sector %d", at)
			return number
		}
		next := int64(0)
		for _, e := range m.entries {
			switch {
			case e.typ == 0 || e.sectors == 0:
			case e.extended():
				if next == 0 {
					next = base + int64(e.first)
				}
			default:
				t.add(e.entry(number, at, partLogical))
				number++
			}
		}
		if next == 0 {
			return number
		}
		at = next
	}
	t.lost("the chain of logical partitions has no end")
	return number
}

func (s *source) blank(at int64) bool {
	b := s.read(at, 512)
	return b != nil && !slices.ContainsFunc(b, func(c byte) bool { return c != 0 })
}

func (e mbrEntry) entry(number int, from int64, part string) layout.Entry {
	first := uint64(from) + uint64(e.first)
	return layout.Entry{
		Number: number, FirstLBA: first, LastLBA: first + uint64(e.sectors) - 1,
		MBR: &layout.MBREntry{Type: e.typ, Bootable: e.bootable, Part: part},
	}
}
