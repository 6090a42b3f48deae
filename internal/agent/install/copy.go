package install

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/victorinix/vic/internal/agent/copytree"
	"github.com/victorinix/vic/internal/plan"
)

// copyPayload copies the tree in the payload to the target.
func (r *run) copyPayload(ctx context.Context, a plan.CopyPayload, progress func(int64)) (note string, err error) {
	path, err := r.payloadPath(a.Path, a.Payload.Source)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "vic-payload-")
	if err != nil {
		return "", fmt.Errorf("make mount point: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	if err := r.Machine.MountImage(path, a.Payload.Format, dir); err != nil {
		return "", fmt.Errorf("mount payload %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, r.Disks.Unmount(context.WithoutCancel(ctx), dir)) }()
	st, err := copytree.Copy(ctx, dir, r.Root, copytree.Options{Progress: progress})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d files, %d directories, %s", st.Files, st.Dirs, plan.Bytes(st.Bytes)), nil
}
