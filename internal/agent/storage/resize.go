package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/victorinix/vic/disk/luks"
	plan "github.com/victorinix/vic/internal/plan/storage"
)

// resize gives what is in a kept partition another size: before the partition
// shrinks, and after it has grown.
func (e *Executor) resize(s plan.Step, a plan.Resize) work {
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
			if err := e.resizeLayers(ctx, path, a, e.Journal.started(s)); err != nil {
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
	if err != nil || a.To > a.From {
		return false, err
	}
	size, _, err := e.Machine.Measure(path)
	if err != nil {
		return false, fmt.Errorf("measure %s: %w", path, err)
	}
	if size <= a.To || len(a.Layers) > 1 {
		return size <= a.To, nil
	}
	size, err = e.Machine.ContentSize(a.Layers[0].Type, path)
	return err == nil && size <= a.To, err
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
	users, err := e.Machine.Users(path, nil)
	if err != nil {
		return fmt.Errorf("see who uses %s: %w", path, err)
	}
	if len(users) > 0 {
		return Refuse("resize %s: it is in use: %s", a.Device, strings.Join(users, "; "))
	}
	_, err = e.Machine.Release(ctx, path, nil)
	return err
}

// resizeLayers works off what is stacked in a partition. A container of LUKS2
// takes all of its device each time it is opened, so only what is in it has a
// size of its own.
func (e *Executor) resizeLayers(ctx context.Context, path string, a plan.Resize, resumed bool) error {
	outer := a.Layers[0]
	if outer.Type != "crypto_LUKS" {
		if len(a.Layers) > 1 {
			return fmt.Errorf("resize %s: no way to resize what is in %s", a.Device, outer.Type)
		}
		return e.resizeContent(ctx, outer.Type, path, a.To, resumed)
	}
	if len(a.Layers) != 2 || outer.Key == nil {
		return fmt.Errorf("resize %s: of a LUKS container only one with a file system and a key can be resized", a.Device)
	}
	key, err := e.key(*outer.Key)
	if err != nil {
		return err
	}
	c, name := luks.Container{Device: path}, "vic-resize"
	overhead, sector, err := e.Machine.LUKSData(ctx, c)
	if err != nil {
		return err
	}
	if err := e.Machine.LUKSOpen(ctx, c, name, key, luks.Options{}); err != nil {
		return err
	}
	inner := (a.To - overhead) / sector * sector
	return errors.Join(e.resizeMapped(ctx, name, a.Layers[1].Type, inner, resumed), e.Machine.LUKSClose(context.WithoutCancel(ctx), name))
}

func (e *Executor) resizeMapped(ctx context.Context, name, typ string, size int64, resumed bool) error {
	node, err := e.path(plan.Device{Mapper: name})
	if err != nil {
		return err
	}
	return e.resizeContent(ctx, typ, node, size, resumed)
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
