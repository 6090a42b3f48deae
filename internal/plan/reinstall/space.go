package reinstall

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/stage"
)

// gap is a range of a disk that is in no partition, in bytes. A logical one is
// within the extended partition of an MBR.
type gap struct {
	from, to int64 // to is the first byte after it
	logical  bool
}

func (g gap) size() int64 { return g.to - g.from }

// gaps are the ranges of whole MiB in which partitions can be made. The first MiB
// is left alone: boot loaders live there. So is the end, for the second copy of the
// GPT that an MBR becomes, and in an extended partition a MiB for the boot record of
// each logical one.
func gaps(t layout.Table) []gap {
	_, last, ok := layout.Usable(layout.Geometry{Size: t.Size, SectorSize: t.SectorSize})
	if !ok {
		return nil
	}
	end := int64(last+1) * int64(t.SectorSize)
	if t.Kind == layout.KindMBR {
		end = min(end, (1<<32-1)*int64(t.SectorSize))
	}
	var outer, inner []layout.Entry
	var list []gap
	var extended *layout.Entry
	for _, e := range t.Entries {
		switch {
		case e.MBR != nil && e.MBR.Part == "logical":
			inner = append(inner, e)
		case e.MBR != nil && e.MBR.Part == "extended":
			extended = &e
			fallthrough
		default:
			outer = append(outer, e)
		}
	}
	list = append(list, between(outer, mib, end, t.SectorSize, false)...)
	if extended != nil {
		from, to := bounds(*extended, t.SectorSize)
		list = append(list, between(inner, from+mib, min(to, end), t.SectorSize, true)...)
	}
	return list
}

// between are the gaps among entries from one byte to another.
func between(entries []layout.Entry, from, to int64, sector int, logical bool) []gap {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b layout.Entry) int { return cmp.Compare(a.FirstLBA, b.FirstLBA) })
	var list []gap
	add := func(to int64) {
		if g := (gap{up(from, mib), down(to, mib), logical}); g.size() > 0 {
			list = append(list, g)
		}
	}
	for _, e := range entries {
		start, end := bounds(e, sector)
		add(start)
		from = max(from, end)
		if logical {
			from += mib
		}
	}
	add(to)
	return list
}

func bounds(e layout.Entry, sector int) (from, to int64) {
	return int64(e.FirstLBA) * int64(sector), int64(e.LastLBA+1) * int64(sector)
}

// put makes the partitions of the stage at the end of a gap: what is before it
// stays in one piece, for the new system.
func (t *target) put(table layout.Table, g gap) (after layout.Table, at, core stage.Place, err error) {
	apart := int64(0)
	if g.logical && t.core > 0 {
		apart = mib // for a boot record
	}
	if total := t.need + t.core + apart; g.size() < total {
		return after, at, core, fmt.Errorf("%s, and %s are needed", plan.Bytes(g.size()), plan.Bytes(total))
	}
	at = stage.Place{Offset: g.to - t.need, Size: t.need}
	core = stage.Place{Offset: at.Offset - apart - t.core, Size: t.core}
	after = table
	after.Entries = slices.Clone(table.Entries)
	if t.core > 0 {
		if err := t.add(&after, &core, stage.BootLabel, typeReserved, 0xda, g.logical); err != nil {
			return after, at, core, err
		}
	}
	err = t.add(&after, &at, stage.Label, layout.TypeESP, 0x0c, g.logical)
	slices.SortFunc(after.Entries, func(a, b layout.Entry) int { return a.Number - b.Number })
	return after, at, core, err
}

// typeReserved is "Linux reserved", which no installer takes for a place of its
// own, as it might a second BIOS boot partition.
var typeReserved = uuid.MustParse("8da63339-0007-60c0-c436-083ac8230908")

// add makes an entry for a place, and gives the place its number.
func (t *target) add(table *layout.Table, p *stage.Place, label string, typ uuid.UUID, mbr byte, logical bool) error {
	number, err := freeNumber(*table, logical)
	if err != nil {
		return err
	}
	sector := int64(table.SectorSize)
	e := layout.Entry{Number: number, Label: label, FirstLBA: uint64(p.Offset / sector), LastLBA: uint64((p.Offset+p.Size)/sector) - 1}
	if table.Kind == layout.KindMBR {
		part := "primary"
		if logical {
			part = "logical"
		}
		e.Label, e.MBR = "", &layout.MBREntry{Type: mbr, Part: part}
	} else {
		e.Type, e.GUID = typ, uuid.NewSHA1(t.ID, []byte(label))
	}
	p.Number, p.GUID = e.Number, e.GUID
	table.Entries = append(table.Entries, e)
	return nil
}

var errFull = errors.New("the MBR has no entry left: it holds four, and logical partitions within one of them")

func freeNumber(t layout.Table, logical bool) (int, error) {
	first, last := 1, 128
	switch {
	case logical:
		first = 5
	case t.Kind == layout.KindMBR:
		last = 4
	}
	for n := first; n <= last; n++ {
		if !slices.ContainsFunc(t.Entries, func(e layout.Entry) bool { return e.Number == n }) {
			return n, nil
		}
	}
	if t.Kind == layout.KindMBR {
		return 0, errFull
	}
	return 0, errors.New("the table has no entry left")
}

// largest is the largest gap, of those of equal size the last.
func largest(list []gap) gap {
	var best gap
	for _, g := range list {
		if g.size() >= best.size() {
			best = g
		}
	}
	return best
}
