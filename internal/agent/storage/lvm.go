package storage

import (
	"context"
	"fmt"

	plan "github.com/victorinix/vic/internal/plan/storage"
)

func (e *Executor) createVG(a plan.CreateVG) maker {
	return maker{
		on: a.PVs, name: "vg/" + a.VG, clear: true,
		look: func(context.Context) (look, error) {
			return e.lookAtMembers(a.PVs, e.path, func(c Content) bool { return c.Type == "LVM2_member" && c.Group == a.VG })
		},
		make: func(ctx context.Context, paths []string) error { return e.Machine.CreateVG(ctx, a.VG, paths) },
	}
}

// lookAtMembers looks at every device of a group.
func (e *Executor) lookAtMembers(members []plan.Device, where func(plan.Device) (string, error), right func(Content) bool) (look, error) {
	all := look{same: true}
	for _, d := range members {
		path, err := where(d)
		if err != nil {
			return look{}, err
		}
		found, err := e.Machine.Content(path)
		if err != nil {
			return look{}, fmt.Errorf("look at %s: %w", path, err)
		}
		one := lookFor(found, "", "")
		one.same = false
		for _, c := range found {
			one.same = one.same || right(c)
		}
		all.same = all.same && one.same
		if !one.same && one.what != "" {
			all.what = one.what
		}
	}
	return all, nil
}

func (e *Executor) createLV(a plan.CreateLV) maker {
	d := plan.Device{VG: a.VG, LV: a.LV}
	return maker{
		on: []plan.Device{{VG: a.VG}}, name: thing(d), noPath: true,
		look: func(ctx context.Context) (look, error) {
			has, err := e.Machine.HasLV(ctx, a.VG, a.LV)
			return look{same: has}, err
		},
		make: func(ctx context.Context, _ []string) error { return e.Machine.CreateLV(ctx, a) },
	}
}

func (e *Executor) activateVG(a plan.ActivateVG) work {
	return always(func(ctx context.Context) error { return e.Machine.ActivateVG(ctx, a.VG) })
}
