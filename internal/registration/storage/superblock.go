package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/sysfs"
)

// mountsOf is where a device is mounted, the oldest mount first. A btrfs over
// several devices is mounted from one of them, which is how it is found.
func mountsOf(device string) ([]string, error) {
	mounts, err := sysfs.Root("/").Mounts()
	if err != nil {
		return nil, err
	}
	var list []string
	for _, m := range mounts {
		if strings.HasPrefix(m.Source, "/dev/") && sameDevice(m.Source, device) {
			list = append(list, m.Target)
		}
	}
	return list, nil
}

func sameDevice(a, b string) bool {
	var x, y unix.Stat_t
	return a == b || unix.Stat(a, &x) == nil && unix.Stat(b, &y) == nil && x.Rdev == y.Rdev && x.Mode&unix.S_IFMT == unix.S_IFBLK
}

func sizeOf(device string) (int64, error) {
	d, err := disk.Open(device, os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	return d.Size(), d.Close()
}

// syncFilesystem has all of a mounted file system on the medium.
func syncFilesystem(mounted string) error {
	f, err := os.Open(mounted)
	if err != nil {
		return err
	}
	err = unix.Syncfs(int(f.Fd()))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("flush %s: %w", mounted, err)
	}
	return nil
}

func readAt(device string, off int64, n int) ([]byte, error) {
	f, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err = f.ReadAt(b, off)
	return b, errors.Join(err, f.Close())
}

// blockSize is what sizes of a format are whole numbers of; 0: it is not known
// here.
func blockSize(format, device string) (int64, error) {
	switch format {
	case "ext2", "ext3", "ext4":
		b, err := readAt(device, 1024, 1024)
		if err != nil {
			return 0, err
		}
		return 1 << (10 + min(binary.LittleEndian.Uint32(b[0x18:]), 6)), nil // s_log_block_size
	case "xfs":
		b, err := readAt(device, 0, 512)
		if err != nil {
			return 0, err
		}
		return int64(binary.BigEndian.Uint32(b[4:])), nil // sb_blocksize
	case "btrfs":
		return 4096, nil
	}
	return 0, nil
}

// interrupted says whether resize2fs was: it marks the file system as one with
// errors while it works, and the kernel, which marks it for those that it
// finds, counts them (s_state and s_error_count,
// Documentation/filesystems/ext4/super.rst).
func (f *Filesystem) interrupted(device string) (bool, error) {
	if !strings.HasPrefix(f.Volume.Type, "ext") {
		return false, nil
	}
	b, err := readAt(device, 1024, 1024)
	if err != nil {
		return false, err
	}
	return binary.LittleEndian.Uint16(b[0x3a:])&2 != 0 && binary.LittleEndian.Uint32(b[0x194:]) == 0, nil
}

// btrfsDevice asks a mounted btrfs for the number and the size of a device:
// what is on the medium may be of the transaction before. The number is in the
// superblock (btrfs_super_block in include/uapi/linux/btrfs_tree.h); the answer
// is struct btrfs_ioctl_dev_info_args of include/uapi/linux/btrfs.h.
func btrfsDevice(device, mounted string) (id uint64, size int64, err error) {
	b, err := readAt(device, 0x10000, 4096)
	if err != nil {
		return 0, 0, err
	}
	id = binary.LittleEndian.Uint64(b[0xc9:]) // dev_item.devid
	var info struct {
		ID        uint64
		UUID      [16]byte
		BytesUsed uint64
		Total     uint64
		rest      [4096 - 40]byte
	}
	info.ID = id
	f, err := os.Open(mounted)
	if err != nil {
		return id, 0, err
	}
	defer f.Close()
	const devInfo = 3<<30 | 4096<<16 | 0x94<<8 | 30 // BTRFS_IOC_DEV_INFO
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), devInfo, uintptr(unsafe.Pointer(&info))); errno != 0 {
		return id, 0, fmt.Errorf("ask btrfs on %s for device %d: %w", mounted, id, errno)
	}
	return id, int64(info.Total), nil
}
