// Package extent says where the blocks of files are on their device, and makes files
// whose blocks lie in one piece of it.
package extent

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Extent is a range of a file whose bytes lie in one piece of the device, in bytes.
type Extent struct {
	// Inside is where it begins in the file, Offset where it begins on the device.
	Inside, Offset, Size int64
}

// The ioctl and its structs, from include/uapi/linux/fiemap.h.
const (
	fsIocFiemap = 0xc020660b
	fiemapSync  = 0x1 // FIEMAP_FLAG_SYNC

	extentLast = 0x1
	// FIEMAP_EXTENT_UNKNOWN, DELALLOC, ENCODED, DATA_ENCRYPTED, NOT_ALIGNED,
	// DATA_INLINE, DATA_TAIL and SHARED: there are no bytes of the file's own there.
	extentElsewhere = 0x2 | 0x4 | 0x8 | 0x80 | 0x100 | 0x200 | 0x400 | 0x2000
)

type fiemap struct {
	start, length          uint64
	flags, mapped, room, _ uint32
	extents                [64]fiemapExtent
}

type fiemapExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

// Map returns the extents of a file in their order, with neighbours joined. Holes
// have none. It refuses what is not simply on the device: compressed, shared, inline.
// Of a file on FAT, which tells the place of single blocks alone, that takes root.
func Map(f *os.File) ([]Extent, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return nil, fmt.Errorf("see what file system %s is in: %w", f.Name(), err)
	}
	if st.Type == unix.MSDOS_SUPER_MAGIC {
		return mapBlocks(f, st.Bsize)
	}
	var list []Extent
	for next := uint64(0); ; {
		m := fiemap{start: next, length: 1<<63 - next, flags: fiemapSync, room: 64}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsIocFiemap, uintptr(unsafe.Pointer(&m))); errno != 0 {
			return nil, fmt.Errorf("read where %s is on its device: %w", f.Name(), errno)
		}
		if m.mapped == 0 {
			return list, nil
		}
		for _, e := range m.extents[:m.mapped] {
			if e.flags&extentElsewhere != 0 {
				return nil, fmt.Errorf("read where %s is on its device: the file system keeps it in another form (flags %#x)", f.Name(), e.flags)
			}
			list = join(list, Extent{int64(e.logical), int64(e.physical), int64(e.length)})
			next = e.logical + e.length
			if e.flags&extentLast != 0 {
				return list, nil
			}
		}
	}
}

func join(list []Extent, e Extent) []Extent {
	if n := len(list); n > 0 && list[n-1].Inside+list[n-1].Size == e.Inside && list[n-1].Offset+list[n-1].Size == e.Offset {
		list[n-1].Size += e.Size
		return list
	}
	return append(list, e)
}

// FIBMAP and FIGETBSZ, from include/uapi/linux/fs.h.
const (
	fibmap   = 1
	figetbsz = 2
)

// mapBlocks is Map by asking for one block of each cluster: a cluster is in one piece.
func mapBlocks(f *os.File, cluster int64) ([]Extent, error) {
	var block int32
	info, err := f.Stat()
	if err == nil {
		err = ioctl32(f, figetbsz, &block)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, fmt.Errorf("read where %s is on its device: %w", f.Name(), err)
	}
	var list []Extent
	for at := int64(0); at < info.Size(); at += cluster {
		n := int32(at / int64(block))
		if err := ioctl32(f, fibmap, &n); err != nil {
			return nil, fmt.Errorf("read where byte %d of %s is on its device: %w", at, f.Name(), err)
		}
		if n != 0 {
			list = join(list, Extent{at, int64(uint32(n)) * int64(block), min(cluster, info.Size()-at)})
		}
	}
	return list, nil
}

// ioctl32 gives the kernel an int, and takes one.
func ioctl32(f *os.File, number uintptr, n *int32) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), number, uintptr(unsafe.Pointer(n))); errno != 0 {
		return errno
	}
	return nil
}

// In says whether a range of a file is where it says, by what Map returned.
func (e Extent) In(list []Extent) bool {
	return slices.ContainsFunc(list, func(o Extent) bool {
		return e.Inside >= o.Inside && e.Inside+e.Size <= o.Inside+o.Size && e.Offset-o.Offset == e.Inside-o.Inside
	})
}

// Want is what a Piece has to be, in bytes.
type Want struct {
	Size int64
	// From is the first byte of the device that it may have, To the first one behind
	// it that it may not; 0: there is none.
	From, To int64
	// Align divides the place of its first byte, when Origin is added to that: where
	// the device begins on its disk.
	Align, Origin int64
	// Spare stays free in the file system meanwhile.
	Spare int64
}

// Piece is a file that has a range of its device.
type Piece struct {
	// File of Allocate has no name: it is gone when it is closed, or the power is cut,
	// unless Link has given it one.
	File *os.File
	Extent
}

// ErrNone is wrapped when no piece was found.
var ErrNone = errors.New("the file system has no free piece of that size there")

// Allocate makes a file without a name in the file system of a directory, with blocks
// that are allocated and not written. The file takes what the file system offers, until
// a piece is in it or too little is free; then it gives back all but that.
func Allocate(dir string, w Want) (*Piece, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make a file without a name in %s: %w", dir, err)
	}
	return w.in(os.NewFile(uintptr(fd), dir+"/(without a name)"))
}

// AllocateAt is Allocate for a file system in which each file has a name, as FAT and
// NTFS. On FAT the blocks are written, with zeros; what the file has before the piece
// may stay with it. Without a piece there is no file.
func AllocateAt(path string, w Want) (*Piece, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	p, err := w.in(f)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return p, nil
}

// in makes a piece of an empty file, or closes it.
func (w Want) in(f *os.File) (p *Piece, err error) {
	p = &Piece{File: f}
	p.Extent, err = w.find(p.File)
	if err == nil {
		err = p.trim()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("find %d bytes in one piece from byte %d on: %w", w.Size, w.From, err), p.File.Close())
	}
	return p, nil
}

// find lets a file grow until it has a piece.
func (w Want) find(f *os.File) (Extent, error) {
	size, more := int64(0), w.Size+w.Align
	for {
		var st unix.Statfs_t
		if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
			return Extent{}, err
		}
		if more = min(more, int64(st.Bfree)*st.Bsize-w.Spare); more < w.Align {
			return Extent{}, ErrNone
		}
		if err := fallocate(f, 0, size, more); err != nil {
			return Extent{}, err
		}
		size += more
		list, err := Map(f)
		if err != nil {
			return Extent{}, err
		}
		if e, ok := w.within(list); ok {
			return e, nil
		}
		// Far before From, much is taken at once: half of the way.
		more = max(w.Size, (w.From-end(list))/2)
	}
}

func fallocate(f *os.File, mode uint32, offset, size int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), mode, offset, size)
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EFBIG) {
			return ErrNone
		}
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// within finds the range in some extents.
func (w Want) within(list []Extent) (Extent, bool) {
	for _, e := range list {
		start := max(e.Offset, w.From) + w.Origin
		start = (start+w.Align-1)/w.Align*w.Align - w.Origin
		stop := e.Offset + e.Size
		if w.To > 0 {
			stop = min(stop, w.To)
		}
		if start+w.Size <= stop {
			return Extent{e.Inside + start - e.Offset, start, w.Size}, true
		}
	}
	return Extent{}, false
}

func end(list []Extent) int64 {
	var last int64
	for _, e := range list {
		last = max(last, e.Offset+e.Size)
	}
	return last
}

// trim gives back what the file has beside the piece.
func (p *Piece) trim() error {
	if err := p.File.Truncate(p.Inside + p.Size); err != nil {
		return err
	}
	if p.Inside > 0 {
		err := fallocate(p.File, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, p.Inside)
		if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
			return err
		}
	}
	if err := p.File.Sync(); err != nil {
		return err
	}
	list, err := Map(p.File)
	if err == nil && !p.In(list) {
		err = fmt.Errorf("%s is at %v, expected %v", p.File.Name(), list, p.Extent)
	}
	return err
}

// Link gives the file a name that nothing has yet.
func (p *Piece) Link(path string) error {
	err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", p.File.Fd()), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return fmt.Errorf("name a file %s: %w", path, err)
	}
	return nil
}

// Close closes the file.
func (p *Piece) Close() error { return p.File.Close() }
