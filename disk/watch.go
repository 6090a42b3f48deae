package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// watch is an inotify(7) watch of one path.
type watch struct{ f *os.File }

func newWatch(path string, mask uint32) (*watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", path, err)
	}
	w := &watch{os.NewFile(uintptr(fd), "inotify")}
	if _, err := unix.InotifyAddWatch(fd, path, mask); err != nil {
		return nil, errors.Join(fmt.Errorf("watch %s: %w", path, err), w.f.Close())
	}
	return w, nil
}

func (w *watch) close() { _ = w.f.Close() } // nothing is lost with it

// lookAgain is how long a watch waits for an event. A close is told before the
// device is let go of (fs/file_table.c, __fput): who looks at once may be too
// early, and there is no other event.
const lookAgain = 50 * time.Millisecond

// wait returns after the next events, or when it is time to look again.
func (w *watch) wait(ctx context.Context) error {
	if err := w.f.SetReadDeadline(time.Now().Add(lookAgain)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = w.f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err := w.f.Read(make([]byte, 64<<10))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx) // nil while there is time
	}
	return err
}

// retry tries f, and again after each event, until it succeeds or fails with
// another error than again, or ctx ends.
func (w *watch) retry(ctx context.Context, again error, f func() error) error {
	for {
		err := f()
		if err == nil || !errors.Is(err, again) {
			return err
		}
		if stopped := w.wait(ctx); stopped != nil {
			return fmt.Errorf("%w: %w", err, stopped)
		}
	}
}
