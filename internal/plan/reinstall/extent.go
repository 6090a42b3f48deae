package reinstall

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/stage"
)

// extent has a file keep a piece of the disk: the stage is written there, past the
// file system, and the table gets it with the commit. Nothing shrinks, so that there is
// nothing that a power cut could leave half done. The root file system is tried first,
// then others of the disk: /boot, where the root is encrypted or on volumes, and in the
// end those in which each file has a name: an ESP with room, the NTFS of another system.
func (t *target) extent(p Plan) (Plan, error) {
	rank := func(f Filesystem) int {
		switch {
		case f.Mountpoint == "/":
			return 0
		case named(f):
			return 2
		}
		return 1
	}
	list := slices.Clone(t.Running.Filesystems)
	slices.SortStableFunc(list, func(a, b Filesystem) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.Free, a.Free))
	})
	var errs []error
	for _, f := range list {
		if f.ReadOnly {
			continue
		}
		q := p
		err := t.pieceOf(&q, f)
		if err == nil {
			err = t.rest(&q, Extent)
		}
		if err == nil {
			q.Room.Unused, err = t.unused(q)
		}
		if err == nil {
			return q, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", f.Mountpoint, err))
	}
	return p, errors.Join(errs...)
}

// holding are the file systems, as the kernel calls them, that keep the blocks of a file
// where they are, by their types on the disk.
var holding = map[string]string{"ext4": "ext4", "xfs": "xfs", "vfat": "vfat", "ntfs3": "ntfs"}

// named: it has no files without a name.
func named(f Filesystem) bool { return f.Type == "vfat" || f.Type == "ntfs3" }

// pieceOf plans with a piece of one file system.
func (t *target) pieceOf(p *Plan, f Filesystem) error {
	format, ok := holding[f.Type]
	if !ok {
		return fmt.Errorf("it is %s, and only ext4, xfs, FAT and ntfs3 keep the blocks of a file where they are", or(f.Type, "of an unknown type"))
	}
	part, err := t.partitionOf(f)
	if err != nil {
		return err
	}
	file := path.Join(f.Mountpoint, "vic-stage.img")
	if f.Mountpoint == "/" {
		file = File
		if err := t.onRoot(file); err != nil {
			return err
		}
	}
	if part.Offset%4096 != 0 {
		return fmt.Errorf("its partition begins at byte %d, which is no multiple of 4096", part.Offset)
	}
	if why := t.Running.NoPiece[f.Device]; why != "" {
		return errors.New(why)
	}
	piece, early, err := t.piece(part, f)
	if err != nil {
		return err
	}
	found, _ := contentOf(part, format)
	p.Room = RoomPlan{Partition: part.Number, Device: part.Name, UUID: found.UUID, Label: found.Label, Format: format, Mountpoint: f.Mountpoint, File: file}
	at, held := t.Running.Piece[f.Device]
	if !held {
		p.Room.Piece = &piece
		at = part.Offset + piece.To - piece.Size
		if early {
			at = up(part.Offset+piece.From, mib)
		}
	}
	p.Stage, p.Core = stage.Place{Offset: at + t.core, Size: t.need}, nil
	if t.core > 0 {
		p.Core = &stage.Place{Offset: at, Size: t.core}
	}
	after, err := t.without(part, p)
	if err != nil {
		return err
	}
	p.Room.Table, p.Extent = &after, &stage.Extent{Before: t.table, After: after}
	return nil
}

// besideRoot is what a new system has beside its root.
const besideRoot = 512 * mib

// piece is what is wanted of a partition. The new system takes the larger part of what
// is free beside the stage, and in the end all that is behind it: the piece is behind
// the middle of a partition of the second half of the disk, far enough for an ESP beside
// the root, and early in one of the first half.
func (t *target) piece(part envscan.Partition, f Filesystem) (w Piece, early bool, err error) {
	_, last, ok := layout.Usable(layout.Geometry{Size: t.table.Size, SectorSize: t.table.SectorSize})
	if !ok {
		return w, false, errors.New("the disk is too small for a GPT")
	}
	stop := min(part.Offset+part.Size, int64(last+1)*int64(t.table.SectorSize))
	w = Piece{Size: t.need + t.core, From: part.Size / 2, Best: part.Size / 4 * 3, To: down(stop, mib) - part.Offset, Origin: part.Offset, Align: mib, Named: named(f)}
	if early = part.Offset+part.Size/2 < t.table.Size/2; early {
		w.From, w.Best = 0, 0
	}
	if w.Named { // what is before it is taken too, and on FAT written: no further than it has to
		w.Best = min(w.Best, max(w.From, down(t.table.Size/2+besideRoot-part.Offset, mib)))
	}
	// For GRUB the RAM system is left beside the piece; in the root it is put together,
	// in vic's cache.
	w.Spare = keepFree + t.Sizes.Kernel + t.Sizes.Initrd
	if f.Mountpoint == "/" {
		w.Spare += t.Sizes.Kernel + t.Sizes.Initrd
	}
	if missing := w.Size + w.Align + w.Spare - f.Free; missing > 0 {
		return w, early, fmt.Errorf("%s are free in it, and %s are needed", plan.Bytes(f.Free), plan.Bytes(f.Free+missing))
	}
	if w.To-w.From < w.Size {
		return w, early, fmt.Errorf("its partition has %s, and %s are needed in its second half", plan.Bytes(part.Size), plan.Bytes(w.Size))
	}
	return w, early, nil
}

// without is the table with the stage and without the partition that it is in.
func (t *target) without(part envscan.Partition, p *Plan) (layout.Table, error) {
	table := t.table
	table.Entries = slices.Clone(t.table.Entries)
	if table.Kind == layout.KindMBR {
		table.Kind, table.GUID, table.Entries = layout.KindGPT, uuid.NewSHA1(t.ID, []byte("table")), nil
	}
	if p.Core != nil {
		if err := t.add(&table, p.Core, stage.BootLabel, typeReserved, 0, false); err != nil {
			return table, err
		}
	}
	if err := t.add(&table, &p.Stage, stage.Label, layout.TypeESP, 0, false); err != nil {
		return table, err
	}
	table.Entries = slices.DeleteFunc(table.Entries, func(e layout.Entry) bool {
		return t.table.Kind != layout.KindMBR && e.Number == part.Number
	})
	slices.SortFunc(table.Entries, func(a, b layout.Entry) int { return cmp.Compare(a.Number, b.Number) })
	return table, nil
}

// mostUnused is how much of a disk a new system may lose by the place of its stage.
const mostUnused = 2 << 30

// unused is how much of the disk the new system cannot have, as it lies behind the
// stage: the stage itself and what is before it. Much of it is refused.
func (t *target) unused(p Plan) (int64, error) {
	start, stop, behind := mib, p.Stage.Offset+p.Stage.Size, false
	for _, d := range p.Install.Storage.Disks {
		if d.Name != t.Disk || d.After == nil {
			continue
		}
		for _, e := range d.After.Entries {
			from, end := bounds(e, d.After.SectorSize)
			switch {
			case e.Label == stage.Label || e.Label == stage.BootLabel:
			case end <= p.Stage.Offset:
				start = max(start, end)
			case from >= stop && !e.Kept:
				behind = true
			}
		}
	}
	if !behind {
		return 0, nil
	}
	if lost := stop - start; lost > min(mostUnused, t.table.Size/8) {
		return 0, fmt.Errorf("the new system would lie behind it, and %s before that would be lost to it", plan.Bytes(lost))
	}
	return stop - start, nil
}

// onRoot sees that a path is in the root file system.
func (t *target) onRoot(name string) error {
	within := func(u envscan.Use) string {
		for _, m := range u.Mounts {
			if m != "/" && strings.HasPrefix(path.Dir(name)+"/", m+"/") {
				return m
			}
		}
		return ""
	}
	other := ""
	for _, d := range t.Facts.HW.Disk {
		other = cmp.Or(other, within(d.Use))
		for _, p := range d.Partition {
			other = cmp.Or(other, within(p.Use))
		}
	}
	for _, v := range t.Facts.HW.Volume {
		other = cmp.Or(other, within(v.Use))
	}
	if other != "" {
		return fmt.Errorf("%s is in a file system of its own", other)
	}
	return nil
}
