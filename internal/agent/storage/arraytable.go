package storage

import (
	"context"
	"fmt"

	"github.com/victorinix/vic/disk/layout"
	plan "github.com/victorinix/vic/internal/plan/storage"
)

// arrayTable writes the table of an array. It is not written unfinished first:
// what stands beneath the array says whether everything on it was finished.
func (e *Executor) arrayTable(s plan.Step, a plan.WriteTable) work {
	seen := func(context.Context) (bool, error) {
		l, err := e.lookAtTable(a)
		return l.same, err
	}
	return work{
		probe: func(context.Context) (bool, error) {
			return e.verdict(s, []plan.Device{a.Device}, func() (look, error) { return e.lookAtTable(a) })
		},
		seen: seen,
		do: func(ctx context.Context) error {
			if err := e.writing(a.Device); err != nil {
				return err
			}
			node, t, err := e.settle(a)
			if err != nil {
				return err
			}
			e.made[thing(a.Device)] = true
			if err := e.clear(ctx, node); err != nil {
				return err
			}
			if err := e.Machine.WriteTable(ctx, node, t, a.EFIFirst); err != nil {
				return fmt.Errorf("write table to %s: %w", a.Device, err)
			}
			return nil
		},
		ready: func(ctx context.Context) error {
			node, t, err := e.settle(a)
			if err != nil {
				return err
			}
			return e.Machine.ShowTable(ctx, node, t)
		},
	}
}

// settle makes the table for the size that the array has.
func (e *Executor) settle(a plan.WriteTable) (node string, t layout.Table, err error) {
	if node, err = e.path(a.Device); err != nil || a.Content == nil {
		return node, a.Table, err
	}
	size, sector, err := e.Machine.Measure(node)
	if err != nil {
		return node, t, fmt.Errorf("measure %s: %w", node, err)
	}
	t, err = layout.ResolveArrayTable(a.Device.Array, layout.Array{Content: a.Content}, layout.Geometry{Size: size, SectorSize: sector}, a.Seed)
	return node, t, err
}

func (e *Executor) lookAtTable(a plan.WriteTable) (look, error) {
	node, t, err := e.settle(a)
	if err != nil {
		return look{}, err
	}
	now, whole, err := e.now(node)
	if err != nil || now == nil {
		return look{}, err
	}
	return look{same: compare(t, now) == final && whole, what: "the table " + now.GUID.String()}, nil
}
