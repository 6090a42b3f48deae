package flash

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/lima-vm/go-qcow2reader/image"
	"github.com/lima-vm/go-qcow2reader/image/qcow2"
	"golang.org/x/sys/unix"
)

// Image is what is written. It is read once, from its beginning to its end.
type Image interface {
	// Size is in bytes; -1 when that is not known before the end.
	Size() int64
	// NextData is the first byte at or after off that may be other than zero; the
	// size of the image when there is none.
	NextData(off int64) (int64, error)
	// Read fills b with what is at off. Holes may be left out, otherwise off is where
	// the last call ended. At the end of the image it returns less, and io.EOF.
	Read(b []byte, off int64) (int, error)
	// Check says, after the end, whether the image is what it should be.
	Check() error
	Close() error
}

// rawImage is an image as it is, in a file or on a device.
type rawImage struct {
	file *os.File
	size int64
}

func newRaw(f *os.File) (*rawImage, error) {
	size, err := f.Seek(0, io.SeekEnd) // works for devices as well
	if err != nil {
		return nil, err
	}
	// A hint: the kernel may ignore it.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_SEQUENTIAL)
	return &rawImage{f, size}, nil
}

func (r *rawImage) Size() int64                           { return r.size }
func (r *rawImage) Read(b []byte, off int64) (int, error) { return r.file.ReadAt(b, off) }
func (r *rawImage) Check() error                          { return nil }
func (r *rawImage) Close() error                          { return r.file.Close() }

// NextData asks the file system where the file has holes; one that does not know
// has data everywhere.
func (r *rawImage) NextData(off int64) (int64, error) {
	next, err := unix.Seek(int(r.file.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return r.size, nil
	case err != nil:
		return off, nil
	}
	return next, nil
}

// qcow2Image is an image in QEMU's format.
type qcow2Image struct{ image.Image }

// qcow2Magic begins one; docs/interop/qcow2.txt of QEMU.
const qcow2Magic = "QFI\xfb"

// ErrBacked is wrapped by the error about a qcow2 that needs another file: which
// one it says itself, and it may come from anywhere.
var ErrBacked = errors.New("it is not whole: it refers to another file")

// newQcow2 opens an image that is in one file.
func newQcow2(f *os.File) (Image, error) {
	var h [80]byte
	if _, err := f.ReadAt(h[:], 0); err != nil {
		return nil, fmt.Errorf("read qcow2: %w", err)
	}
	version := binary.BigEndian.Uint32(h[4:])
	const externalData = 1 << 2
	if binary.BigEndian.Uint64(h[8:]) != 0 || version >= 3 && binary.BigEndian.Uint64(h[72:])&externalData != 0 {
		return nil, fmt.Errorf("read qcow2: %w; `qemu-img convert -O qcow2` makes it whole", ErrBacked)
	}
	q, err := qcow2.Open(f, func(io.ReaderAt, image.Type) (image.Image, error) { return nil, ErrBacked })
	if err == nil {
		err = q.Readable()
	}
	if err != nil {
		return nil, fmt.Errorf("read qcow2: %w", err)
	}
	return &qcow2Image{q}, nil
}

func (q *qcow2Image) Check() error { return nil }

func (q *qcow2Image) Read(b []byte, off int64) (int, error) {
	n := int(min(int64(len(b)), q.Size()-off))
	if n <= 0 {
		return 0, io.EOF
	}
	got, err := q.ReadAt(b[:n], off)
	switch {
	case errors.Is(err, io.EOF) && got < n: // its tables lead past the end of the file
		return got, fmt.Errorf("qcow2: byte %d: %w", off+int64(got), io.ErrUnexpectedEOF)
	case err != nil && !errors.Is(err, io.EOF):
		return got, fmt.Errorf("qcow2: %w", err)
	case n < len(b):
		return n, io.EOF
	}
	return n, nil
}

// NextData follows the tables of the image.
func (q *qcow2Image) NextData(off int64) (int64, error) {
	for off < q.Size() {
		e, err := q.Extent(off, q.Size()-off)
		if err != nil {
			return 0, fmt.Errorf("qcow2: %w", err)
		}
		if e.Length <= 0 {
			return 0, fmt.Errorf("qcow2: no clusters at byte %d", off)
		}
		if e.Allocated && !e.Zero {
			return off, nil
		}
		off = e.Start + e.Length
	}
	return q.Size(), nil
}

// streamImage is an image that can only be read from its beginning.
type streamImage struct {
	io.Reader
	size  int64
	check func() error
	close func() error
}

func (s *streamImage) Size() int64                       { return s.size }
func (s *streamImage) NextData(off int64) (int64, error) { return off, nil }
func (s *streamImage) Check() error                      { return s.check() }
func (s *streamImage) Close() error                      { return s.close() }

// Read tells the end of the image, io.EOF, from compressed data that are cut
// off, io.ErrUnexpectedEOF; io.ReadFull does not.
func (s *streamImage) Read(b []byte, _ int64) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = s.Reader.Read(b[n:])
		n += m
	}
	if n == len(b) {
		return n, nil
	}
	return n, err
}
