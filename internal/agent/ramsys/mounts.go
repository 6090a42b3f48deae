package ramsys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// fileSystem is one mount(2).
type fileSystem struct {
	source, target, kind string
	flags                uintptr
	options              string
}

const secure = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// early are the file systems that everything else needs, in order.
func early() []fileSystem {
	return []fileSystem{
		{"proc", "/proc", "proc", secure, ""},
		{"sysfs", "/sys", "sysfs", secure, ""},
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666"},
		{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
		{"tmpfs", "/tmp", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	}
}

// mountAll mounts what is not mounted yet: the kernel itself mounts devtmpfs
// (CONFIG_DEVTMPFS_MOUNT) in some configurations.
func mountAll(list []fileSystem) error {
	var errs []error
	for _, m := range list {
		errs = append(errs, m.mount())
	}
	return errors.Join(errs...)
}

func (m fileSystem) mount() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return fmt.Errorf("mount %s: %w", m.target, err)
	}
	err := unix.Mount(m.source, m.target, m.kind, m.flags, m.options)
	if err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mount %s %s on %s: %w", m.kind, m.source, m.target, err)
	}
	return nil
}

// mountEFIVars mounts the EFI variables on a machine that booted with UEFI.
func mountEFIVars() error {
	const dir = "/sys/firmware/efi/efivars"
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fileSystem{"efivarfs", dir, "efivarfs", secure, ""}.mount()
}

// links are the links below /dev and /etc that programs expect.
func links() map[string]string {
	return map[string]string{
		"/dev/fd":          "/proc/self/fd",
		"/dev/stdin":       "/proc/self/fd/0",
		"/dev/stdout":      "/proc/self/fd/1",
		"/dev/stderr":      "/proc/self/fd/2",
		"/etc/mtab":        "../proc/self/mounts",
		"/etc/resolv.conf": "../run/vic/resolv.conf",
	}
}

// prepareTree makes the links and folders that the initramfs need not carry.
func prepareTree() error {
	var errs []error
	for _, dir := range []string{runDir, "/etc", "/root", "/mnt", "/var/tmp", commandDir} {
		errs = append(errs, os.MkdirAll(dir, 0o755))
	}
	for link, target := range links() {
		if err := os.Symlink(target, link); !errors.Is(err, fs.ErrExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, writeCommands(commandDir, commandDir+"/vic-init"), setModprobe())...)
}
