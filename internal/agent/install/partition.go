package install

import (
	"context"
	"fmt"

	"github.com/victorinix/vic/internal/plan"
)

// format executes the actions that write to the bare disk. Each of them reads
// the disk's identity immediately before.
func (r *run) format(ctx context.Context, action plan.Action) error {
	var disk plan.Disk
	switch a := action.(type) {
	case plan.WipeDisk:
		disk = a.Disk
	case plan.WriteTable:
		disk = a.Disk
	case plan.Mkfs:
		disk = a.Disk
	}
	d, err := usableDisk(disk, r.Machine)
	if err != nil {
		return err
	}
	r.written = true
	switch a := action.(type) {
	case plan.WipeDisk:
		err = r.Machine.Wipe(ctx, d.Device, a.Table)
	case plan.WriteTable:
		err = r.Machine.WriteTable(ctx, d.Device, a.Table)
	case plan.Mkfs:
		err = r.Machine.Mkfs(ctx, r.Machine.Partition(d.Device, a.Entry.Number), a.Entry, d.SectorSize)
	}
	if err != nil {
		return fmt.Errorf("%s on %s: %w", action.Kind(), d, err)
	}
	return nil
}
