package reinstall

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	diskplan "github.com/victorinix/vic/internal/plan/storage"
)

// hopName is what the steps call the disk when no layout has a name for it.
const hopName = "main"

// roomInMBR is roomSteps for a disk with an MBR: after is the table as it will be.
// Nothing of the system before moves, and what changes of the table is one sector.
func (r *run) roomInMBR(after layout.Table) (room, error) {
	now, err := r.table()
	if err != nil {
		return room{}, err
	}
	small, err := r.shrinksTo(*now, after)
	if err != nil {
		return room{}, fmt.Errorf("make room on %s: %w", storage.Describe(r.disk), err)
	}
	out := room{disks: map[string]plan.Disk{hopName: r.disk}}
	add := func(name string, a diskplan.Action) {
		out.steps = append(out.steps, diskplan.Step{Phase: event.Partition, Name: name, Action: a})
	}
	add("check "+hopName, diskplan.CheckState{Disk: r.disk, Before: now})
	if small != nil {
		dev := diskplan.Device{Disk: hopName, Partition: small.now.Number, Title: strconv.Itoa(small.now.Number)}
		add("shrink "+dev.String(), diskplan.Resize{Device: dev, From: small.now.Size(now.SectorSize), To: small.after.Size(now.SectorSize),
			Layers: []diskplan.Layer{{Type: r.Document.Hop.Format, UUID: r.Document.Hop.Filesystem}}})
	}
	d := r.disk
	add("write table of "+hopName, diskplan.WriteTable{Device: diskplan.Device{Disk: hopName}, Disk: &d, Table: after})
	return out, nil
}

// shrinking is a partition that gets smaller.
type shrinking struct{ now, after layout.Entry }

// shrinksTo compares the table with what it will be: all partitions stay as they are
// and where they are, the one with the files may end earlier, and what is new is the
// stage. It returns what gets smaller; nil: it has become so.
func (r *run) shrinksTo(now, after layout.Table) (small *shrinking, err error) {
	if now.Kind != layout.KindMBR || after.Kind != layout.KindMBR || !bytes.Equal(now.GUID[:4], after.GUID[:4]) || now.Size != after.Size || now.SectorSize != after.SectorSize {
		return nil, fmt.Errorf("its partition table is another one: %s %x", now.Kind, now.GUID[:4])
	}
	files, err := r.hopDevice()
	if err != nil {
		return nil, err
	}
	numbered := func(t layout.Table, n int) int {
		return slices.IndexFunc(t.Entries, func(e layout.Entry) bool { return e.Number == n })
	}
	for _, e := range now.Entries {
		i := numbered(after, e.Number)
		if i < 0 {
			return nil, fmt.Errorf("partition %d would be lost", e.Number)
		}
		to := after.Entries[i]
		same := to.FirstLBA == e.FirstLBA && to.MBR != nil && e.MBR != nil && *to.MBR == *e.MBR
		switch {
		case same && to.LastLBA == e.LastLBA:
		case same && to.LastLBA < e.LastLBA && small == nil && disk.PartitionPath(r.disk.Device, e.Number) == files:
			small = &shrinking{e, to}
		default:
			return nil, fmt.Errorf("partition %d is not what it was when the room was planned", e.Number)
		}
	}
	for _, e := range after.Entries {
		offset := int64(e.FirstLBA) * int64(after.SectorSize)
		ours := offset == r.Document.Stage.Offset || r.Document.Core != nil && offset == r.Document.Core.Offset
		if numbered(now, e.Number) < 0 && !ours {
			return nil, fmt.Errorf("partition %d is neither there nor the stage's", e.Number)
		}
	}
	return small, nil
}
