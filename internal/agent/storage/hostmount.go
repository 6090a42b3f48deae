package storage

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/tool"
)

// Mounts implements Mounts.
func (Host) Mounts(dir string) ([]Mount, error) {
	all, err := system.Mounts()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(m Mount) bool {
		return m.Target != dir && !strings.HasPrefix(m.Target, strings.TrimSuffix(dir, "/")+"/")
	}), nil
}

// Mounted implements Mounts.
func (Host) Mounted(m Mount, source, fstype string, options []string) (bool, error) {
	if slices.ContainsFunc(options, func(o string) bool { return o == "bind" || o == "rbind" }) {
		want, err := os.Stat(source)
		if err != nil {
			return false, err
		}
		got, err := os.Stat(m.Target)
		return err == nil && os.SameFile(want, got), err
	}
	if m.Type != fstype {
		return false, nil
	}
	if !strings.HasPrefix(source, "/dev/") {
		return m.Source == source || strings.HasPrefix(source, "UUID="), nil
	}
	name, err := disk.KernelName(source)
	if err != nil {
		return false, err
	}
	if fstype != "btrfs" {
		dev, err := system.Text("sys/class/block", name, "dev")
		return m.Dev == dev && m.Root == "/", err
	}
	other, err := disk.KernelName(m.Source)
	return err == nil && sameBtrfs(name, other) && (subvolume(options) == "" || m.Root == subvolume(options)), nil
}

// subvolume is the root of a mount with option subvol=; "" without one.
func subvolume(options []string) string {
	for _, o := range strings.Split(strings.Join(options, ","), ",") {
		if v, ok := strings.CutPrefix(o, "subvol="); ok {
			return path.Clean("/" + v)
		}
	}
	return ""
}

// sameBtrfs says whether two devices, by kernel name, are of one btrfs.
func sameBtrfs(a, b string) bool {
	if a == b {
		return true
	}
	both, _ := filepath.Glob("/sys/fs/btrfs/*/devices/" + a) // the pattern is fine
	return slices.ContainsFunc(both, func(p string) bool {
		_, err := os.Stat(filepath.Join(filepath.Dir(p), b))
		return err == nil
	})
}

// helpers are file systems that mount(2) alone cannot mount.
var helpers = []string{"zfs", "bcachefs"}

// Mount implements Mounts.
func (h Host) Mount(ctx context.Context, source, dir, fstype string, options []string) error {
	if !slices.Contains(helpers, fstype) {
		if fstype == "btrfs" {
			// Where no udev does it, the members have to be made known.
			if _, err := h.Tools.Run(ctx, tool.Cmd{Name: "btrfs", Args: []string{"device", "scan", source}}); err != nil && !errors.Is(err, tool.ErrNotFound) {
				return err
			}
		}
		return disk.Mount(source, dir, fstype, options)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	args := []string{"-t", fstype, "-o", strings.Join(options, ","), source, dir}
	_, err := h.Tools.Run(ctx, tool.Cmd{Name: "mount", Args: args})
	return err
}

// WithMount implements Mounts.
func (h Host) WithMount(ctx context.Context, source, fstype string, f func(dir string) error) (err error) {
	dir, err := os.MkdirTemp("", "vic-mount-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	if err := h.Mount(ctx, source, dir, fstype, []string{"defaults"}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.Unmount(context.WithoutCancel(ctx), dir)) }()
	return f(dir)
}

// busyFor is how long Unmount waits for a program that is about to end.
const busyFor = 5 * time.Second

// Unmount implements Mounts.
func (Host) Unmount(ctx context.Context, dir string) error {
	for end := time.Now().Add(busyFor); ; {
		err := disk.Unmount(dir)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// SwappedTo implements Mounts.
func (Host) SwappedTo(area string) (bool, error) {
	want, err := os.Stat(area)
	if err != nil {
		return false, err
	}
	swaps, err := system.Swaps()
	if err != nil {
		return false, err
	}
	for _, s := range swaps {
		if got, err := os.Stat(s.Path); err == nil && sameNode(want, got) {
			return true, nil
		}
	}
	return false, nil
}

// sameNode: two nodes of one device are two files.
func sameNode(a, b os.FileInfo) bool {
	x, ok1 := a.Sys().(*syscall.Stat_t)
	y, ok2 := b.Sys().(*syscall.Stat_t)
	return os.SameFile(a, b) || ok1 && ok2 && x.Rdev != 0 && x.Rdev == y.Rdev
}

// SwapOn implements Mounts.
func (Host) SwapOn(area string, priority *int, options []string) error {
	return disk.SwapOn(area, priority, options)
}

// SwapOff implements Mounts.
func (Host) SwapOff(area string) error { return disk.SwapOff(area) }
