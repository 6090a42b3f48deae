package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/plan"
)

// receivePayload has the payload sent to a file of the target that root alone
// can read.
func (r *run) receivePayload(ctx context.Context, in target, a plan.ReceivePayload, progress func(int64)) error {
	f, err := in.create(a.Path)
	if err != nil {
		return err
	}
	return errors.Join(r.Receive(ctx, f, a.Size, progress), f.Close())
}

// create makes an empty file, with mode 0600, to be written and read. What has
// its name is removed.
func (t target) create(name string) (*os.File, error) {
	if err := t.remove(name); err != nil {
		return nil, err
	}
	dir, err := t.root.OpenDir(path.Dir(name))
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	defer dir.Close()
	fd, err := unix.Openat(int(dir.Fd()), path.Base(name), unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// remove removes a file, if it is there.
func (t target) remove(name string) error {
	if err := plain(name); err != nil {
		return fmt.Errorf("remove %q: %w", name, err)
	}
	dir, err := t.root.OpenDir(path.Dir(name))
	if err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	defer dir.Close()
	if err := unix.Unlinkat(int(dir.Fd()), path.Base(name), 0); err != nil && err != unix.ENOENT {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	return nil
}
