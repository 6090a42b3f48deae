package install

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/victorinix/vic/internal/agent/copytree"
	"github.com/victorinix/vic/internal/plan"
)

// mount mounts one of the target's file systems. Parents are mounted before.
func mount(a plan.Mount, m Machine, root string) error {
	fs := a.Entry.Filesystem
	if fs == nil || fs.Mountpoint == "" {
		return fmt.Errorf("mount partition %d of %s: the plan says neither what nor where", a.Entry.Number, a.Disk)
	}
	d, err := findDisk(a.Disk, m)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("make mount point: %w", err)
	}
	dir := root
	if fs.Mountpoint != "/" {
		if dir, err = (target{root: root}).mountPoint(fs.Mountpoint); err != nil {
			return err
		}
	}
	part := m.Partition(d.Device, a.Entry.Number)
	if err := m.Mount(part, dir, fs.Format, fs.Options); err != nil {
		return fmt.Errorf("mount %s on %s: %w", part, dir, err)
	}
	return nil
}

// copyPayload copies the tree in the payload to the target.
func copyPayload(ctx context.Context, a plan.CopyPayload, m Machine, root string, progress func(int64)) (note string, err error) {
	path, err := payloadPath(a.Payload.Source, m)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "vic-payload-")
	if err != nil {
		return "", fmt.Errorf("make mount point: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	if err := m.MountImage(path, a.Payload.Format, dir); err != nil {
		return "", fmt.Errorf("mount payload %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, m.Unmount(context.WithoutCancel(ctx), dir)) }()
	st, err := copytree.Copy(ctx, dir, root, copytree.Options{Progress: progress})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d files, %d directories, %s", st.Files, st.Dirs, plan.Bytes(st.Bytes)), nil
}
