package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/download"
	"github.com/victorinix/vic/internal/agent/writeback"
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

// downloadPayload fetches the payload into such a file.
func (t target) downloadPayload(ctx context.Context, a plan.DownloadPayload, progress func(int64)) error {
	f, err := t.create(a.Path)
	if err != nil {
		return err
	}
	told := time.Now()
	err = download.To(ctx, a.URL, &inOrder{f: f, size: a.Size}, func(done, _ int64) {
		if now := time.Now(); done == a.Size || now.Sub(told) >= hashReport {
			told = now
			progress(done)
		}
	})
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// inOrder writes a file in order, up to its size, and back to the disk as it goes.
type inOrder struct {
	f          *os.File
	done, size int64
}

func (w *inOrder) Write(p []byte) (int, error) {
	if w.done+int64(len(p)) > w.size {
		return 0, fmt.Errorf("the payload has %d bytes, and more came", w.size)
	}
	n, err := w.f.Write(p)
	writeback.Advance(w.f, w.done, w.done+int64(n))
	w.done += int64(n)
	return n, err
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
