package storage

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
)

// show has the kernel read the table of a device; of an image there is nothing
// to show.
func show(ctx context.Context, env *registration.Env, device string) error {
	if !isBlock(device) {
		return nil
	}
	t, err := locate.ReadTable(device)
	if err != nil {
		return err
	}
	env.Note("show the table of " + device + " to the kernel")
	return disk.Reread(ctx, device, t)
}

func isBlock(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode()&os.ModeType == os.ModeDevice
}

// written is what a change has made of a table: one entry of it, or several, in
// pieces that belong together.
type written struct {
	disk   locate.Disk
	parts  []part
	pieces []piece
}

func (w written) check() (registration.Standing, error) {
	device, err := w.disk.Find()
	if err != nil {
		return registration.Standing{}, err
	}
	is, err := w.compare(device)
	if err != nil {
		return registration.Standing{}, err
	}
	t, err := locate.ReadTable(device)
	if err != nil {
		return registration.Standing{}, err
	}
	st := registration.Standing{Is: is}
	switch is {
	case registration.Partly:
		st.Detail = "the table was written in part"
		return st, nil
	case registration.Changed:
		st = w.meaning(t)
	}
	switch {
	case st.Is == registration.Before && slices.ContainsFunc(w.parts, func(p part) bool { return p.stale(device) }):
		return registration.Standingf(registration.Partly, "the kernel does not know yet"), nil
	case st.Is == registration.Stands:
		return w.content(device, t, st)
	}
	return st, nil
}

// compare looks at the bytes of the table.
func (w written) compare(device string) (is registration.Is, err error) {
	f, err := disk.Open(device, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	is, err = compare(f, w.pieces)
	return is, errors.Join(err, f.Close())
}

// meaning looks at the partitions alone: others changed others.
func (w written) meaning(t layout.Table) registration.Standing {
	var st registration.Standing
	for i, p := range w.parts {
		now := p.meaning(t)
		switch {
		case now.Is == registration.Changed:
			return now
		case i > 0 && now.Is != st.Is:
			st = registration.Standingf(registration.Partly, "some of its partitions are as before")
		case i == 0:
			st = now
		}
	}
	return st
}

// content looks at what is in the partitions that would be taken away.
func (w written) content(device string, t layout.Table, st registration.Standing) (registration.Standing, error) {
	for _, p := range w.parts {
		if held, err := p.content(device, t); err != nil || held.Is != registration.Stands {
			return held, err
		}
	}
	return st, nil
}

func (w written) revert(ctx context.Context, env *registration.Env) error {
	device, err := w.disk.Find()
	if err != nil {
		return err
	}
	t, err := locate.ReadTable(device)
	if err != nil {
		return err
	}
	for _, p := range w.parts {
		node, err := p.node(device, t)
		if err == nil && node != "" && (p.Before == nil || p.Holds != "") {
			err = p.empty(ctx, env, node)
		}
		if err != nil {
			return err
		}
	}
	if err := w.putBack(ctx, env, device, t); err != nil {
		return err
	}
	return show(ctx, env, device)
}

// putBack restores the bytes of the table where all are vic's, and else the
// partitions alone.
func (w written) putBack(ctx context.Context, env *registration.Env, device string, t layout.Table) error {
	f, err := openDevice(device, env)
	if err != nil {
		return err
	}
	is, err := compare(f, w.pieces)
	switch {
	case err != nil:
	case is != registration.Changed:
		err = restore(ctx, f, w.pieces)
	case w.meaning(t).Is == registration.Before: // the kernel alone has to be told
	default:
		err = w.merge(ctx, f, t)
	}
	return errors.Join(err, f.Close())
}

func (w written) merge(ctx context.Context, f *device, t layout.Table) error {
	after := t
	for _, p := range w.parts {
		after = with(after, p.After, p.Before)
	}
	for _, p := range w.parts {
		if err := fits(t, after, p.Before); err != nil {
			return err
		}
	}
	last, err := protectiveLast(f)
	if err != nil {
		return err
	}
	return disk.WriteTable(ctx, f, after, last)
}
