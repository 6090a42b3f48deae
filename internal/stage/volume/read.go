package volume

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/victorinix/vic/internal/stage"
)

// ErrNone is wrapped when there is no FAT32 file system.
var ErrNone = errors.New("no FAT32 file system")

// FS is a FAT32 file system that is read without being mounted. Of its files it
// reads those that are in one piece, as Write leaves them.
type FS struct {
	r       io.ReaderAt
	id      uint32
	root    uint32
	fat     int64 // bytes from the start
	data    int64 // where cluster 2 is
	cluster int64 // bytes
	count   uint32
}

var le = binary.LittleEndian

// maxDir bounds what is read of a directory, in bytes: a stage's have a few
// entries.
const maxDir = 64 << 10

// Open reads the boot sector of a file system that begins at r's first byte.
// See "FAT32 File System Specification" 1.03.
func Open(r io.ReaderAt) (*FS, error) {
	b := make([]byte, 512)
	if _, err := r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read boot sector: %w", err)
	}
	sector := int64(le.Uint16(b[11:]))
	perCluster, reserved, fats, size := int64(b[13]), int64(le.Uint16(b[14:])), int64(b[16]), int64(le.Uint32(b[36:]))
	if b[510] != 0x55 || b[511] != 0xaa || string(b[82:90]) != "FAT32   " || !slices.Contains([]int64{512, 1024, 2048, 4096}, sector) ||
		perCluster == 0 || perCluster > 128 || reserved == 0 || fats == 0 || fats > 2 || size == 0 {
		return nil, ErrNone
	}
	v := &FS{r: r, id: le.Uint32(b[67:]), root: le.Uint32(b[44:]), fat: reserved * sector, cluster: perCluster * sector}
	v.data = (reserved + fats*size) * sector
	total := int64(le.Uint32(b[32:]))
	v.count = uint32(max(0, min((total*sector-v.data)/v.cluster, size*sector/4-2, math.MaxInt32)))
	return v, nil
}

// VolumeID is the file system's.
func (v *FS) VolumeID() uint32 { return v.id }

// entry is what a directory says of a file.
type entry struct {
	name    string
	dir     bool
	cluster uint32
	size    int64
}

// Extent is where a file is, in bytes from the start of the file system. The
// path is relative; FAT ignores case. Without such a file the error is
// fs.ErrNotExist.
func (v *FS) Extent(path string) (offset, size int64, err error) {
	offset, size, err = v.extent(path)
	if err != nil {
		return 0, 0, fmt.Errorf("find %s: %w", path, err)
	}
	return offset, size, nil
}

func (v *FS) extent(path string) (offset, size int64, err error) {
	at := entry{dir: true, cluster: v.root}
	for name := range strings.SplitSeq(path, "/") {
		if !at.dir {
			return 0, 0, fs.ErrNotExist
		}
		entries, err := v.list(at.cluster)
		if err != nil {
			return 0, 0, err
		}
		found := false
		for _, e := range entries {
			if strings.EqualFold(e.name, name) {
				at, found = e, true
			}
		}
		if !found {
			return 0, 0, fs.ErrNotExist
		}
	}
	if at.dir {
		return 0, 0, errors.New("it is a directory")
	}
	if at.size == 0 {
		return 0, 0, nil
	}
	return v.at(at.cluster), at.size, v.inOnePiece(at.cluster, at.size)
}

func (v *FS) at(cluster uint32) int64 { return v.data + int64(cluster-2)*v.cluster }

func (v *FS) valid(cluster uint32) bool { return cluster >= 2 && cluster-2 < v.count }

// inOnePiece follows the chain of clusters that everybody else reads.
func (v *FS) inOnePiece(first uint32, size int64) error {
	n := (size + v.cluster - 1) / v.cluster
	if !v.valid(first) || n > int64(v.count) || !v.valid(first+uint32(n-1)) {
		return fmt.Errorf("its clusters from %d on are outside of the file system", first)
	}
	const some = 16 << 10
	for done := int64(0); done < n; done += some {
		b := make([]byte, 4*min(some, n-done))
		if _, err := v.r.ReadAt(b, v.fat+4*(int64(first)+done)); err != nil {
			return fmt.Errorf("read allocation table: %w", err)
		}
		for i := int64(0); i < int64(len(b))/4; i++ {
			next := le.Uint32(b[4*i:]) & 0x0fffffff
			if last := done+i == n-1; last && next < 0x0ffffff8 || !last && next != first+uint32(done+i)+1 {
				return errors.New("it is not in one piece")
			}
		}
	}
	return nil
}

// list reads a directory, whose clusters need not be in one piece.
func (v *FS) list(cluster uint32) ([]entry, error) {
	var b []byte
	for v.valid(cluster) && len(b) < maxDir {
		part := make([]byte, v.cluster)
		if _, err := v.r.ReadAt(part, v.at(cluster)); err != nil {
			return nil, fmt.Errorf("read directory: %w", err)
		}
		b = append(b, part...)
		next := make([]byte, 4)
		if _, err := v.r.ReadAt(next, v.fat+4*int64(cluster)); err != nil {
			return nil, fmt.Errorf("read allocation table: %w", err)
		}
		cluster = le.Uint32(next) & 0x0fffffff
	}
	return entries(b), nil
}

const (
	entrySize = 32
	attrLong  = 0x0f
	attrLabel = 0x08
	attrDir   = 0x10
)

// entries decodes a directory.
func entries(b []byte) []entry {
	var list []entry
	var long []uint16
	for ; len(b) >= entrySize && b[0] != 0; b = b[entrySize:] {
		switch attr := b[11]; {
		case b[0] == 0xe5:
			long = nil
		case attr&0x3f == attrLong:
			long = append(longPart(b), long...)
		case attr&attrLabel != 0:
			long = nil
		default:
			e := entry{name: shortName(b), dir: attr&attrDir != 0, size: int64(le.Uint32(b[28:]))}
			if len(long) > 0 {
				e.name = string(utf16.Decode(long))
			}
			e.cluster = uint32(le.Uint16(b[20:]))<<16 | uint32(le.Uint16(b[26:]))
			list, long = append(list, e), nil
		}
	}
	return list
}

// longPart is the piece of a long name that an entry has; the pieces come last
// first.
func longPart(b []byte) []uint16 {
	var units []uint16
	for _, at := range []int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
		u := le.Uint16(b[at:])
		if u == 0 || u == 0xffff {
			break
		}
		units = append(units, u)
	}
	return units
}

func shortName(b []byte) string {
	base, ext := strings.TrimRight(string(b[:8]), " "), strings.TrimRight(string(b[8:11]), " ")
	if ext != "" {
		base += "." + ext
	}
	return base
}

// ReadFile reads a file of at most 4 MiB.
func (v *FS) ReadFile(path string) ([]byte, error) {
	const most = 4 << 20
	offset, size, err := v.Extent(path)
	if err != nil {
		return nil, err
	}
	if size > most {
		return nil, fmt.Errorf("read %s: it has %d bytes, at most %d are read", path, size, most)
	}
	b := make([]byte, size)
	if size == 0 {
		return b, nil
	}
	if _, err := v.r.ReadAt(b, offset); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, nil
}

// Document reads the document of a stage.
func (v *FS) Document() (stage.Document, error) {
	b, err := v.ReadFile(stage.InVolume(stage.Self))
	if err != nil {
		return stage.Document{}, err
	}
	return stage.Decode(bytes.NewReader(b))
}

// Verify reads a whole stage, and compares it with its document: with the one
// that came with the kernel, not with the stage's own. With a direct.Device what
// counts is what the disk has.
func Verify(ctx context.Context, r io.ReaderAt, d stage.Document, progress func(done, total int64)) error {
	v, err := Open(r)
	if err != nil {
		return fmt.Errorf("verify stage: %w", err)
	}
	if v.id != d.VolumeID() {
		return fmt.Errorf("verify stage: its file system is %08x, expected %08x", v.id, d.VolumeID())
	}
	if offset, size, err := v.Extent(stage.InVolume(stage.Journal)); err != nil || size != stage.JournalSize || offset%512 != 0 {
		return fmt.Errorf("verify stage: the journal has %d bytes at %d: %w", size, offset, errors.Join(err, errNoJournal))
	}
	var done, total int64
	for _, f := range d.Files {
		total += f.Size
	}
	for _, f := range d.Files {
		err := v.verify(ctx, f, func(n int64) {
			done += n
			if progress != nil {
				progress(done, total)
			}
		})
		if err != nil {
			return fmt.Errorf("verify stage: %w", err)
		}
	}
	return nil
}

var errNoJournal = errors.New("that is none")

func (v *FS) verify(ctx context.Context, f stage.File, progress func(n int64)) error {
	offset, size, err := v.Extent(stage.InVolume(f.Name))
	if err != nil {
		return err
	}
	if size != f.Size {
		return fmt.Errorf("%s: expected %d bytes, found %d", f.Name, f.Size, size)
	}
	sum, buf := sha256.New(), make([]byte, min(size, 1<<20))
	for at := int64(0); at < size; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n, err := v.r.ReadAt(buf[:min(int64(len(buf)), size-at)], offset+at)
		if n == 0 {
			return fmt.Errorf("read %s at byte %d: %w", f.Name, at, err)
		}
		sum.Write(buf[:n])
		at += int64(n)
		progress(int64(n))
	}
	if got := fmt.Sprintf("%x", sum.Sum(nil)); got != f.SHA256 {
		return fmt.Errorf("%s: expected SHA-256 %s, found %s: it was altered or damaged", f.Name, f.SHA256, got)
	}
	return nil
}
