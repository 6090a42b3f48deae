// Package direct reads and writes ranges of a block device past the page cache:
// what a stage is verified by has to come from the disk, and what its journal
// says has to be on it when the next step begins. A file system of the range may
// be mounted meanwhile, as long as nobody changes by it what is written here.
package direct

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	sector = 512 // what is written is made of these
	page   = 4096
	chunk  = 1 << 20 // what is read or written at a time
)

// Device is a range of a block device, or of a file.
type Device struct {
	f          *os.File
	base, size int64
	unit       int64 // logical sector

	mu  sync.Mutex
	buf []byte // chunk bytes, aligned as O_DIRECT wants it
}

// Open opens size bytes from base on of a block device or a file; size 0 means
// up to its end. flag is os.O_RDONLY or os.O_RDWR; with unix.O_DSYNC every write
// is on the medium when it returns. Base is a multiple of 4096. Where there is no
// O_DIRECT, as on tmpfs, the page cache is used.
func Open(path string, flag int, base, size int64) (*Device, error) {
	f, err := os.OpenFile(path, flag|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EINVAL) {
		f, err = os.OpenFile(path, flag|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("open past the cache: %w", err)
	}
	d := &Device{f: f, base: base, size: size, unit: sector}
	if err := d.measure(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), f.Close())
	}
	return d, nil
}

func (d *Device) measure() (err error) {
	end, err := d.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if d.size == 0 {
		d.size = end - d.base
	}
	if d.base%page != 0 || d.base < 0 || d.size < 0 || d.base > end-d.size {
		return fmt.Errorf("%d bytes from %d on are not a range of its %d bytes", d.size, d.base, end)
	}
	st, err := d.f.Stat()
	if err != nil {
		return err
	}
	if st.Mode()&os.ModeDevice != 0 {
		n, err := unix.IoctlGetInt(int(d.f.Fd()), unix.BLKSSZGET)
		if err != nil {
			return fmt.Errorf("read its sector size: %w", err)
		}
		d.unit = int64(n)
	}
	d.buf, err = unix.Mmap(-1, 0, chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	return err
}

// Size is the size of the range in bytes.
func (d *Device) Size() int64 { return d.size }

// SectorSize is the device's logical one, in bytes.
func (d *Device) SectorSize() int { return int(d.unit) }

// Sync has the device put on its medium what was written.
func (d *Device) Sync() error {
	if err := d.f.Sync(); err != nil {
		return fmt.Errorf("flush %s: %w", d.f.Name(), err)
	}
	return nil
}

// Close closes the device.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	if d.buf != nil {
		err = unix.Munmap(d.buf)
		d.buf = nil
	}
	return errors.Join(err, d.f.Close())
}

// window is a piece of the device that holds all or the beginning of n bytes at
// off: whole sectors, at most a chunk. skip is how much of it comes before off.
func (d *Device) window(off, n int64) (at, length, skip int64) {
	at = off - off%d.unit
	skip = off - at
	length = min((skip+n+d.unit-1)/d.unit*d.unit, chunk)
	return at, length, skip
}

// ReadAt implements io.ReaderAt.
func (d *Device) ReadAt(p []byte, off int64) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off < 0 || off >= d.size {
		return 0, io.EOF
	}
	want := min(int64(len(p)), d.size-off)
	for done := int64(0); done < want; {
		at, length, skip := d.window(off+done, want-done)
		if err := d.fill(at, length, skip+1); err != nil {
			return int(done), fmt.Errorf("read %s at byte %d: %w", d.f.Name(), d.base+at, err)
		}
		done += int64(copy(p[done:want], d.buf[skip:length]))
	}
	if want < int64(len(p)) {
		return int(want), io.EOF
	}
	return int(want), nil
}

// fill reads a window into the buffer; the end of a file may come after need
// bytes of it.
func (d *Device) fill(at, length, need int64) error {
	n, err := d.f.ReadAt(d.buf[:length], d.base+at)
	if errors.Is(err, io.EOF) && int64(n) >= need {
		clear(d.buf[n:length])
		return nil
	}
	return err
}

// WriteAt implements io.WriterAt. Of sectors that it covers in part, the rest
// stays as it is.
func (d *Device) WriteAt(p []byte, off int64) (n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if off < 0 || int64(len(p)) > d.size-off {
		return 0, fmt.Errorf("write %s: %d bytes at %d are outside of its %d bytes", d.f.Name(), len(p), off, d.size)
	}
	for n < len(p) {
		at, length, skip := d.window(off+int64(n), int64(len(p)-n))
		part := p[n:min(len(p), n+int(length-skip))]
		if skip != 0 || int64(len(part)) != length {
			if err := d.fill(at, length, 0); err != nil {
				return n, fmt.Errorf("read %s at byte %d: %w", d.f.Name(), d.base+at, err)
			}
		}
		copy(d.buf[skip:], part)
		if _, err := d.f.WriteAt(d.buf[:length], d.base+at); err != nil {
			return n, fmt.Errorf("write %s at byte %d: %w", d.f.Name(), d.base+at, err)
		}
		n += len(part)
	}
	return n, nil
}
