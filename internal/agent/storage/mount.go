package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"

	"github.com/victorinix/vic/internal/agent/within"
	plan "github.com/victorinix/vic/internal/plan/storage"
)

// mount mounts a file system below the root. What is mounted there already has
// to be the same.
func (e *Executor) mount(a plan.Mount) work {
	return work{
		probe: func(context.Context) (bool, error) {
			source, err := e.source(a)
			if err != nil {
				return false, err
			}
			return e.mounted(a, source)
		},
		do: func(ctx context.Context) error {
			source, err := e.source(a)
			if err != nil {
				return err
			}
			dir, err := within.Root(e.Root).MountPoint(a.Mountpoint)
			if err != nil {
				return err
			}
			return e.Machine.Mount(ctx, source, dir, a.FSType, a.Options)
		},
	}
}

func bind(a plan.Mount) bool {
	return slices.Contains(a.Options, "bind") || slices.Contains(a.Options, "rbind")
}

// source is what is mounted: a device that holds the right file system, a
// directory of the target or of this machine to bind, or a name.
func (e *Executor) source(a plan.Mount) (string, error) {
	if a.Device == (plan.Device{}) {
		if bind(a) && a.Outside {
			return path.Clean(a.Source), nil
		}
		if bind(a) {
			return within.Root(e.Root).MountPoint(a.Source)
		}
		return cmp.Or(a.Source, "none"), nil
	}
	node, err := e.path(a.Device)
	if err != nil || a.UUID == "" {
		return node, err
	}
	found, err := e.Machine.Content(node)
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", node, err)
	}
	if !slices.ContainsFunc(found, func(c Content) bool { return sameUUID(c.UUID, a.UUID) }) {
		return "", fmt.Errorf("mount %s: it holds %s, and not %s %s", a.Device, lookFor(found, "", "").orNothing(), a.FSType, a.UUID)
	}
	return node, nil
}

// mounted looks at what is mounted on the mount point itself; the last mount
// hides those before it.
func (e *Executor) mounted(a plan.Mount, source string) (bool, error) {
	dir := filepath.Join(e.Root, path.Clean("/"+a.Mountpoint))
	mounts, err := e.Machine.Mounts(dir)
	if err != nil {
		return false, fmt.Errorf("list mounts: %w", err)
	}
	for _, m := range slices.Backward(mounts) {
		if m.Target != dir {
			continue
		}
		same, err := e.Machine.Mounted(m, source, a.FSType, a.Options)
		if err != nil {
			return false, fmt.Errorf("see what is mounted on %s: %w", dir, err)
		}
		if !same {
			return false, Refuse("mount %s on %s: %s (%s) is mounted there", source, dir, m.Source, m.Type)
		}
		return true, nil
	}
	return false, nil
}

// unmount unmounts the root and everything below it, last mounted first. The
// kernel knows what is mounted, so nothing has to be kept in mind for it.
func (e *Executor) unmount(ctx context.Context) error {
	if root := filepath.Clean(e.Root); root == "/" || root == "." {
		return fmt.Errorf("unmount %q: this system itself is there", e.Root)
	}
	mounts, err := e.Machine.Mounts(filepath.Clean(e.Root))
	if err != nil {
		return fmt.Errorf("list mounts below %s: %w", e.Root, err)
	}
	var errs []error
	for _, m := range slices.Backward(mounts) {
		if err := e.Machine.Unmount(ctx, m.Target); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", m.Target, err))
		}
	}
	return errors.Join(errs...)
}

// swapArea is the path of a swap area, or of a file in the target.
func (e *Executor) swapArea(d plan.Device, file string) (string, error) {
	if file != "" {
		return within.Root(e.Root).Plain(file)
	}
	return e.path(d)
}

func (e *Executor) swapOn(a plan.SwapOn) work {
	return work{
		probe: func(context.Context) (bool, error) {
			area, err := e.swapArea(a.Device, a.File)
			if err != nil {
				return false, err
			}
			if a.UUID != "" {
				l, err := e.lookAt(area, "swap", a.UUID)
				if err != nil {
					return false, err
				}
				if !l.same {
					return false, fmt.Errorf("swap to %s: it holds %s, and not the swap area %s", a.Device, l.orNothing(), a.UUID)
				}
			}
			return e.Machine.SwappedTo(area)
		},
		do: func(context.Context) error {
			area, err := e.swapArea(a.Device, a.File)
			if err != nil {
				return err
			}
			return e.Machine.SwapOn(area, a.Priority, a.Options)
		},
	}
}

// swapOff ends a swap; what is not there is not on.
func (e *Executor) swapOff(_ context.Context, a plan.SwapOff) error {
	area, err := e.swapArea(a.Device, a.File)
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	on, err := e.Machine.SwappedTo(area)
	if err != nil || !on {
		return err
	}
	return e.Machine.SwapOff(area)
}

// close closes what is open.
func (e *Executor) close(ctx context.Context, a plan.Close) error {
	switch {
	case a.Mapper != "":
		return e.Machine.LUKSClose(ctx, a.Mapper)
	case a.VG != "":
		return e.Machine.DeactivateVG(ctx, a.VG)
	case a.Array != "":
		return e.Machine.StopArray(ctx, a.Array, e.stack.arrays[a.Array])
	}
	return e.exportPool(ctx, a.Pool)
}
