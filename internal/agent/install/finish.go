package install

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/victorinix/vic/internal/plan"
)

// unmount ends the work on the target: when it returns, the disk has all of it.
func unmount(ctx context.Context, a plan.Unmount, m Machine, root string) error {
	if err := unmountAll(context.WithoutCancel(ctx), m, root); err != nil {
		return err
	}
	d, err := findDisk(a.Disk, m)
	if err != nil {
		return err
	}
	if err := m.Flush(d.Device); err != nil {
		return fmt.Errorf("flush %s: %w", d, err)
	}
	return nil
}

// unmountAll unmounts root and everything below it, last mounted first. The
// kernel knows what is mounted, so nothing has to be kept in mind for it.
func unmountAll(ctx context.Context, m Machine, root string) error {
	dirs, err := m.Mounts(root)
	if err != nil {
		return fmt.Errorf("list mounts below %s: %w", root, err)
	}
	var errs []error
	for _, dir := range slices.Backward(dirs) {
		if err := m.Unmount(ctx, dir); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}
