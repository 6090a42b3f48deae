package probe

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
)

// mostEntries bounds the array of a GPT, in bytes: 1024 entries. The usual one
// has 128.
const mostEntries = 128 << 10

// gptCopies are the valid copies of a GPT; magic says that there is at least
// the beginning of one.
type gptCopies struct {
	primary, backup *gptCopy
	magic           bool
}

// gptCopy is a header whose checksums are right (UEFI 2.10 table 5-5), and its
// array of entries.
type gptCopy struct {
	header    bytesOf
	entries   bytesOf
	entrySize int
}

func (s *source) gpt(sectorSize int) gptCopies {
	last := s.size/int64(sectorSize) - 1
	g := gptCopies{}
	for _, c := range []struct {
		lba int64
		to  **gptCopy
	}{{1, &g.primary}, {last, &g.backup}} {
		h := s.read(c.lba*int64(sectorSize), sectorSize)
		if h.has(0, "EFI PART") && c.lba >= 1 {
			g.magic = true
			*c.to = s.gptCopy(h, c.lba, int64(sectorSize))
		}
	}
	return g
}

func (s *source) gptCopy(h bytesOf, lba, sectorSize int64) *gptCopy {
	n := h.le32(12)
	if n < 92 || int64(n) > sectorSize || crc32.ChecksumIEEE(h.without(16, 4)[:n]) != h.le32(16) || h.le64(24) != uint64(lba) {
		return nil
	}
	size, count, at := h.le32(84), h.le32(80), h.le64(72)
	if !powerOfTwo(uint64(size), 128, 4096) || uint64(size)*uint64(count) > mostEntries || at > uint64(s.size/sectorSize) {
		return nil
	}
	entries := s.read(int64(at)*sectorSize, int(size*count))
	if entries == nil || crc32.ChecksumIEEE(entries) != h.le32(88) {
		return nil
	}
	return &gptCopy{header: h, entries: entries, entrySize: int(size)}
}

// gptTable takes the first copy, or the backup when that is not valid.
func (s *source) gptTable(g gptCopies, sectorSize int) *Table {
	t := s.emptyTable(layout.KindGPT, sectorSize)
	from := g.primary
	switch {
	case g.primary == nil:
		from = g.backup
		t.damaged("the first copy of the GPT is not valid; the backup is")
	case g.backup == nil:
		t.damaged("the backup of the GPT is not valid or not at the end of the disk")
	case !slices.Equal(g.primary.entries, g.backup.entries) || g.primary.guid() != g.backup.guid():
		t.damaged("the backup of the GPT differs from the first copy")
	}
	t.GUID = from.guid()
	for i := 0; (i+1)*from.entrySize <= len(from.entries); i++ {
		e := from.entries[i*from.entrySize:]
		if kind := mixedGUID(e); kind != uuid.Nil {
			label := e.utf16(56, 36, binary.LittleEndian)
			t.add(layout.Entry{
				Number: i + 1, Name: label, Label: label, Type: kind, GUID: mixedGUID(e[16:]),
				FirstLBA: e.le64(32), LastLBA: e.le64(40), Attributes: e.le64(48),
			})
		}
	}
	t.overlaps()
	return t
}

func (c *gptCopy) guid() uuid.UUID { return mixedGUID(c.header[56:]) }

// mixedGUID reads a GUID, whose first three fields are little endian on disk.
func mixedGUID(b bytesOf) (g uuid.UUID) {
	copy(g[:], b[:16])
	slices.Reverse(g[0:4])
	slices.Reverse(g[4:6])
	slices.Reverse(g[6:8])
	return g
}

// hybrid notes which partitions are in the MBR as well.
func (t *Table) hybrid(m *mbr) {
	if m == nil {
		return
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		for _, p := range m.entries {
			if p.typ != mbrProtective && p.sectors > 0 && uint64(p.first) == e.FirstLBA {
				e.MBR = &layout.MBREntry{Type: p.typ, Bootable: p.bootable}
			}
		}
	}
}
