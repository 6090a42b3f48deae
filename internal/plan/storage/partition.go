package storage

import (
	"fmt"

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
		w.resize(d, "shrink", func(from, to int64) bool { return to < from })
	}
	for _, d := range w.disks {
		if !d.untouched(w.config.Anew) {
			w.create(event.Partition, "wipe "+d.name, Wipe{Disk: d.state.Disk, Table: d.table, Keep: d.keep(), Anew: w.config.Anew})
		}
		w.hook(event.Partition, "preCreate", d.spec.PreCreate, "disk."+d.name, Device{Disk: d.name})
		if d.table != nil {
			w.table(d, true)
		}
		w.plan.Disks = append(w.plan.Disks, d.describe(w.config.Anew))
	}
	for _, d := range w.disks {
		w.resize(d, "grow", func(from, to int64) bool { return to > from })
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
	for i, f := range d.state.Found {
		if f.Partition == 0 && d.spec.Content != nil && f.Type == signature(*d.spec.Content) {
			return &d.state.Found[i]
		}
	}
	return nil
}

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

// resize adds the steps for kept partitions whose size changes.
func (w *walker) resize(d diskWork, verb string, wanted func(from, to int64) bool) {
	if d.table == nil {
		return
	}
	size := int64(d.table.SectorSize)
	for _, e := range d.table.Entries {
		from, to := int64(e.OldLast-e.FirstLBA+1)*size, e.Size(d.table.SectorSize)
		if f := d.found(e.Number); from == to && f != nil && f.Size > 0 && d.resized(e.Name) {
			// An earlier run may have ended between the table and its content.
			from = min(from, f.Size)
		}
		if !e.Kept || !wanted(from, to) {
			continue
		}
		path := "disk." + d.name + ".content.partitions." + e.Name
		dev := Device{Disk: d.name, Partition: e.Number, Title: e.Name}
		layers, err := w.layers(d.found(e.Number), e.Content, from, to)
		if err != nil {
			w.fail(path+".resize", "%v", err)
			continue
		}
		if len(layers) > 0 {
			w.create(event.Partition, verb+" "+dev.String(), Resize{dev, from, to, layers})
		}
	}
}

// resized says whether the layout wants another size of a kept partition.
func (d diskWork) resized(name string) bool {
	g, ok := specOf[*layout.GPT](d.spec.Content)
	return ok && g.Partitions[name].Resize != ""
}

func (d diskWork) found(number int) *Found {
	for i, f := range d.state.Found {
		if f.Partition == number {
			return &d.state.Found[i]
		}
	}
	return nil
}

// The file systems whose size can be changed, and how.
var (
	shrinks = map[string]bool{"ext2": true, "ext3": true, "ext4": true, "btrfs": true, "ntfs": true, "swap": true}
	grows   = map[string]bool{"ext2": true, "ext3": true, "ext4": true, "btrfs": true, "ntfs": true, "swap": true, "xfs": true}
)

// layers are what has to be resized in a kept partition, outermost first. What
// stands in a container cannot be seen from outside: there the layout says it.
func (w *walker) layers(found *Found, content *layout.Content, from, to int64) ([]Layer, error) {
	if found == nil {
		return nil, nil // nothing is in it
	}
	if to < from && found.MinSize > to {
		return nil, fmt.Errorf("its %s needs at least %s, and would have %s", found.Type, Bytes(found.MinSize), Bytes(to))
	}
	first := Layer{Type: found.Type, UUID: found.UUID}
	switch found.Type {
	case "crypto_LUKS":
		l, ok := specOf[*layout.LUKS](content)
		if !ok {
			return nil, fmt.Errorf("it holds a LUKS container: the layout has to describe it as type luks, with its key")
		}
		key := keyOf(l)
		first.Key = &key
		inner, err := w.innerLayer(l.Content, to < from)
		if err != nil || inner == nil {
			return nil, err
		}
		return []Layer{first, *inner}, nil
	case "LVM2_member":
		return nil, fmt.Errorf("it holds a physical volume of LVM: resize its logical volumes with LVM, then its partition")
	}
	return []Layer{first}, canResize(found.Type, to < from)
}

func (w *walker) innerLayer(c *layout.Content, shrink bool) (*Layer, error) {
	fs, ok := specOf[*layout.Filesystem](c)
	if !ok {
		return nil, fmt.Errorf("of a LUKS container only one with a file system can be resized")
	}
	return &Layer{Type: fs.Format}, canResize(fs.Format, shrink)
}

func canResize(format string, shrink bool) error {
	switch {
	case shrink && !shrinks[format]:
		return fmt.Errorf("%s cannot be shrunk", format)
	case !grows[format]:
		return fmt.Errorf("%s cannot be resized", format)
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

// hook adds a script of the layout.
func (w *walker) hook(phase event.Phase, when, script, at string, d Device) {
	if script != "" {
		w.create(phase, when+"Hook of "+at, Hook{When: when, At: at, Device: d, Script: script})
	}
}
