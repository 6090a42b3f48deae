package watchdog

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// timer is an open /dev/watchdogN (linux/watchdog.h). Times are in seconds.
type timer interface {
	Info() (Info, error)
	Timeout() (int, error)
	SetTimeout(seconds int) (int, error) // returns what it became
	Ping() error
	// Release closes the device so that its timer stops ("magic close"), unless
	// that is forbidden.
	Release() error
}

// Info is what a driver says of its device.
type Info struct {
	Identity   string
	SetTimeout bool // the timeout can be chosen
}

// file is the kernel's.
type file struct{ f *os.File }

func open(path string) (timer, error) {
	// Nothing of it can wait: no need for the poller, which would make the
	// descriptor non-blocking.
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return file{os.NewFile(uintptr(fd), path)}, nil
}

func (t file) Info() (Info, error) {
	info, err := unix.IoctlGetWatchdogInfo(int(t.f.Fd()))
	if err != nil {
		return Info{}, err
	}
	return Info{
		Identity:   unix.ByteSliceToString(info.Identity[:]),
		SetTimeout: info.Options&unix.WDIOF_SETTIMEOUT != 0,
	}, nil
}

func (t file) Timeout() (int, error) {
	return unix.IoctlGetInt(int(t.f.Fd()), unix.WDIOC_GETTIMEOUT)
}

func (t file) SetTimeout(seconds int) (int, error) {
	if err := unix.IoctlSetPointerInt(int(t.f.Fd()), unix.WDIOC_SETTIMEOUT, seconds); err != nil {
		return 0, fmt.Errorf("%d s: %w", seconds, err)
	}
	return t.Timeout()
}

func (t file) Ping() error { return unix.IoctlWatchdogKeepalive(int(t.f.Fd())) }

func (t file) Release() error {
	_, err := t.f.WriteString("V")
	return errors.Join(err, t.f.Close())
}
