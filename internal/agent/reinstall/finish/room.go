package finish

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/stage/direct"
	"github.com/victorinix/vic/internal/stage/volume"
)

// erase overwrites the secrets on the stage, and then has the disk forget all of
// it. What is at the stage's place has to be the stage: it still has its volume
// ID, or it was erased before.
func (t Task) erase(device string, m Machine) (err error) {
	where := t.Stage[0]
	d, err := direct.Open(device, os.O_RDWR|unix.O_DSYNC, where.Offset, where.Size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	v, err := volume.Open(d)
	if errors.Is(err, volume.ErrNone) {
		return nil // erased before
	}
	if err != nil {
		return err
	}
	if v.VolumeID() != t.VolumeID {
		return fmt.Errorf("the stage's partition holds another file system (%08x, not %08x): it is left alone", v.VolumeID(), t.VolumeID)
	}
	for _, r := range t.Secrets {
		if err := zero(d, r.Offset-where.Offset, r.Size); err != nil {
			return fmt.Errorf("overwrite secrets: %w", err)
		}
	}
	m.Say("overwrote the secrets on the stage")
	if err := zero(d, 0, 1<<20); err != nil { // the first sectors: it is no file system any more
		return err
	}
	return discard(device, where.Range)
}

func zero(d *direct.Device, offset, size int64) error {
	const piece = 1 << 20
	for end := offset + size; offset < end; offset += piece {
		if _, err := d.WriteAt(make([]byte, min(piece, end-offset)), offset); err != nil {
			return err
		}
	}
	return nil
}

// discard tells the disk that a range is free. Disks that cannot are no error.
func discard(device string, r Range) error {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	err = blkdiscard(f, r)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EREMOTEIO) {
		return nil
	}
	return err
}

// alignment is that of the end of a partition that grows.
const alignment = 1 << 20

// grow writes the table without the stage, with the partition before it larger,
// and has the file system follow.
func (t Task) grow(ctx context.Context, m Machine, device string, now layout.Table, rec *Record) error {
	next := now
	next.Entries = slices.DeleteFunc(slices.Clone(now.Entries), func(e layout.Entry) bool {
		return slices.ContainsFunc(t.Stage, func(p Partition) bool {
			return entryOf(layout.Table{SectorSize: now.SectorSize, Entries: []layout.Entry{e}}, p) != nil
		})
	})
	number, why, err := t.grows(m, device, next)
	if err != nil {
		return err
	}
	rec.Why = why
	changed := len(next.Entries) != len(now.Entries)
	if i := slices.IndexFunc(next.Entries, func(e layout.Entry) bool { return e.Number == number }); i >= 0 && why == "" {
		rec.Grown, rec.From = t.Grow.Mountpoint, next.Entries[i].Size(next.SectorSize)
		if end := t.end(next, i); end > next.Entries[i].LastLBA {
			next.Entries[i].LastLBA, changed = end, true
		}
		rec.To = next.Entries[i].Size(next.SectorSize)
	}
	if changed {
		if err := m.Disks.WriteTable(ctx, device, next, true); err != nil {
			return err
		}
		m.Say("removed the partitions of the stage from %s", device)
	} else if err := m.Disks.ShowTable(ctx, device, next); err != nil {
		return err
	}
	if rec.Grown == "" {
		m.Say("the room of the stage stays free: %s", why)
		return nil
	}
	if err := m.Grow(m.path(t.Grow.Mountpoint)); err != nil {
		return fmt.Errorf("grow the file system of %s: %w", t.Grow.Mountpoint, err)
	}
	m.Say("%s has grown over the room of the stage: its partition has %d MiB, and had %d MiB", rec.Grown, rec.To>>20, rec.From>>20)
	return nil
}

// grows finds the partition whose file system takes the room; why says why there
// is none.
func (t Task) grows(m Machine, device string, table layout.Table) (number int, why string, err error) {
	if t.Grow == nil {
		return 0, "nothing was to grow", nil
	}
	mounts, err := m.Disks.Mounts(m.path(t.Grow.Mountpoint))
	if err != nil {
		return 0, "", err
	}
	source := ""
	for _, mnt := range mounts {
		if mnt.Target == m.path(t.Grow.Mountpoint) {
			source = mnt.Source
		}
	}
	name, err := disk.KernelName(source)
	if err != nil {
		return 0, fmt.Sprintf("%s stands on %q, which is no partition", t.Grow.Mountpoint, source), nil
	}
	for _, e := range table.Entries {
		if filepath.Base(disk.PartitionPath(device, e.Number)) != name {
			continue
		}
		first, end := int64(e.FirstLBA)*int64(table.SectorSize), int64(e.LastLBA+1)*int64(table.SectorSize)
		if !t.reached(first, end) {
			return 0, fmt.Sprintf("%s ends at byte %d, and the stage does not begin there", t.Grow.Mountpoint, end), nil
		}
		return e.Number, "", nil
	}
	return 0, fmt.Sprintf("%s stands on %s, which is no partition of %s", t.Grow.Mountpoint, source, device), nil
}

// reached says whether a partition ends where one of the stage's begins, or has
// grown over it.
func (t Task) reached(first, end int64) bool {
	return slices.ContainsFunc(t.Stage, func(p Partition) bool { return first < p.Offset && end > p.Offset-alignment })
}

// end is the last sector that a partition can have.
func (t Task) end(table layout.Table, i int) uint64 {
	unit := uint64(table.SectorSize)
	_, limit, ok := layout.Usable(layout.Geometry{Size: table.Size, SectorSize: table.SectorSize})
	if !ok {
		return table.Entries[i].LastLBA
	}
	for _, e := range table.Entries {
		if e.FirstLBA > table.Entries[i].LastLBA {
			limit = min(limit, e.FirstLBA-1)
		}
	}
	return (limit+1)*unit/alignment*alignment/unit - 1
}
