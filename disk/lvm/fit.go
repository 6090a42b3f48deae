package lvm

import (
	"context"
	"errors"
	"fmt"

	"github.com/victorinix/vic/internal/tool"
)

// ErrNoRoom is wrapped by Shrink when what is in a physical volume does not fit.
var ErrNoRoom = errors.New("its volumes do not fit")

// Fit is a physical volume whose device changes its size, and what changes with
// it. It is the only one of its group.
type Fit struct {
	Device string
	Size   int64 // of the device, in bytes, after it has shrunk or grown
	// LV is the volume that gives the space that is missing, or gets the space
	// that is free; "": none does.
	LV string
	// Content gives what is in LV a size in bytes.
	Content func(size int64) error
}

// Shrink makes a physical volume fit into f.Size, from the inside out: the
// content of f.LV, f.LV, the extents behind the new end, the physical volume.
// Each of them is left alone when it fits already, so that a Shrink which was
// interrupted is finished by the same one.
func (l LVM) Shrink(ctx context.Context, r tool.Runner, f Fit) error {
	pv, vg, err := l.only(ctx, r, f.Device)
	if err != nil {
		return fmt.Errorf("shrink physical volume %s: %w", f.Device, err)
	}
	extents := max(f.Size-pv.Start, 0) / vg.ExtentSize
	if missing := pv.Used - extents*vg.ExtentSize; missing > 0 {
		if err := l.give(ctx, r, f, vg.Name, missing); err != nil {
			return fmt.Errorf("shrink physical volume %s to %d bytes: %w", f.Device, f.Size, err)
		}
	}
	// A move that was interrupted is finished first.
	for _, move := range []tool.Cmd{l.ResumeMove(), l.MoveTail(pv.Device, extents, pv.Size/vg.ExtentSize)} {
		last, err := l.lastExtent(ctx, r, f.Device)
		if err != nil {
			return err
		}
		if last <= extents {
			break
		}
		if _, err := r.Run(ctx, move); err != nil {
			return fmt.Errorf("shrink physical volume %s: %w", f.Device, err)
		}
	}
	_, err = l.SetPV(ctx, r, f.Device, f.Size)
	return err
}

// give takes bytes from the volume that has them.
func (l LVM) give(ctx context.Context, r tool.Runner, f Fit, vg string, bytes int64) error {
	if f.LV == "" {
		return fmt.Errorf("%w: %d bytes too many are in use, and no volume of %s gives them", ErrNoRoom, bytes, vg)
	}
	now, err := l.sizeLV(ctx, r, vg, f.LV)
	if err != nil {
		return err
	}
	if now <= bytes {
		return fmt.Errorf("%w: %d bytes too many are in use, and %s/%s has %d", ErrNoRoom, bytes, vg, f.LV, now)
	}
	if err := f.Content(now - bytes); err != nil {
		return err
	}
	_, err = l.SetLV(ctx, r, vg, f.LV, now-bytes)
	return err
}

// Grow has a physical volume use f.Size, from the outside in. It is finished by
// the same one, like Shrink.
func (l LVM) Grow(ctx context.Context, r tool.Runner, f Fit) error {
	if _, err := l.SetPV(ctx, r, f.Device, f.Size); err != nil {
		return err
	}
	_, vg, err := l.only(ctx, r, f.Device)
	if err != nil {
		return fmt.Errorf("grow physical volume %s: %w", f.Device, err)
	}
	if f.LV == "" {
		return nil
	}
	now, err := l.sizeLV(ctx, r, vg.Name, f.LV)
	if err != nil {
		return err
	}
	if now, err = l.SetLV(ctx, r, vg.Name, f.LV, now+vg.Free); err != nil {
		return err
	}
	return f.Content(now)
}

// only is a physical volume that is the only one of its group.
func (l LVM) only(ctx context.Context, r tool.Runner, device string) (PV, VG, error) {
	pv, _, err := l.findPV(ctx, r, device)
	if err != nil {
		return pv, VG{}, err
	}
	vg, _, err := l.FindVG(ctx, r, pv.VG)
	if err == nil && vg.PVs != 1 {
		err = fmt.Errorf("volume group %s stands on %d physical volumes", vg.Name, vg.PVs)
	}
	return pv, vg, err
}
