package disk

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/sysfs"
)

// flags are the mount options that are bits of mount(2); a false bit clears.
var flags = map[string]struct {
	bit uintptr
	set bool
}{
	"ro": {unix.MS_RDONLY, true}, "rw": {unix.MS_RDONLY, false},
	"nosuid": {unix.MS_NOSUID, true}, "suid": {unix.MS_NOSUID, false},
	"nodev": {unix.MS_NODEV, true}, "dev": {unix.MS_NODEV, false},
	"noexec": {unix.MS_NOEXEC, true}, "exec": {unix.MS_NOEXEC, false},
	"sync": {unix.MS_SYNCHRONOUS, true}, "async": {unix.MS_SYNCHRONOUS, false},
	"dirsync": {unix.MS_DIRSYNC, true}, "mand": {unix.MS_MANDLOCK, true}, "nomand": {unix.MS_MANDLOCK, false},
	"noatime": {unix.MS_NOATIME, true}, "atime": {unix.MS_NOATIME, false},
	"nodiratime": {unix.MS_NODIRATIME, true}, "diratime": {unix.MS_NODIRATIME, false},
	"relatime": {unix.MS_RELATIME, true}, "norelatime": {unix.MS_RELATIME, false},
	"strictatime": {unix.MS_STRICTATIME, true}, "lazytime": {unix.MS_LAZYTIME, true},
	"nosymfollow": {unix.MS_NOSYMFOLLOW, true}, "silent": {unix.MS_SILENT, true},
}

// forFstab are options that mean something to mount(8) and systemd, and
// nothing to the kernel.
var forFstab = []string{"defaults", "auto", "noauto", "nofail", "user", "nouser", "users", "owner", "group", "_netdev"}

// binding are the options that have a directory seen in a second place.
var binding = map[string]uintptr{"bind": unix.MS_BIND, "rbind": unix.MS_BIND | unix.MS_REC}

// mountOptions splits options as mount(8) does: bits, and text for the file
// system.
func mountOptions(options []string) (bits uintptr, data string) {
	var rest []string
	for _, o := range strings.Split(strings.Join(options, ","), ",") {
		f, known := flags[o]
		switch {
		case known && f.set:
			bits |= f.bit
		case known:
			bits &^= f.bit
		case binding[o] != 0:
			bits |= binding[o]
		case o == "" || slices.Contains(forFstab, o), strings.HasPrefix(o, "x-"), strings.HasPrefix(o, "X-"), strings.HasPrefix(o, "comment="):
		default:
			rest = append(rest, o)
		}
	}
	return bits, strings.Join(rest, ",")
}

// Mount mounts a file system on a directory, which is made if missing.
// Options are those of fstab.
func Mount(source, target, fstype string, options []string) error {
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("mount %s: %w", source, err)
	}
	bits, data := mountOptions(options)
	if bits&unix.MS_BIND != 0 {
		return bind(source, target, bits)
	}
	if err := unix.Mount(source, target, fstype, bits, data); err != nil {
		return fmt.Errorf("mount %s (%s) on %s: %w", source, fstype, target, err)
	}
	return nil
}

// bind has a directory seen in a second place. The kernel takes the flags of
// that mount, such as ro, from a second call only.
func bind(source, target string, bits uintptr) error {
	const kind = unix.MS_BIND | unix.MS_REC
	if err := unix.Mount(source, target, "", bits&kind, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", source, target, err)
	}
	if bits&^kind == 0 {
		return nil
	}
	if err := unix.Mount("", target, "", unix.MS_REMOUNT|unix.MS_BIND|bits&^kind, ""); err != nil {
		return errors.Join(fmt.Errorf("bind %s to %s with its options: %w", source, target, err), Unmount(target))
	}
	return nil
}

// Unmount ends a mount, and with it the loop device of MountImage.
func Unmount(target string) error {
	if err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW); err != nil {
		return fmt.Errorf("unmount %s: %w", target, err)
	}
	return nil
}

// UnmountAll ends all mounts at and below a directory, the deepest and newest
// first. It goes on after an error.
func UnmountAll(prefix string) error {
	mounts, err := sysfs.Root("/").Mounts()
	if err != nil {
		return err
	}
	prefix = path.Clean(prefix)
	var errs []error
	for _, m := range slices.Backward(mounts) {
		if m.Target == prefix || strings.HasPrefix(m.Target, strings.TrimSuffix(prefix, "/")+"/") {
			errs = append(errs, Unmount(m.Target))
		}
	}
	return errors.Join(errs...)
}

// MountImage mounts an image of a read-only file system: a block device that
// begins with it, or a file. A file is mounted as it is where the kernel can
// (erofs since Linux 6.12, not from tmpfs), otherwise through a loop device
// that goes away with the mount.
func MountImage(image, fstype, target string) error {
	st, err := os.Stat(image)
	if err != nil {
		return fmt.Errorf("mount image: %w", err)
	}
	options := []string{"ro", "nodev", "nosuid"}
	if !st.Mode().IsRegular() {
		return Mount(image, target, fstype, options)
	}
	if fstype == "erofs" {
		err := Mount(image, target, fstype, options)
		if !errors.Is(err, unix.ENOTBLK) {
			return err
		}
	}
	loop, err := attachLoop(image)
	if err != nil {
		return fmt.Errorf("mount image %s: %w", image, err)
	}
	// With autoclear the mount keeps the loop device; without a mount the
	// close ends it.
	return errors.Join(Mount(loop.Name(), target, fstype, options), loop.Close())
}

// attachLoop makes a read-only loop device of a file.
func attachLoop(image string) (*os.File, error) {
	backing, err := os.Open(image)
	if err != nil {
		return nil, err
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer control.Close()
	config := unix.LoopConfig{Fd: uint32(backing.Fd())}
	config.Info.Flags = unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR
	for range 64 { // another process may take the free one first
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return nil, fmt.Errorf("find a free loop device: %w", err)
		}
		loop, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", n), os.O_RDONLY, 0)
		if err != nil {
			return nil, err
		}
		if err = unix.IoctlLoopConfigure(int(loop.Fd()), &config); err == nil {
			return loop, nil
		}
		if err := errors.Join(err, loop.Close()); !errors.Is(err, unix.EBUSY) {
			return nil, fmt.Errorf("set up %s: %w", loop.Name(), err)
		}
	}
	return nil, errors.New("find a free loop device: all are taken at once")
}
