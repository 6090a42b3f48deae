package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/kmod"
)

// modules are what the disks, the event port and the file systems need.
var modules = []string{"virtio_pci", "virtio_blk", "virtio_console", "ext4"}

// The bundle's system image, which has the modules, and where it is mounted.
const (
	systemImage = "/system.erofs"
	system      = "/system"
)

// prepare mounts what every program expects, and loads the modules.
func prepare(ctx context.Context) error {
	for _, m := range []struct{ kind, dir string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := os.MkdirAll(m.dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.dir, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.dir, err)
		}
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return err
	}
	tree := filepath.Join("/usr/lib/modules", unix.ByteSliceToString(name.Release[:]))
	if err := load(ctx, tree, "erofs"); err != nil {
		return err
	}
	if err := os.MkdirAll(system, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(systemImage, system, "erofs", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount %s: %w", systemImage, err)
	}
	return load(ctx, system+tree, modules...)
}

func load(ctx context.Context, dir string, names ...string) error {
	tree, err := kmod.Open(dir)
	if err != nil {
		return err
	}
	loader := kmod.Loader{Insert: kmod.Finit, Parallel: 2}
	_, err = loader.Load(ctx, tree, names...)
	return err
}

// eventually calls f until it finds something: devices appear a moment after
// their modules.
func eventually(f func() (string, bool)) (string, bool) {
	for range 100 {
		if path, ok := f(); ok {
			return path, true
		}
		time.Sleep(50 * time.Millisecond)
	}
	return "", false
}

func eventPort() (*os.File, error) {
	path, ok := eventually(func() (string, bool) {
		return named("/sys/class/virtio-ports/*/name", event.Port)
	})
	if !ok {
		return nil, errNoPort
	}
	return os.OpenFile(path, os.O_WRONLY, 0)
}

// disk finds a disk by its serial number.
func disk(serial string) (string, error) {
	path, ok := eventually(func() (string, bool) { return named("/sys/block/*/serial", serial) })
	if !ok {
		return "", fmt.Errorf("find disk with serial number %s: there is none", serial)
	}
	return path, nil
}

// named returns the device node of the attribute that has a value.
func named(pattern, value string) (string, bool) {
	files, _ := filepath.Glob(pattern) // the pattern is well-formed
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) == value {
			return "/dev/" + filepath.Base(filepath.Dir(f)), true
		}
	}
	return "", false
}
