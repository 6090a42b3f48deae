package appliance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
)

// alignment is where slot B begins: cards erase blocks of up to 4 MiB.
const alignment = 4 << 20

// maxSectors is what an MBR can tell of.
const maxSectors = 1<<32 - 1

// fill gives slot B its place at the end of a card, and the state all between. It
// changes one sector, and that only when the card is started for the first time.
func fill(ctx context.Context, path string) error {
	t, err := extend(ctx, path)
	if err != nil || t == nil {
		return err
	}
	return disk.Reread(ctx, path, *t)
}

// extend writes the new table; nil: it stays as it was.
func extend(ctx context.Context, path string) (_ *layout.Table, err error) {
	f, err := disk.Open(path, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	old, err := disk.ReadMBR(f)
	if err != nil {
		return nil, err
	}
	t, err := filled(old)
	if err != nil || slices.EqualFunc(t.Entries, old.Entries, samePlace) {
		return nil, err
	}
	return &t, disk.WriteMBR(ctx, f, t)
}

func samePlace(a, b layout.Entry) bool {
	return a.Number == b.Number && a.FirstLBA == b.FirstLBA && a.LastLBA == b.LastLBA
}

// filled is the table of a card that is filled. On one too small for a slot B the
// state has all the rest.
func filled(t layout.Table) (layout.Table, error) {
	by := map[int]layout.Entry{}
	for _, e := range t.Entries {
		by[e.Number] = e
	}
	a, b, s := by[slotA], by[slotB], by[state]
	if a.MBR == nil || s.MBR == nil || a.MBR.Type == 0 || s.MBR.Type != 0x83 || s.FirstLBA <= a.LastLBA || len(t.Entries) > state {
		return t, fmt.Errorf("its table with %d partitions is none of an appliance", len(t.Entries))
	}
	end := min(uint64(t.Size)/uint64(t.SectorSize), maxSectors) // of the state
	if b.MBR == nil {
		size := a.LastLBA - a.FirstLBA + 1
		align := alignment / uint64(t.SectorSize)
		if start := (end - min(size, end)) / align * align; start > s.LastLBA {
			b = layout.Entry{Number: slotB, FirstLBA: start, LastLBA: start + size - 1, MBR: &layout.MBREntry{Type: a.MBR.Type, Part: a.MBR.Part}}
		}
	}
	if b.MBR != nil {
		end = b.FirstLBA
	}
	s.LastLBA = max(s.LastLBA, end-1) // it never shrinks
	t.Entries = slices.DeleteFunc([]layout.Entry{a, b, s}, func(e layout.Entry) bool { return e.MBR == nil })
	return t, nil
}
