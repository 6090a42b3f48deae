package disk

import (
	"errors"
	"fmt"

	"github.com/victorinix/vic/disk/layout"
)

// hybridMBR is the MBR of a GPT, without the boot code before it, which stays:
// one protective entry (UEFI 2.10 table 5-4), and beside it the partitions
// that have a part in the MBR, at most three, as gdisk makes them. Then the
// protective entry ends before the first of those, so that nothing overlaps.
func hybridMBR(t layout.Table, protectiveLast bool) (piece, error) {
	sectors := uint64(t.Size) / uint64(t.SectorSize)
	protective := layout.Entry{FirstLBA: 1, LastLBA: min(sectors-1, 0xffffffff), MBR: &layout.MBREntry{Type: typeProtective}}
	var list []layout.Entry
	for _, e := range t.Entries {
		if e.MBR == nil {
			continue
		}
		if e.MBR.Type == 0 || e.LastLBA > 0xffffffff {
			return piece{}, fmt.Errorf("partition %d: it has no type for the hybrid MBR, or is beyond what that can hold", e.Number)
		}
		protective.LastLBA = min(protective.LastLBA, e.FirstLBA-1)
		list = append(list, e)
	}
	if len(list) > 3 {
		return piece{}, errors.New("a hybrid MBR has room for three partitions")
	}
	if protectiveLast {
		list = append(list, protective)
	} else {
		list = append([]layout.Entry{protective}, list...)
	}
	b := make([]byte, mbrSize)
	for i, e := range list {
		putEntry(b, i, e, 0)
	}
	if len(list) == 1 { // as the specification has it, whatever the size
		copy(b[mbrEntries+5:], "\xff\xff\xff")
	}
	copy(b[mbrMagic:], "\x55\xaa")
	return piece{off: mbrEntries, data: b[mbrEntries:]}, nil
}

// readHybrid notes in the entries of a GPT which of them the MBR has too.
func readHybrid(d Device, t *layout.Table) error {
	r, ok, err := readRecord(d, 0)
	if err != nil {
		return fmt.Errorf("read GPT: %w", err)
	}
	if !ok {
		return nil
	}
	for _, m := range r.entries {
		for i, e := range t.Entries {
			if !m.empty() && m.typ != typeProtective && uint64(m.first) == e.FirstLBA && uint64(m.count) == e.LastLBA-e.FirstLBA+1 {
				t.Entries[i].MBR = &layout.MBREntry{Type: m.typ, Bootable: m.flag == 0x80}
			}
		}
	}
	return nil
}
