package logwrites

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

// Attach makes a device a block device of this machine, with partitions, until
// the test ends, and returns its path: /dev/loopN. Programs use it as any disk.
// It needs root, loop devices and FUSE, but no QEMU.
func Attach(t testing.TB, dev Device) string {
	t.Helper()
	path, detach := attach(t, dev)
	t.Cleanup(func() {
		if err := detach(); err != nil {
			t.Errorf("%v", err)
		}
	})
	return path
}

// Record is Attach for a device of which a log is kept.
func Record(t testing.TB, dev Device, faults Faults) (string, *Recorder) {
	t.Helper()
	r := NewRecorder(dev, faults)
	return Attach(t, r), r
}

// With attaches a device for as long as use runs: for tests of many cuts.
func With(t testing.TB, dev Device, use func(path string)) {
	t.Helper()
	path, detach := attach(t, dev)
	defer func() {
		if err := detach(); err != nil {
			t.Errorf("%v", err)
		}
	}()
	use(path)
}

// Mount shows a device as the file at path, which is there, until the test ends: as a
// disk or a variable store for a virtual machine. It needs root and FUSE.
func Mount(t testing.TB, dev Device, path string) {
	t.Helper()
	needFUSE(t)
	wait, err := mountFile(dev, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unmount(path); err != nil {
			t.Error(err)
		}
		if err := wait(); err != nil {
			t.Error(err)
		}
	})
}

func attach(t testing.TB, dev Device) (path string, detach func() error) {
	t.Helper()
	needFUSE(t)
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		tooltest.Missing(t, "the kernel has no /dev/loop-control")
	}
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	wait, err := mountFile(dev, file)
	if err != nil {
		t.Fatal(err)
	}
	loop, err := openLoop(file, dev.SectorSize())
	if err != nil {
		t.Fatal(errors.Join(err, unix.Unmount(file, unix.MNT_DETACH), wait()))
	}
	return loop, func() error {
		return errors.Join(closeLoop(loop), unmount(file), wait())
	}
}

func needFUSE(t testing.TB) {
	t.Helper()
	tooltest.Root(t)
	if _, err := os.Stat("/dev/fuse"); err != nil {
		tooltest.Missing(t, "the kernel has no /dev/fuse")
	}
}

// openLoop makes a loop device over a file. Another process may take the free
// device first. No descriptor stays open: one of a process that is killed would
// be closed, and wait for its data to be written, before that of FUSE.
func openLoop(file string, sectorSize int) (path string, err error) {
	// Not os.Open: it asks the file whether it can be polled, in a system call
	// of which Go's scheduler does not know, and the answer is this process's.
	back, err := unix.Open(file, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("make loop device over %s: %w", file, err)
	}
	defer unix.Close(back)
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", fmt.Errorf("make loop device: %w", err)
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(back), Size: uint32(sectorSize)}
	config.Info.Flags = unix.LO_FLAGS_PARTSCAN
	for range 100 {
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", fmt.Errorf("find a free loop device: %w", err)
		}
		path := fmt.Sprintf("/dev/loop%d", n)
		loop, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return "", fmt.Errorf("make loop device: %w", err)
		}
		err = errors.Join(unix.IoctlLoopConfigure(int(loop.Fd()), &config), loop.Close())
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return "", fmt.Errorf("make loop device over %s: %w", file, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return "", fmt.Errorf("make loop device over %s: others took each that was free", file)
}

// closeLoop ends a loop device, when the last who has it open closes it.
func closeLoop(path string) error {
	loop, err := os.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("detach loop device: %w", err)
	}
	err = unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_CLR_FD, 0)
	if err = errors.Join(err, loop.Close()); err != nil {
		return fmt.Errorf("detach loop device: %w", err)
	}
	return nil
}

// unmount waits until the loop device has let go of the file: it does when the
// last who has it open, perhaps udev, closes it. A mount namespace that another
// program made meanwhile (ip netns exec does) has what was mounted, too, until it ends.
func unmount(file string) error {
	var err error
	for range 6000 {
		if err = unix.Unmount(file, 0); err == nil {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return errors.Join(fmt.Errorf("unmount %s: %w", file, err), unix.Unmount(file, unix.MNT_DETACH|unix.MNT_FORCE))
}
