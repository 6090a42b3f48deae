package disk

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/victorinix/vic/disk/layout"
)

// WriteMBR writes an MBR with its chain of logical partitions and reads it
// back. Boot code stays; the headers of a GPT that was there are cleared
// afterwards. Equal tables give equal tables, though an extended boot record
// may lie elsewhere in the gap before its partition.
//
// A valid table is there at every moment if one was before: the records of the
// new chain are written beside those of the old one, from its end; what makes
// them count is one sector, the first record or the MBR.
func WriteMBR(ctx context.Context, d Device, t layout.Table) error {
	if err := writeMBR(ctx, d, t); err != nil {
		return fmt.Errorf("write MBR: %w", err)
	}
	return nil
}

func writeMBR(ctx context.Context, d Device, t layout.Table) error {
	m, err := newMBR(t, d)
	if err != nil {
		return err
	}
	old := oldChain(d)
	pieces := m.chain(t.SectorSize, old)
	head := m.head(t)
	// An extended partition that grows does so before anything is put there.
	if m.extended != nil && old.holds && m.extended.FirstLBA == old.first && m.extended.LastLBA > old.last && len(pieces) > 0 {
		last := len(pieces) - 1
		pieces = append(pieces[:last:last], head, pieces[last])
	} else {
		pieces = append(pieces, head)
	}
	for _, p := range append(pieces, clearGPT(d)...) {
		if err := writePiece(ctx, d, p); err != nil {
			return err
		}
	}
	return m.verify(d, t, pieces)
}

func writePiece(ctx context.Context, d Device, p piece) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if _, err := d.WriteAt(p.data, p.off); err != nil {
		return fmt.Errorf("%s: %w", p.what, err)
	}
	if err := d.Sync(); err != nil {
		return fmt.Errorf("flush %s: %w", p.what, err)
	}
	return nil
}

// mbr is a table by the place where its entries go.
type mbr struct {
	primary  [4]*layout.Entry
	extended *layout.Entry
	logical  []layout.Entry
}

// newMBR sorts a table's entries and refuses what an MBR cannot hold.
func newMBR(t layout.Table, d Device) (*mbr, error) {
	if t.Size != d.Size() || t.SectorSize != d.SectorSize() {
		return nil, fmt.Errorf("the table is for %d bytes in sectors of %d, the device has %d in sectors of %d",
			t.Size, t.SectorSize, d.Size(), d.SectorSize())
	}
	if binary.BigEndian.Uint32(t.GUID[:4]) == 0 {
		return nil, errors.New("the disk signature is zero")
	}
	m := &mbr{}
	for _, e := range t.Entries {
		if err := m.add(e, uint64(t.Size)/uint64(t.SectorSize)); err != nil {
			return nil, fmt.Errorf("partition %d: %w", e.Number, err)
		}
	}
	slices.SortFunc(m.logical, func(a, b layout.Entry) int { return cmp.Compare(a.Number, b.Number) })
	return m, m.check()
}

func (m *mbr) add(e layout.Entry, sectors uint64) error {
	switch {
	case e.MBR == nil || e.MBR.Type == 0:
		return errors.New("it has no type")
	case e.FirstLBA == 0 || e.FirstLBA > e.LastLBA || e.LastLBA >= sectors:
		return fmt.Errorf("sectors %d to %d are not within 1 to %d", e.FirstLBA, e.LastLBA, sectors-1)
	case e.FirstLBA > 0xffffffff || e.LastLBA-e.FirstLBA >= 0xffffffff:
		return fmt.Errorf("sectors %d to %d are beyond what an MBR can hold", e.FirstLBA, e.LastLBA)
	case e.Number > 4:
		m.logical = append(m.logical, e)
		return nil
	case e.Number < 1 || m.primary[e.Number-1] != nil:
		return errors.New("its number is taken, or is none")
	}
	m.primary[e.Number-1] = &e
	if e.MBR.Part == partExtended {
		if m.extended != nil || !isExtended(e.MBR.Type) {
			return fmt.Errorf("a second extended partition, or one of type %#02x", e.MBR.Type)
		}
		m.extended = &e
	}
	return nil
}

// check looks at how the partitions lie.
func (m *mbr) check() error {
	used := slices.DeleteFunc(slices.Clone(m.primary[:]), func(e *layout.Entry) bool { return e == nil })
	slices.SortFunc(used, func(a, b *layout.Entry) int { return cmp.Compare(a.FirstLBA, b.FirstLBA) })
	for i := 1; i < len(used); i++ {
		if used[i].FirstLBA <= used[i-1].LastLBA {
			return fmt.Errorf("partitions %d and %d overlap", used[i-1].Number, used[i].Number)
		}
	}
	if len(m.logical) > 0 && m.extended == nil {
		return errors.New("logical partitions without an extended one")
	}
	for i, e := range m.logical {
		free := m.before(i)
		switch {
		case e.Number != 5+i:
			return fmt.Errorf("partition %d: the numbers of logical partitions have a gap before it", e.Number)
		case e.FirstLBA <= free:
			return fmt.Errorf("partition %d: no sector is free for its boot record, or it is out of order", e.Number)
		case e.LastLBA > m.extended.LastLBA:
			return fmt.Errorf("partition %d: it is not within the extended one", e.Number)
		}
	}
	return nil
}

// before is the first sector that may hold the EBR of logical partition i.
func (m *mbr) before(i int) uint64 {
	if i == 0 {
		return m.extended.FirstLBA
	}
	return m.logical[i-1].LastLBA + 1
}

// chainBefore is a chain that is on the disk.
type chainBefore struct {
	holds       bool // there is an extended partition
	first, last uint64
	records     []uint64
}

// oldChain reads what it can of the chain on the disk.
func oldChain(d Device) (c chainBefore) {
	r, ok, err := readRecord(d, 0)
	if err != nil || !ok || !r.isTable() {
		return c
	}
	for _, e := range r.entries {
		if !e.empty() && e.extended() && !c.holds {
			c.holds, c.first, c.last = true, uint64(e.first), uint64(e.first)+uint64(e.count)-1
		}
	}
	if c.holds {
		// An error ends the walk: what comes after it counts for nobody.
		_ = walkChain(d, c.first, func(at uint64, _ record) error {
			c.records = append(c.records, at)
			return nil
		})
	}
	return c
}

// chain makes the EBRs, the last one first.
func (m *mbr) chain(sectorSize int, old chainBefore) []piece {
	if m.extended == nil {
		return nil
	}
	at := make([]uint64, max(len(m.logical), 1))
	at[0] = m.extended.FirstLBA
	for i := 1; i < len(m.logical); i++ {
		at[i] = m.place(i, append(at[:i:i], old.records...))
	}
	var pieces []piece
	for i := len(at) - 1; i >= 0; i-- {
		b := make([]byte, mbrSize)
		if i < len(m.logical) {
			putEntry(b, 0, m.logical[i], at[i])
		}
		if i+1 < len(m.logical) {
			next := m.logical[i+1]
			next.FirstLBA, next.MBR = at[i+1], &layout.MBREntry{Type: 0x05}
			putEntry(b, 1, next, m.extended.FirstLBA)
		}
		copy(b[mbrMagic:], "\x55\xaa")
		pieces = append(pieces, piece{fmt.Sprintf("extended boot record of partition %d", 5+i), int64(at[i]) * int64(sectorSize), b})
	}
	return pieces
}

// place chooses the sector for the EBR of logical partition i: the first one
// of the gap before it, or of the gaps before that, that is in no record of the
// old chain or of the new. Where there is none, the record is replaced: as
// chains go upwards, old ones before it and new ones after it are a valid chain
// too, as long as the extended partition, which all count from, starts where it
// did.
func (m *mbr) place(i int, taken []uint64) uint64 {
	for gap := i; gap >= 0; gap-- {
		for at := m.before(gap); at < m.logical[gap].FirstLBA; at++ {
			if at != m.extended.FirstLBA && !slices.Contains(taken, at) {
				return at
			}
		}
	}
	return m.before(i)
}

// head is the MBR from the signature on: the boot code stays.
func (m *mbr) head(t layout.Table) piece {
	b := make([]byte, mbrSize)
	binary.LittleEndian.PutUint32(b[mbrSignature:], binary.BigEndian.Uint32(t.GUID[:4]))
	for i, e := range m.primary {
		if e != nil {
			putEntry(b, i, *e, 0)
		}
	}
	copy(b[mbrMagic:], "\x55\xaa")
	return piece{"MBR", mbrSignature, b[mbrSignature:]}
}

// putEntry writes entry i of a boot record; base is the sector it counts from.
func putEntry(b []byte, i int, e layout.Entry, base uint64) {
	p := b[mbrEntries+16*i:]
	if e.MBR.Bootable {
		p[0] = 0x80
	}
	copy(p[1:], chs(e.FirstLBA))
	p[4] = e.MBR.Type
	copy(p[5:], chs(e.LastLBA))
	binary.LittleEndian.PutUint32(p[8:], uint32(e.FirstLBA-base))
	binary.LittleEndian.PutUint32(p[12:], uint32(e.LastLBA-e.FirstLBA+1))
}

// chs is a sector in the geometry that BIOSes invent, 255 heads of 63 sectors,
// or the highest there is.
func chs(lba uint64) []byte {
	const heads, sectors = 255, 63
	c, h, s := lba/(heads*sectors), lba/sectors%heads, lba%sectors+1
	if c > 1023 {
		return []byte{254, 0xff, 0xff}
	}
	return []byte{byte(h), byte(s) | byte(c>>2)&0xc0, byte(c)}
}

// clearGPT removes the headers of a GPT, which would count again if the MBR
// were lost.
func clearGPT(d Device) []piece {
	var list []piece
	size := int64(d.SectorSize())
	for _, lba := range []int64{1, d.Size()/size - 1} {
		if _, ok := readHeader(d, int(size), lba); ok {
			list = append(list, piece{"header of the old GPT", lba * size, make([]byte, headerSize)})
		}
	}
	return list
}

func (m *mbr) verify(d Device, t layout.Table, pieces []piece) error {
	if err := readBack(d, pieces); err != nil {
		return err
	}
	got, err := readMBR(d)
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if len(got.Entries) != len(t.Entries) {
		return fmt.Errorf("read back: %d partitions instead of %d", len(got.Entries), len(t.Entries))
	}
	return nil
}
