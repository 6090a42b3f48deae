package finish

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The numbers of the ioctls by which mounted file systems grow; systemd-growfs(8)
// uses the same. They take no programs of the system.
const (
	ext4ResizeFS  = 0x40086610 // EXT4_IOC_RESIZE_FS, Documentation/admin-guide/ext4.rst: blocks
	btrfsResize   = 0x50009403 // BTRFS_IOC_RESIZE, include/uapi/linux/btrfs.h
	xfsGeometryV1 = 0x80705864 // XFS_IOC_FSGEOMETRY_V1, fs/xfs/libxfs/xfs_fs.h
	xfsGrowData   = 0x4010586e // XFS_IOC_FSGROWFSDATA

	ext4Magic  = 0xef53
	btrfsMagic = 0x9123683e
	xfsMagic   = 0x58465342
)

// Online has the file system that is mounted at a directory take all of its
// device.
func Online(mountpoint string) error {
	f, err := os.Open(mountpoint)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return err
	}
	switch uint32(st.Type) {
	case ext4Magic:
		return growBlocks(f, ext4ResizeFS, uint64(st.Bsize), nil)
	case btrfsMagic:
		args := make([]byte, 4096) // s64 fd, char name[4088]
		copy(args[8:], "max")
		return ioctl(f, btrfsResize, unsafe.Pointer(&args[0]))
	case xfsMagic:
		return growXFS(f)
	}
	return fmt.Errorf("a file system of type %#x does not grow while it is mounted", st.Type)
}

// growBlocks hands the number of blocks of the device to an ioctl, and what
// follows it.
func growBlocks(f *os.File, request uintptr, block uint64, more []byte) error {
	size, err := deviceSize(f)
	if err != nil {
		return err
	}
	arg := append(binary.NativeEndian.AppendUint64(nil, size/block), more...)
	return ioctl(f, request, unsafe.Pointer(&arg[0]))
}

// growXFS keeps the share that inodes may take.
func growXFS(f *os.File) error {
	geometry := make([]byte, 112) // struct xfs_fsop_geom_v1
	if err := ioctl(f, xfsGeometryV1, unsafe.Pointer(&geometry[0])); err != nil {
		return err
	}
	ne := binary.NativeEndian
	block, inodes := uint64(ne.Uint32(geometry)), geometry[28:32]
	err := growBlocks(f, xfsGrowData, block, append(bytes.Clone(inodes), 0, 0, 0, 0))
	if errors.Is(err, unix.EINVAL) { // it has the size, or what is left is too small for another group
		return nil
	}
	return err
}

// deviceSize is the size of the device that a file is on, in bytes.
func deviceSize(f *os.File) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, err
	}
	name := fmt.Sprintf("/sys/dev/block/%d:%d/size", unix.Major(st.Dev), unix.Minor(st.Dev))
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	var sectors uint64
	if _, err := fmt.Sscan(string(text), &sectors); err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return sectors * 512, nil
}

func blkdiscard(f *os.File, r Range) error {
	arg := [2]uint64{uint64(r.Offset), uint64(r.Size)}
	return ioctl(f, unix.BLKDISCARD, unsafe.Pointer(&arg[0]))
}

func ioctl(f *os.File, request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), request, uintptr(arg)); errno != 0 {
		return &os.PathError{Op: fmt.Sprintf("ioctl %#x", request), Path: f.Name(), Err: errno}
	}
	return nil
}
