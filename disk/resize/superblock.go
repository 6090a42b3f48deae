package resize

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// read reads n bytes of a device, and checks the magic at a place in them.
func read(device string, off int64, n, magicAt int, magic string) ([]byte, error) {
	f, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err = f.ReadAt(b, off)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if got := string(b[magicAt : magicAt+len(magic)]); got != magic {
		return nil, fmt.Errorf("it does not hold one: %q instead of %q", got, magic)
	}
	return b, nil
}

var le, be = binary.LittleEndian, binary.BigEndian

// within refuses numbers that no sound content has.
func within(count, unit uint64) (int64, error) {
	if unit == 0 || unit > 1<<30 || count > 1<<62/unit {
		return 0, fmt.Errorf("%d units of %d bytes", count, unit)
	}
	return int64(count * unit), nil
}

// extBlocks reads the superblock of ext2, 3 and 4
// (Documentation/filesystems/ext4/super.rst).
func extBlocks(device string) (count, size uint64, err error) {
	b, err := read(device, 1024, 1024, 0x38, "\x53\xef")
	if err != nil {
		return 0, 0, err
	}
	count = uint64(le.Uint32(b[4:]))
	if le.Uint32(b[0x60:])&0x80 != 0 { // INCOMPAT_64BIT
		count |= uint64(le.Uint32(b[0x150:])) << 32
	}
	return count, 1 << (10 + min(le.Uint32(b[0x18:]), 20)), nil
}

// extResizing tells whether resize2fs has been interrupted: it marks the file
// system as one with errors while it works, and the kernel, which marks it for
// errors that it finds, counts those.
func extResizing(device string) (bool, error) {
	const (
		state, hasErrors = 0x3a, 2 // s_state, EXT2_ERROR_FS
		errorCount       = 0x194   // s_error_count
	)
	b, err := read(device, 1024, 1024, 0x38, "\x53\xef")
	if err != nil {
		return false, err
	}
	return le.Uint16(b[state:])&hasErrors != 0 && le.Uint32(b[errorCount:]) == 0, nil
}

// xfsBlocks reads the superblock of XFS (xfs_dsb in fs/xfs/libxfs/xfs_format.h).
func xfsBlocks(device string) (count, size uint64, err error) {
	b, err := read(device, 0, 512, 0, "XFSB")
	if err != nil {
		return 0, 0, err
	}
	return be.Uint64(b[8:]), uint64(be.Uint32(b[4:])), nil
}

// btrfsDevice reads the device item in the superblock of btrfs
// (btrfs_super_block in include/uapi/linux/btrfs_tree.h): the number of this
// device, and its size in bytes.
func btrfsDevice(device string) (id, size uint64, err error) {
	b, err := read(device, 0x10000, 4096, 0x40, "_BHRfS_M")
	if err != nil {
		return 0, 0, err
	}
	return le.Uint64(b[0xc9:]), le.Uint64(b[0xd1:]), nil
}

// ntfsGeometry reads the boot sector of NTFS. Its number of sectors leaves out
// the backup of the boot sector, which follows.
func ntfsGeometry(device string) (sectors, sector, cluster uint64, err error) {
	b, err := read(device, 0, 512, 3, "NTFS    ")
	if err != nil {
		return 0, 0, 0, err
	}
	sector = uint64(le.Uint16(b[11:]))
	per := uint64(b[13])
	if per > 128 { // a power of two, negated
		per = 1 << (256 - per)
	}
	if sector == 0 || per == 0 {
		return 0, 0, 0, errors.New("its boot sector has no sizes")
	}
	return le.Uint64(b[40:]), sector, sector * per, nil
}
