package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/victorinix/vic/disk/layout"
)

// ErrNoMBR is wrapped by ReadMBR's error when a device has no MBR of its own: a
// blank one, one with a file system, or one with a GPT.
var ErrNoMBR = errors.New("no MBR")

// An MBR, and each extended boot record (EBR):
//
//	0    boot code
//	440  disk signature, little endian (MBR only)
//	444  two bytes, 0
//	446  four entries of 16 bytes
//	510  55 aa
//
// An entry: flag (0x80: bootable), CHS of the first sector, type, CHS of the
// last sector, first sector, number of sectors; both little endian, in sectors
// of the device. The two entries of an EBR are a logical partition, counted
// from the EBR, and the next EBR, counted from the extended partition.
const (
	mbrSignature = 440
	mbrEntries   = 446
	mbrMagic     = 510
	mbrSize      = 512
	maxLogical   = 256 // more than any system takes
)

// mbrEntry is one of the four.
type mbrEntry struct {
	flag, typ    byte
	first, count uint32
}

func (e mbrEntry) empty() bool    { return e.typ == 0 || e.count == 0 }
func (e mbrEntry) extended() bool { return isExtended(e.typ) }

// isExtended: CHS, LBA, and Linux's own.
func isExtended(typ byte) bool { return typ == 0x05 || typ == 0x0f || typ == 0x85 }

const typeProtective = 0xee

// record is a boot record.
type record struct {
	signature uint32
	entries   [4]mbrEntry
}

// readRecord reads the boot record of a sector; ok is false without its magic.
func readRecord(d Device, lba uint64) (r record, ok bool, err error) {
	b := make([]byte, mbrSize)
	if _, err := d.ReadAt(b, int64(lba)*int64(d.SectorSize())); err != nil {
		return r, false, fmt.Errorf("read sector %d: %w", lba, err)
	}
	r.signature = binary.LittleEndian.Uint32(b[mbrSignature:])
	for i := range r.entries {
		e := b[mbrEntries+16*i:]
		r.entries[i] = mbrEntry{e[0], e[4], binary.LittleEndian.Uint32(e[8:]), binary.LittleEndian.Uint32(e[12:])}
	}
	return r, b[mbrMagic] == 0x55 && b[mbrMagic+1] == 0xaa && !bootsFilesystem(b), nil
}

// bootsFilesystem says whether a sector is a FAT's or NTFS's, whose magic is
// the same.
func bootsFilesystem(b []byte) bool {
	at := func(off int, s string) bool { return string(b[off:off+len(s)]) == s }
	return at(3, "NTFS    ") || at(3, "EXFAT   ") || at(0x36, "FAT12   ") || at(0x36, "FAT16   ") || at(0x52, "FAT32   ")
}

// ReadMBR reads the table of an MBR with its logical partitions, which have
// numbers from 5 on in the order of their chain. The extended partition is an
// entry too.
func ReadMBR(d Device) (layout.Table, error) {
	t, err := readMBR(d)
	if err != nil {
		return layout.Table{}, fmt.Errorf("read MBR: %w", err)
	}
	return t, nil
}

func readMBR(d Device) (layout.Table, error) {
	t := layout.Table{Kind: layout.KindMBR, SectorSize: d.SectorSize(), Size: d.Size()}
	if d.Size() < int64(d.SectorSize()) {
		return t, ErrNoMBR
	}
	r, ok, err := readRecord(d, 0)
	if err != nil {
		return t, err
	}
	if !ok || !r.isTable() {
		return t, ErrNoMBR
	}
	binary.BigEndian.PutUint32(t.GUID[:4], r.signature)
	for i, e := range r.entries {
		if e.empty() {
			continue
		}
		entry, err := toEntry(d, e, 0, i+1)
		if err != nil {
			return t, err
		}
		t.Entries = append(t.Entries, entry)
	}
	i := slices.IndexFunc(t.Entries, func(e layout.Entry) bool { return e.MBR.Part == partExtended })
	if i < 0 {
		return t, nil
	}
	logical, err := readLogical(d, t.Entries[i].FirstLBA)
	t.Entries = append(t.Entries, logical...)
	return t, err
}

// isTable says whether the entries can be a table's: other boot sectors have
// code there. An empty one has a signature.
func (r record) isTable() bool {
	used := false
	for _, e := range r.entries {
		if e.flag != 0 && e.flag != 0x80 || e.typ == typeProtective {
			return false
		}
		used = used || !e.empty()
	}
	return used || r.signature != 0
}

const partExtended, partLogical, partPrimary = "extended", "logical", "primary"

// toEntry makes a layout entry; base is the sector that the entry counts from.
func toEntry(d Device, e mbrEntry, base uint64, number int) (layout.Entry, error) {
	first := base + uint64(e.first)
	last := first + uint64(e.count) - 1
	if first == 0 || last >= uint64(d.Size())/uint64(d.SectorSize()) {
		return layout.Entry{}, fmt.Errorf("partition %d: sectors %d to %d are not on the disk", number, first, last)
	}
	part := partPrimary
	switch {
	case number > 4:
		part = partLogical
	case e.extended():
		part = partExtended
	}
	return layout.Entry{
		Number: number, FirstLBA: first, LastLBA: last,
		MBR: &layout.MBREntry{Type: e.typ, Bootable: e.flag == 0x80, Part: part},
	}, nil
}

// readLogical follows the chain of EBRs. An extended partition may not have
// any yet.
func readLogical(d Device, extended uint64) ([]layout.Entry, error) {
	var list []layout.Entry
	err := walkChain(d, extended, func(at uint64, r record) error {
		e := r.logical()
		if e.empty() {
			return nil
		}
		entry, err := toEntry(d, e, at, 5+len(list))
		list = append(list, entry)
		return err
	})
	return list, err
}

// walkChain calls f with each EBR.
func walkChain(d Device, extended uint64, f func(at uint64, r record) error) error {
	sectors := uint64(d.Size()) / uint64(d.SectorSize())
	seen := map[uint64]bool{}
	for at := extended; ; {
		if seen[at] || len(seen) == maxLogical {
			return fmt.Errorf("the chain of extended boot records comes back to sector %d", at)
		}
		seen[at] = true
		if at >= sectors {
			return fmt.Errorf("the extended boot record at sector %d is not on the disk", at)
		}
		r, ok, err := readRecord(d, at)
		if err != nil {
			return err
		}
		if !ok && at == extended {
			return nil
		}
		if !ok {
			return fmt.Errorf("sector %d is no extended boot record", at)
		}
		if err := f(at, r); err != nil {
			return err
		}
		next, more := r.next()
		if !more {
			return nil
		}
		at = extended + uint64(next)
	}
}

// logical is the partition of an EBR.
func (r record) logical() mbrEntry {
	for _, e := range r.entries {
		if !e.empty() && !e.extended() {
			return e
		}
	}
	return mbrEntry{}
}

// next is where the next EBR is, from the start of the extended partition.
func (r record) next() (uint32, bool) {
	for _, e := range r.entries {
		if !e.empty() && e.extended() {
			return e.first, true
		}
	}
	return 0, false
}
