// Package disk acts on block devices and images of them: it reads and writes
// GPTs, clears what was on a disk before, makes the kernel see new partitions,
// builds the command lines of mkfs, and mounts.
//
// It does not decide where partitions go (disk/layout does), nor which disk is
// meant: callers compare ReadIdentity with what was asked for before they
// write.
//
//	layout.Table --Wipe, WriteGPT, Reread--> partition nodes --MkfsCommand, Mount--> tree
package disk

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/sysfs"
)

// Device is a disk or an image of one.
type Device interface {
	io.ReaderAt
	io.WriterAt
	Size() int64     // bytes
	SectorSize() int // logical, bytes
	Sync() error
}

// File is a Device that is a file or a block device of this machine.
type File struct {
	*os.File
	size       int64
	sectorSize int
	block      bool
}

// Size implements Device.
func (f *File) Size() int64 { return f.size }

// SectorSize implements Device.
func (f *File) SectorSize() int { return f.sectorSize }

// Open opens a block device, or a regular file as a disk with sectors of 512
// bytes. A block device that is opened for writing is opened exclusively: the
// error wraps EBUSY when it is mounted, swapped to, or part of another device.
func Open(path string, flag int) (*File, error) {
	return open(path, flag, 512)
}

// OpenImage opens a regular file as a disk with sectors of the given size.
func OpenImage(path string, flag, sectorSize int) (*File, error) {
	return open(path, flag, sectorSize)
}

func open(path string, flag, sectorSize int) (*File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open disk: %w", err)
	}
	block := st.Mode()&os.ModeType == os.ModeDevice
	if !block && !st.Mode().IsRegular() {
		return nil, fmt.Errorf("open disk %s: neither a block device nor a file", path)
	}
	if block && flag&(os.O_WRONLY|os.O_RDWR) != 0 {
		flag |= unix.O_EXCL
	}
	file, err := os.OpenFile(path, flag, 0)
	if err != nil {
		return nil, fmt.Errorf("open disk: %w", err)
	}
	f := &File{File: file, size: st.Size(), sectorSize: sectorSize, block: block}
	if err := f.measure(); err != nil {
		return nil, errors.Join(fmt.Errorf("open disk %s: %w", path, err), file.Close())
	}
	return f, nil
}

// measure asks a block device for its size.
func (f *File) measure() (err error) {
	if !f.block {
		return nil
	}
	if f.size, err = f.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	f.sectorSize, err = unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	return err
}

// dropCache makes the next reads come from the medium, so that what was
// written can be verified. Sync first.
func (f *File) dropCache() error {
	if f.block {
		if err := unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0); err != nil && !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("flush buffers of %s: %w", f.Name(), err)
		}
		return nil
	}
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// PartitionPath is the node of partition n of a disk: /dev/sda1,
// /dev/nvme0n1p1. Links such as /dev/disk/by-id/... are followed, because
// theirs are named by udev, which may not be there.
func PartitionPath(disk string, n int) string {
	if target, err := filepath.EvalSymlinks(disk); err == nil {
		disk = target
	}
	if c := disk[len(disk)-1]; c >= '0' && c <= '9' {
		disk += "p"
	}
	return disk + strconv.Itoa(n)
}

// Identity is what a disk is known by. See sysfs.Disk.
type Identity = sysfs.Disk

// ReadIdentity reads the identity of a disk by its kernel name; root is "/" on
// the running system.
func ReadIdentity(root, name string) (Identity, error) {
	return sysfs.Root(root).Disk(name)
}

// KernelName is the kernel's name for a device node, through links: "sda" for
// /dev/disk/by-id/ata-....
func KernelName(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("find device: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(target, &st); err != nil {
		return "", fmt.Errorf("find device %s: %w", path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return "", fmt.Errorf("find device %s: not a block device", path)
	}
	link := fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	if dev, err := os.Readlink(link); err == nil {
		return filepath.Base(dev), nil
	}
	return filepath.Base(target), nil
}

// InUse lists what uses a disk or anything on it, by the kernel name; see
// sysfs.Root.InUse. On the running system it also asks the kernel for
// exclusive access, which finds users that leave no other trace.
func InUse(root, name string) ([]string, error) {
	users, err := sysfs.Root(root).InUse(name)
	if err != nil || len(users) > 0 || filepath.Clean(root) != "/" {
		return users, err
	}
	f, err := os.OpenFile(sysfs.Node(name), os.O_RDONLY|unix.O_EXCL, 0)
	switch {
	case errors.Is(err, syscall.EBUSY):
		return []string{sysfs.Node(name) + " held by the kernel"}, nil
	case err != nil:
		return nil, fmt.Errorf("ask for exclusive access: %w", err)
	}
	return nil, f.Close()
}
