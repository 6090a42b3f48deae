package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/victorinix/vic/disk/luks"
	"github.com/victorinix/vic/disk/lvm"
	plan "github.com/victorinix/vic/internal/plan/storage"
)

// resize gives what is in a kept partition another size: before the partition
// shrinks, and after it has grown.
func (e *Executor) resize(s plan.Step, a plan.Resize) work {
	run := resizing{e, a.To < a.From, e.Journal.started(s)}
	return work{
		probe: func(context.Context) (bool, error) { return e.resized(s, a) },
		do: func(ctx context.Context) error {
			if len(a.Layers) == 0 {
				return nil
			}
			if err := e.resizable(ctx, a); err != nil {
				return err
			}
			if err := e.writing(a.Device); err != nil {
				return err
			}
			path, err := e.path(a.Device)
			if err != nil {
				return err
			}
			if err := run.layers(ctx, path, a.Layers, a.To); err != nil {
				return err
			}
			return e.Machine.Flush(path)
		},
	}
}

// resized says whether there is nothing to do: a partition that is as small
// already was shrunk after its content was. What grows is left alone by the
// format's own program if it has the size.
func (e *Executor) resized(s plan.Step, a plan.Resize) (bool, error) {
	if len(a.Layers) == 0 || e.Journal.done(s) {
		return true, nil
	}
	path, err := e.path(a.Device)
	if err != nil {
		return false, err
	}
	if a.To >= a.From {
		users, err := e.usersOf(path)
		return a.Again && len(users) > 0, err
	}
	size, _, err := e.Machine.Measure(path)
	if err != nil {
		return false, fmt.Errorf("measure %s: %w", path, err)
	}
	if size <= a.To || len(a.Layers) > 1 {
		return size <= a.To, nil
	}
	if a.Layers[0].Type == "LVM2_member" { // one whose group gives only what is free
		return false, nil
	}
	size, err = e.Machine.ContentSize(a.Layers[0].Type, path)
	return err == nil && size <= a.To, err
}

func (e *Executor) usersOf(path string) ([]string, error) {
	users, err := e.Machine.Users(path, nil)
	if err != nil {
		return nil, fmt.Errorf("see who uses %s: %w", path, err)
	}
	return users, nil
}

// resizable refuses a partition that is not what the plan was made for.
func (e *Executor) resizable(ctx context.Context, a plan.Resize) error {
	path, err := e.path(a.Device)
	if err != nil {
		return err
	}
	outer := a.Layers[0]
	l, err := e.lookAt(path, outer.Type, outer.UUID)
	if err != nil {
		return err
	}
	if !l.same {
		return Refuse("resize %s: it holds %s, and not %s %s", a.Device, l.orNothing(), outer.Type, outer.UUID)
	}
	size, _, err := e.Machine.Measure(path)
	if err != nil {
		return fmt.Errorf("measure %s: %w", path, err)
	}
	if want := max(a.From, a.To); size != want {
		return Refuse("resize %s: the partition has %d bytes, and not %d", a.Device, size, want)
	}
	users, err := e.usersOf(path)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return Refuse("resize %s: it is in use: %s", a.Device, strings.Join(users, "; "))
	}
	_, err = e.Machine.Release(ctx, path, nil)
	return err
}

// resizing is a run through the layers of a partition, from the outside in.
// When it shrinks, each layer is changed after those in it, otherwise before.
type resizing struct {
	*Executor
	shrink, resumed bool
}

// layers gives a device that is going to have size bytes, or has them, layers
// of that size.
func (r resizing) layers(ctx context.Context, path string, layers []plan.Layer, size int64) error {
	switch l := layers[0]; l.Type {
	case "crypto_LUKS":
		return r.container(ctx, path, l, layers[1:], size)
	case "LVM2_member":
		return r.group(ctx, path, l, layers[1:], size)
	}
	if len(layers) > 1 {
		return fmt.Errorf("resize %s: no way to resize what is in %s", path, layers[0].Type)
	}
	return r.resizeContent(ctx, layers[0].Type, path, size, r.resumed)
}

// container resizes what is in a LUKS container. One of LUKS2 takes all of its
// device each time it is opened, so only what is in it has a size of its own.
func (r resizing) container(ctx context.Context, path string, l plan.Layer, inner []plan.Layer, size int64) error {
	if len(inner) == 0 || l.Key == nil {
		return fmt.Errorf("resize %s: of a LUKS container only one with a key and a content can be resized", path)
	}
	key, err := r.key(*l.Key)
	if err != nil {
		return err
	}
	c, name := luks.Container{Device: path}, fmt.Sprintf("vic-resize-%d", len(inner))
	overhead, sector, err := r.Machine.LUKSData(ctx, c)
	if err != nil {
		return err
	}
	if err := r.Machine.LUKSOpen(ctx, c, name, key, luks.Options{}); err != nil {
		return err
	}
	node, err := r.path(plan.Device{Mapper: name})
	if err == nil {
		err = r.layers(ctx, node, inner, (size-overhead)/sector*sector)
	}
	return errors.Join(err, r.Machine.LUKSClose(context.WithoutCancel(ctx), name))
}

// group resizes a physical volume of LVM, and the volume that gives or takes
// the space.
func (r resizing) group(ctx context.Context, path string, l plan.Layer, inner []plan.Layer, size int64) error {
	if err := r.holds(path, l); err != nil {
		return err
	}
	if err := r.Machine.ActivateVG(ctx, l.VG); err != nil {
		return err
	}
	fit := r.Machine.GrowPV
	if r.shrink {
		fit = r.Machine.ShrinkPV
	}
	err := fit(ctx, lvm.Fit{Device: path, Size: size, LV: l.LV, Content: func(size int64) error {
		if len(inner) == 0 {
			return nil
		}
		node, err := r.path(plan.Device{VG: l.VG, LV: l.LV})
		if err != nil {
			return err
		}
		return r.layers(ctx, node, inner, size)
	}})
	return errors.Join(err, r.Machine.DeactivateVG(context.WithoutCancel(ctx), l.VG))
}

// holds refuses a physical volume of another group than the layout says.
func (r resizing) holds(path string, l plan.Layer) error {
	found, err := r.Machine.Content(path)
	if err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	for _, c := range found {
		if c.Type == l.Type && c.Group == l.VG {
			return nil
		}
	}
	return Refuse("resize %s: it holds %s, and not a physical volume of %s", path, lookFor(found, "", "").orNothing(), l.VG)
}

// resizeContent sees that a content which shrinks has become as small: the
// partition is cut behind it.
func (e *Executor) resizeContent(ctx context.Context, typ, path string, size int64, resumed bool) error {
	got, err := e.Machine.ResizeContent(ctx, typ, path, size, resumed)
	if err == nil && got > size {
		err = fmt.Errorf("resize %s on %s: it has %d bytes, and not %d", typ, path, got, size)
	}
	return err
}
