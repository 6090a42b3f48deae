package flash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/udev"
	"github.com/victorinix/vic/internal/tool"
)

// page is what direct I/O is aligned to, in memory and on files.
const page = 4096

// aligned allocates bytes that direct I/O can use.
func aligned(n int) []byte {
	return alignedIn(make([]byte, n+page))
}

// alignedIn is the aligned part of storage, which is a page larger.
func alignedIn(storage []byte) []byte {
	n := len(storage) - page
	skip := -int(uintptr(unsafe.Pointer(&storage[0]))) & (page - 1)
	return storage[skip : skip+n : skip+n]
}

func isAligned(b []byte) bool {
	return len(b) > 0 && uintptr(unsafe.Pointer(&b[0]))%page == 0
}

// hostDevice is a Device that is a block device or a file of this machine.
type hostDevice struct {
	file   *os.File
	block  bool
	direct bool  // reads and writes go past the page cache
	unit   int64 // what offsets and lengths of direct I/O are multiples of
	sector int
	size   int64 // math.MaxInt64: a file that takes the size of the image
	narrow sync.Mutex
}

// OpenBlock opens a block device that nothing else uses: the error wraps EBUSY
// otherwise.
func OpenBlock(path string) (Device, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_EXCL|unix.O_DIRECT, 0)
	if err != nil {
		return nil, fmt.Errorf("open device: %w", err)
	}
	d := &hostDevice{file: f, block: true, direct: true}
	if d.size, err = f.Seek(0, io.SeekEnd); err == nil {
		d.sector, err = unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open device: %w", err), f.Close())
	}
	d.unit = int64(d.sector)
	return d, nil
}

// OpenFile makes an empty file of a size, with holes; size 0: that of the image.
// What the file held is lost. A private one can be read by its owner alone, from
// the beginning.
func OpenFile(path string, size int64, private bool) (Device, error) {
	const flags = os.O_RDWR | os.O_CREATE | os.O_TRUNC
	d := &hostDevice{direct: true, unit: page, sector: 512, size: size}
	mode := os.FileMode(0o644)
	if private {
		mode = 0o600
	}
	var err error
	if d.file, err = os.OpenFile(path, flags|unix.O_DIRECT, mode); errors.Is(err, unix.EINVAL) {
		d.direct = false // a file system that has none
		d.file, err = os.OpenFile(path, flags, mode)
	}
	if err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}
	if private { // one that was there before
		if err := d.file.Chmod(mode); err != nil {
			return nil, errors.Join(fmt.Errorf("open file: %w", err), d.file.Close())
		}
	}
	if size == 0 {
		d.size = math.MaxInt64
		return d, nil
	}
	if err := d.file.Truncate(size); err != nil {
		return nil, errors.Join(err, d.file.Close())
	}
	return d, nil
}

func (d *hostDevice) Size() int64     { return d.size }
func (d *hostDevice) SectorSize() int { return d.sector }
func (d *hostDevice) Close() error    { return d.file.Close() }

// Sync makes everything durable; what is read next comes from the medium.
func (d *hostDevice) Sync() error {
	if err := unix.Fdatasync(int(d.file.Fd())); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	if d.direct {
		return nil
	}
	return unix.Fadvise(int(d.file.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// fits says whether a request can go to the medium as it is.
func (d *hostDevice) fits(b []byte, off int64) bool {
	return !d.direct || isAligned(b) && off%d.unit == 0 && int64(len(b))%d.unit == 0
}

// ReadAt implements io.ReaderAt.
func (d *hostDevice) ReadAt(b []byte, off int64) (int, error) {
	if d.fits(b, off) {
		return d.pread(b, off)
	}
	start := off - off%d.unit
	wide := aligned(int(roundUp(off+int64(len(b)), d.unit) - start))
	n, err := d.pread(wide, start)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	n = copy(b, wide[min(int64(n), off-start):n])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// pread does not go on after a short read, which is the end: the rest would not
// be aligned.
func (d *hostDevice) pread(b []byte, off int64) (int, error) {
	for {
		n, err := unix.Pread(int(d.file.Fd()), b, off)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n < len(b):
			return n, io.EOF
		default:
			return n, nil
		}
	}
}

// WriteAt implements io.WriterAt.
func (d *hostDevice) WriteAt(b []byte, off int64) (int, error) {
	if d.fits(b, off) {
		return d.file.WriteAt(b, off)
	}
	d.narrow.Lock()
	defer d.narrow.Unlock()
	start := off - off%d.unit
	wide := aligned(int(roundUp(off+int64(len(b)), d.unit) - start))
	if _, err := d.pread(wide, start); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	copy(wide[off-start:], b)
	if _, err := d.file.WriteAt(wide, start); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Zero punches a hole. For block devices the kernel does so only where the device
// has a command for it (REQ_OP_WRITE_ZEROES), and says EOPNOTSUPP otherwise: it
// does not write zeroes itself, as it does for BLKZEROOUT (block/fops.c,
// blkdev_fallocate).
func (d *hostDevice) Zero(off, size int64) (bool, error) {
	if !d.block {
		return true, nil // the file was empty
	}
	err := unix.Fallocate(int(d.file.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, size)
	return supported(err)
}

// Discard is BLKDISCARD.
func (d *hostDevice) Discard(off, size int64) (bool, error) {
	if !d.block {
		return false, nil
	}
	args := [2]uint64{uint64(off), uint64(size)}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.file.Fd(), unix.BLKDISCARD, uintptr(unsafe.Pointer(&args)))
	if errno == 0 {
		return true, nil
	}
	return supported(errno)
}

// supported tells a device that cannot from one that is broken. EREMOTEIO is
// what SCSI devices answer to commands that they say they have.
func supported(err error) (bool, error) {
	for _, cannot := range []syscall.Errno{unix.EOPNOTSUPP, unix.ENOTTY, unix.EINVAL, unix.EREMOTEIO, unix.ENODEV} {
		if errors.Is(err, cannot) {
			return false, nil
		}
	}
	return err == nil, err
}

// Finish implements Device. A last block may have been padded.
func (d *hostDevice) Finish(size int64) error {
	if d.block {
		return nil
	}
	if d.size == math.MaxInt64 {
		d.size = size
	}
	return d.file.Truncate(d.size)
}

// rereadPatience is how long somebody else, such as udev, may have a partition
// open.
const rereadPatience = 5 * time.Second

// Reread implements Device. A kernel that does not look for partitions on this
// device (EINVAL: loop devices) is none of an error.
func (d *hostDevice) Reread(ctx context.Context) error {
	if !d.block {
		return nil
	}
	for end := time.Now().Add(rereadPatience); ; {
		err := unix.IoctlSetInt(int(d.file.Fd()), unix.BLKRRPART, 0)
		switch {
		case err == nil:
			return udev.Settle(ctx, tool.Exec{})
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOTTY):
			return nil
		case !errors.Is(err, unix.EBUSY), time.Now().After(end):
			return fmt.Errorf("read the partition table again: %w", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func roundUp(n, unit int64) int64 { return (n + unit - 1) / unit * unit }
