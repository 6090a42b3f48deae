package logwrites

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A device is shown to the kernel as a file system that is one file, by the
// protocol of FUSE (include/uapi/linux/fuse.h, 7.31). A loop device over that file
// passes writes on as they come, one at a time, and flushes as fsync.
const (
	opForget      = 2
	opGetattr     = 3
	opSetattr     = 4
	opOpen        = 14
	opRead        = 15
	opWrite       = 16
	opStatfs      = 17
	opRelease     = 18
	opFsync       = 20
	opFlush       = 25
	opInit        = 26
	opInterrupt   = 36
	opDestroy     = 38
	opBatchForget = 42
	opFallocate   = 43

	fuseMajor, fuseMinor = 7, 31
	flagBigWrites        = 1 << 5
	flagMaxPages         = 1 << 22
	attrSize             = 1 << 3 // of setattr: the size is to change
	directIO             = 1 << 0 // of open: no cache between the loop device and this one
	maxWrite             = 1 << 20
)

// inHeader begins every request.
type inHeader struct {
	Len, Op      uint32
	Unique, Node uint64
	_            [4]uint32
}

const inHeaderSize, outHeaderSize = 40, 16

// ioIn is what a read or a write asks for; data follow a write.
type ioIn struct {
	_      uint64
	Offset uint64
	Size   uint32
	_      uint32
	_      [2]uint64
}

const ioInSize = 40

type fallocateIn struct {
	_              uint64
	Offset, Length uint64
	Mode           uint32
	_              uint32
}

type initOut struct {
	Major, Minor, ReadAhead, Flags uint32
	_                              uint32 // background requests: the kernel's default
	MaxWrite, TimeGran             uint32
	MaxPages, _                    uint16
	_                              [8]uint32
}

type attrOut struct {
	Valid, _          uint64
	Ino, Size, Blocks uint64
	_                 [3]uint64 // times
	_                 [3]uint32
	Mode, Links       uint32
	_                 [3]uint32 // owner, group, device
	BlockSize, _      uint32
}

// mountFile mounts the device over the file at path. It returns what ends the
// serving, after the file was unmounted.
func mountFile(dev Device, path string) (wait func() error, err error) {
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/fuse: %w", err)
	}
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=%d,group_id=%d", fd, unix.S_IFREG, os.Getuid(), os.Getgid())
	if err := unix.Mount("vic", path, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return nil, errors.Join(fmt.Errorf("mount FUSE file on %s: %w", path, err), unix.Close(fd))
	}
	done := make(chan error, 1)
	go func() { done <- errors.Join(serve(fd, dev), unix.Close(fd)) }()
	return func() error { return <-done }, nil
}

// serve answers requests until the file is unmounted.
func serve(fd int, dev Device) error {
	buf := make([]byte, maxWrite+4096)
	for {
		n, err := unix.Read(fd, buf)
		switch {
		// ECONNABORTED is the answer instead of ENODEV to who was about to get a
		// request when the connection ended: the file's release, which nobody
		// waits for.
		case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ECONNABORTED):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOENT): // interrupted request
			continue
		case err != nil:
			return fmt.Errorf("read FUSE request: %w", err)
		}
		reply, ok := answer(dev, buf[:n])
		if !ok {
			continue
		}
		if _, err := unix.Write(fd, reply); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENODEV) {
			return fmt.Errorf("write FUSE reply: %w", err)
		}
	}
}

// answer is the reply to a request, if it has one.
func answer(dev Device, request []byte) ([]byte, bool) {
	var h inHeader
	if err := decode(request, &h); err != nil {
		return nil, false
	}
	if h.Op == opForget || h.Op == opBatchForget || h.Op == opInterrupt {
		return nil, false
	}
	body, err := perform(dev, h.Op, request[inHeaderSize:])
	code := syscall.Errno(0)
	if err != nil {
		body = nil
		if !errors.As(err, &code) {
			code = unix.EIO
		}
	}
	out := binary.NativeEndian.AppendUint32(nil, uint32(outHeaderSize+len(body)))
	out = binary.NativeEndian.AppendUint32(out, uint32(-int32(code)))
	out = binary.NativeEndian.AppendUint64(out, h.Unique)
	return append(out, body...), true
}

// perform does what a request asks for.
func perform(dev Device, op uint32, in []byte) ([]byte, error) {
	switch op {
	case opInit:
		return encode(initOut{Major: fuseMajor, Minor: fuseMinor, ReadAhead: maxWrite, Flags: flagBigWrites | flagMaxPages,
			MaxWrite: maxWrite, TimeGran: 1, MaxPages: maxWrite / 4096}), nil
	case opGetattr:
		return attributes(dev), nil
	case opSetattr:
		if len(in) < 4 || binary.NativeEndian.Uint32(in)&attrSize != 0 {
			return nil, unix.EOPNOTSUPP
		}
		return attributes(dev), nil
	case opOpen:
		return encode([4]uint32{2: directIO}), nil
	case opStatfs:
		return make([]byte, 80), nil
	case opRelease, opDestroy:
		return nil, nil
	case opFlush: // asked once, and never again: it would wait for a process that ends
		return nil, unix.ENOSYS
	case opRead:
		return read(dev, in)
	case opWrite:
		return write(dev, in)
	case opFsync:
		return nil, dev.Sync()
	case opFallocate:
		return nil, fallocate(dev, in)
	}
	return nil, unix.ENOSYS
}

func attributes(dev Device) []byte {
	return encode(attrOut{Valid: 3600, Ino: 1, Size: uint64(dev.Size()), Blocks: uint64(dev.Size() / 512),
		Mode: unix.S_IFREG | 0o600, Links: 1, BlockSize: 4096})
}

func read(dev Device, in []byte) ([]byte, error) {
	var r ioIn
	if err := decode(in, &r); err != nil || r.Size > maxWrite {
		return nil, unix.EINVAL
	}
	p := make([]byte, r.Size)
	n, err := dev.ReadAt(p, int64(r.Offset))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return p[:n], err
}

func write(dev Device, in []byte) ([]byte, error) {
	var w ioIn
	if err := decode(in, &w); err != nil || int(w.Size) != len(in)-ioInSize {
		return nil, unix.EINVAL
	}
	n, err := dev.WriteAt(in[ioInSize:], int64(w.Offset))
	return encode([2]uint32{uint32(n)}), err
}

// fallocate discards or zeroes, where the device knows how.
func fallocate(dev Device, in []byte) error {
	var f fallocateIn
	if err := decode(in, &f); err != nil {
		return unix.EINVAL
	}
	offset, length := int64(f.Offset), int64(f.Length)
	if d, ok := dev.(interface {
		Discard(offset, length int64) error
	}); ok && f.Mode == unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE {
		return d.Discard(offset, length)
	}
	z, ok := dev.(zeroer)
	if !ok || f.Mode&^unix.FALLOC_FL_KEEP_SIZE != unix.FALLOC_FL_ZERO_RANGE && f.Mode != unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE {
		return unix.EOPNOTSUPP
	}
	return z.Zero(offset, length)
}

func decode(b []byte, v any) error {
	return binary.Read(bytes.NewReader(b), binary.NativeEndian, v)
}

func encode(v any) []byte {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, v); err != nil {
		panic(err) // v has a fixed size
	}
	return b.Bytes()
}
