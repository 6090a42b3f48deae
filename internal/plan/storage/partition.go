package storage

import (
	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
)

// partition is the first phase: all disks are checked before the first of them
// is written to.
func (w *walker) partition() {
	for _, d := range w.disks {
		w.create(event.Partition, "check "+d.name, CheckState{Disk: d.state.Disk, Before: d.state.Table})
	}
	for _, d := range w.disks {
		if !d.untouched(w.config.Anew) {
			w.create(event.Partition, "release "+d.name, Release{Disk: d.state.Disk, Keep: d.keep(), Anew: w.config.Anew})
		}
	}
	for _, d := range w.disks {
		w.resize(d, false)
	}
	for _, d := range w.disks {
		if !d.untouched(w.config.Anew) {
			w.create(event.Partition, "wipe "+d.name, Wipe{Disk: d.state.Disk, Table: d.table, Keep: d.keep(), Anew: w.config.Anew})
		}
		w.hook(event.Partition, "preCreate", d.spec.PreCreate, d.site())
		if d.table != nil {
			w.table(d, true)
		}
		w.plan.Disks = append(w.plan.Disks, d.describe(w.config.Anew))
	}
	for _, d := range w.disks {
		w.resize(d, true)
	}
}

// untouched: nothing on the disk is replaced.
func (d diskWork) untouched(anew bool) bool {
	if d.table == nil {
		return d.whole() != nil && !anew
	}
	return d.fits
}

// whole is what a disk without a table holds now, when that is of the kind that
// the layout wants.
func (d diskWork) whole() *Found {
	if d.spec.Content == nil {
		return nil
	}
	z, pool := d.spec.Content.Spec.(*layout.ZFS)
	for i, f := range d.state.Found {
		switch {
		case f.Type != signature(*d.spec.Content):
		case pool && f.Label != "" && f.Label != d.pools[z.Pool]: // another's
		case f.Partition == 0, pool && f.Partition == 1 && ofZpool(d.state.Table):
			return &d.state.Found[i]
		}
	}
	return nil
}

// ofZpool says whether a table is the one that zpool makes of a whole disk: a
// partition for itself, and one at the end for nothing.
func ofZpool(t *layout.Table) bool {
	return t != nil && t.Kind == layout.KindGPT && len(t.Entries) == 2 &&
		t.Entries[0].Number == 1 && t.Entries[0].Type == typeZFS && t.Entries[1].Number == 9 && t.Entries[1].Type == typeReserved
}

var (
	typeZFS      = uuid.MustParse("6a898cc3-1dd2-11b2-99a6-080020736631")
	typeReserved = uuid.MustParse("6a945a3b-1dd2-11b2-99a6-080020736631")
)

// keep are the ranges that stay.
func (d diskWork) keep() []Range {
	if d.table == nil {
		return nil
	}
	var list []Range
	size := int64(d.table.SectorSize)
	for _, e := range d.table.Entries {
		if e.Kept {
			last := min(e.LastLBA, e.OldLast)
			list = append(list, Range{int64(e.FirstLBA) * size, int64(last-e.FirstLBA+1) * size})
		}
	}
	return list
}

// table writes a disk's table; twice: see the package comment. One that is
// there already is written only if it is unfinished.
func (w *walker) table(d diskWork, unfinished bool) {
	name := "write table of " + d.name
	if !unfinished {
		name = "finish table of " + d.name
	}
	state := d.state.Disk
	w.create(phaseOf(unfinished), name, WriteTable{
		Device: Device{Disk: d.name}, Disk: &state, Table: *d.table, Unfinished: unfinished, Anew: w.config.Anew && unfinished, EFIFirst: efiFirst(d.spec.Content),
	})
}

func phaseOf(unfinished bool) event.Phase {
	if unfinished {
		return event.Partition
	}
	return event.Format
}

func efiFirst(c *layout.Content) bool {
	g, ok := c.Spec.(*layout.GPT)
	return ok && (g.EFIGPTPartitionFirst == nil || *g.EFIGPTPartitionFirst)
}

func (w *walker) finishTables() {
	for _, d := range w.disks {
		if d.table != nil {
			w.table(d, false)
		}
	}
}

func (d diskWork) found(number int) *Found {
	for i, f := range d.state.Found {
		if f.Partition == number {
			return &d.state.Found[i]
		}
	}
	return nil
}

// specOf is the content as one type, if it is of it.
func specOf[T layout.Spec](c *layout.Content) (T, bool) {
	var none T
	if c == nil {
		return none, false
	}
	s, ok := c.Spec.(T)
	return s, ok
}
