package appliance

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/tool"
)

// MountState mounts the state on StateDir, and has its file system fill the
// partition. One that the kernel refuses is repaired first. It returns the size of
// the file system in bytes.
func (c Card) MountState(ctx context.Context, need func(module string) error, run tool.Runner) (int64, error) {
	if err := errors.Join(need("ext4"), os.MkdirAll(StateDir, 0o755)); err != nil {
		return 0, err
	}
	size, err := mountState(ctx, c.state, StateDir, run)
	if err != nil {
		return 0, fmt.Errorf("mount the state of %s: %w", c.disk, err)
	}
	return size, nil
}

func mountState(ctx context.Context, device, dir string, run tool.Runner) (int64, error) {
	mount := func() error {
		// After an error nothing more is written: what is there stays readable.
		err := unix.Mount(device, dir, "ext4", unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOATIME, "errors=remount-ro")
		if err != nil {
			return fmt.Errorf("mount %s: %w", device, err)
		}
		return nil
	}
	if err := mount(); err != nil {
		if sick := disk.Fsck(ctx, run, "ext4", device, true); sick != nil {
			return 0, errors.Join(err, sick)
		}
		if err := mount(); err != nil {
			return 0, err
		}
	}
	return grow(device, dir)
}

// resizeFS is EXT4_IOC_RESIZE_FS, _IOW('f', 16, __u64) of fs/ext4/ext4.h: the
// kernel grows a mounted file system to a number of blocks, under its journal.
const resizeFS = 1<<30 | 8<<16 | 'f'<<8 | 16

// grow has the mounted file system of a device fill it, and returns its size. One
// that was not done before the power went is gone on with.
func grow(device, dir string) (int64, error) {
	f, err := os.Open(device)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	blocks, blockSize, err := extent(f)
	if err != nil {
		return 0, err
	}
	want := uint64(size / blockSize)
	if want <= blocks {
		return int64(blocks) * blockSize, nil
	}
	root, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer root.Close()
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, root.Fd(), resizeFS, uintptr(unsafe.Pointer(&want))); errno != 0 {
		return 0, fmt.Errorf("grow %s from %d to %d blocks: %w", device, blocks, want, errno)
	}
	return int64(want) * blockSize, nil
}

// extent reads the superblock of an ext4: its number of blocks and their size in
// bytes (Documentation/filesystems/ext4/super.rst).
func extent(r io.ReaderAt) (blocks uint64, blockSize int64, err error) {
	b := make([]byte, 1024)
	if _, err := r.ReadAt(b, 1024); err != nil {
		return 0, 0, err
	}
	le := binary.LittleEndian
	exponent := le.Uint32(b[24:])
	if le.Uint16(b[56:]) != 0xef53 || exponent > 6 {
		return 0, 0, errors.New("it has no ext4")
	}
	blocks = uint64(le.Uint32(b[4:]))
	if le.Uint32(b[96:])&0x80 != 0 { // 64bit
		blocks |= uint64(le.Uint32(b[336:])) << 32
	}
	return blocks, 1024 << exponent, nil
}
