// Package fat writes FAT32 file systems: the EFI system partition of an image,
// or the boot partition of a small board. It needs no foreign program and no
// root, and the bytes depend on nothing but the Config.
//
//	sector 0  boot sector | 1 FSInfo | 6 copy of 0 | 7 copy of 1
//	reserved  FAT, copy of the FAT
//	clusters  2: root directory, then the other directories, then the files,
//	          each in one piece
//
// It writes new file systems. It does not read or change existing ones. See
// Microsoft's "FAT32 File System Specification" 1.03.
package fat

import (
	"errors"
	"fmt"
	"io"
	"math"
	"time"
)

// Source is the content of a file: *bytes.Reader, *strings.Reader,
// *io.SectionReader over an open file.
type Source interface {
	io.ReaderAt
	Size() int64
}

// File is a file to write. Its directories are made as needed.
type File struct {
	Path   string // slash-separated, relative: EFI/BOOT/BOOTX64.EFI
	Source Source
}

// Config describes a file system.
type Config struct {
	Size     int64     // in bytes, a multiple of a sector; 0: as small as the files allow
	Label    string    // up to 11 characters, upper case; empty: none
	VolumeID uint32    // shown as XXXX-XXXX
	Time     time.Time // of all files; FAT knows 1980 to 2107, earlier is 1980
	Hidden   uint32    // sectors before the file system: where its partition starts
	Files    []File    // stored in this order
	// SectorSize is the logical one of the disk, in bytes: 512 (default), 1024, 2048 or
	// 4096. No system reads a file system whose sectors are smaller than the disk's.
	SectorSize int
	// Anchored is how many of the first Files, which are in the root directory, are
	// stored right behind its first cluster, and named first in it: where they are
	// depends on the size of the file system and theirs, and on nothing else. So a
	// file system can be replaced by another one sector after the other, in any
	// order, and these files are there all the time.
	Anchored int
}

// ErrTooSmall is wrapped when the files do not fit Config.Size.
var ErrTooSmall = errors.New("file system is too small")

const (
	entrySize = 32
	// minClusters: with fewer, readers take the file system for FAT16. The
	// limit is 65525; readers are known to be wrong by up to 16.
	minClusters = 65525 + 16
	maxClusters = 0x0ffffff5
	// page is the largest cluster, in bytes, for which the size of the file system
	// is raised; the clusters start at a multiple of it.
	page = 4096
	// largeCluster is the largest that is chosen, in bytes.
	largeCluster = 32 << 10
	endOfChain   = 0x0fffffff
)

// Volume is a file system that has been laid out but not written.
type Volume struct {
	cfg  Config
	geo  geometry
	root *dir
	dirs []*dir // root first
	rest uint32 // second cluster of the root directory, behind what is anchored; 0: it has none
}

// geometry is where things are, in sectors.
type geometry struct {
	sector                   int64 // bytes
	total, reserved, fatSize int64
	perCluster               int64
	clusters                 int64
}

func (g geometry) data() int64            { return g.reserved + 2*g.fatSize }
func (g geometry) offset(c uint32) int64  { return (g.data() + int64(c-2)*g.perCluster) * g.sector }
func (g geometry) clusterBytes() int64    { return g.perCluster * g.sector }
func (g geometry) need(bytes int64) int64 { return ceil(bytes, g.clusterBytes()) }
func ceil(n, unit int64) int64            { return (n + unit - 1) / unit }
func roundUp(n, unit int64) int64         { return ceil(n, unit) * unit }
func clamp(v, low, high time.Time) (time.Time, bool) {
	if v.Before(low) {
		return low, true
	}
	return v, v.Before(high)
}

// divide cuts a file system of total sectors. The FAT may be some sectors
// larger than needed, so that the clusters start at a multiple of a page.
func divide(sector, total, perCluster int64) geometry {
	g := geometry{sector: sector, total: total, perCluster: perCluster, reserved: 32}
	g.fatSize = ceil((total/perCluster+2)*4, sector)
	align := max(perCluster, page/sector)
	g.reserved += roundUp(g.data(), align) - g.data()
	g.clusters = (total - g.data()) / perCluster
	return g
}

// New lays out a file system: it checks names and sizes and decides where
// everything goes, without reading the files.
func New(c Config) (*Volume, error) {
	v := &Volume{cfg: c}
	if err := checkLabel(c.Label); err != nil {
		return nil, fmt.Errorf("lay out FAT32: %w", err)
	}
	t, ok := clamp(c.Time.UTC(), time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2108, 1, 1, 0, 0, 0, 0, time.UTC))
	if !ok {
		return nil, fmt.Errorf("lay out FAT32: time %s is after 2107", c.Time)
	}
	v.cfg.Time = t
	switch v.geo.sector = int64(c.SectorSize); c.SectorSize {
	case 0:
		v.geo.sector = 512
	case 512, 1024, 2048, 4096:
	default:
		return nil, fmt.Errorf("lay out FAT32: sectors of %d bytes: it has those of 512, 1024, 2048 or 4096", c.SectorSize)
	}
	var err error
	if v.root, v.dirs, err = buildTree(c); err != nil {
		return nil, fmt.Errorf("lay out FAT32: %w", err)
	}
	if v.geo, err = v.chooseGeometry(); err != nil {
		return nil, fmt.Errorf("lay out FAT32: %w", err)
	}
	v.allocate()
	return v, nil
}

func (v *Volume) chooseGeometry() (geometry, error) {
	size, sector := v.cfg.Size, v.geo.sector
	if size%sector != 0 || size/sector > math.MaxUint32 || size < 0 {
		return geometry{}, fmt.Errorf("size of %d bytes is not a multiple of %d below %d TiB", size, sector, sector>>8)
	}
	if size == 0 {
		return v.smallest()
	}
	g := divide(sector, size/sector, clusterFor(sector, size))
	need := v.needed(g)
	if g.clusters < minClusters || need > g.clusters {
		least, err := v.smallest()
		if err != nil {
			return g, err
		}
		return g, fmt.Errorf("%w: it has %d bytes, the files need %d", ErrTooSmall, size, least.total*sector)
	}
	return g, nil
}

// clusterFor is the number of sectors in a cluster, given sizes in bytes: a page,
// more above 16 GiB so that the FAT stays small, less where there would be too few
// clusters for FAT32.
func clusterFor(sector, size int64) int64 {
	n := page / sector
	for n < largeCluster/sector && size/(n*sector) > 1<<22 {
		n *= 2
	}
	for n > 1 && divide(sector, size/sector, n).clusters < minClusters {
		n /= 2
	}
	return n
}

// smallest returns the smallest geometry that holds the files.
func (v *Volume) smallest() (geometry, error) {
	sector := v.geo.sector
	for n := page / sector; ; n /= 2 {
		need := v.needed(geometry{sector: sector, perCluster: n})
		if need < minClusters && n > 1 {
			continue
		}
		total := max(need, minClusters) * n
		for divide(sector, total, n).clusters < max(need, minClusters) {
			total += max(n, sector/4)
		}
		if total > math.MaxUint32 || divide(sector, total, n).clusters > maxClusters {
			return geometry{}, errors.New("the files need more than 1 TiB")
		}
		return divide(sector, total, n), nil
	}
}

// needed counts the clusters of all directories and files.
func (v *Volume) needed(g geometry) int64 {
	var n int64
	for _, d := range v.dirs {
		n += g.need(d.size())
		for _, e := range d.entries {
			if e.sub == nil {
				n += g.need(e.file.Source.Size())
			}
		}
	}
	return n
}

// allocate gives every directory and file its first cluster, in one piece but for
// the root directory, where files are anchored.
func (v *Volume) allocate() {
	next := uint32(2)
	take := func(bytes int64) uint32 {
		first := next
		next += uint32(v.geo.need(bytes))
		return first
	}
	v.root.cluster = take(v.firstOfRoot())
	files := v.inOrder()
	for _, e := range files[:v.cfg.Anchored] {
		e.cluster = take(e.file.Source.Size())
	}
	if left := v.root.size() - v.firstOfRoot(); left > 0 {
		v.rest = take(left)
	}
	for _, d := range v.dirs[1:] {
		d.cluster = take(d.size())
	}
	for _, e := range files[v.cfg.Anchored:] {
		if e.file.Source.Size() > 0 { // an empty file has no cluster
			e.cluster = take(e.file.Source.Size())
		}
	}
}

// firstOfRoot is how many bytes of the root directory come before what is anchored,
// or are all of it.
func (v *Volume) firstOfRoot() int64 {
	if v.cfg.Anchored == 0 {
		return v.root.size()
	}
	return min(v.root.size(), v.geo.clusterBytes())
}

// inOrder are the files as in Config.Files.
func (v *Volume) inOrder() []*entry {
	list := make([]*entry, len(v.cfg.Files))
	for _, d := range v.dirs {
		for _, e := range d.entries {
			if e.sub == nil {
				list[e.index] = e
			}
		}
	}
	return list
}

// Piece is what is written in one piece.
type Piece struct {
	Path         string // of a file; empty: boot sectors, allocation tables, directories
	Offset, Size int64  // bytes from the start of the file system
}

// Pieces are all that the file system has, but for free space: first what belongs
// to no file, then the files that are not empty, in the order of Config.Files.
func (v *Volume) Pieces() []Piece {
	first := v.geo.offset(2) + v.geo.need(v.firstOfRoot())*v.geo.clusterBytes()
	list := []Piece{{Size: first}}
	at, end := v.rest, int64(0)
	if v.rest != 0 {
		end = v.geo.offset(v.rest) + v.geo.need(v.root.size()-v.firstOfRoot())*v.geo.clusterBytes()
	}
	for _, d := range v.dirs[1:] {
		if at == 0 {
			at = d.cluster
		}
		end = v.geo.offset(d.cluster) + v.geo.need(d.size())*v.geo.clusterBytes()
	}
	if at != 0 {
		list = append(list, Piece{Offset: v.geo.offset(at), Size: end - v.geo.offset(at)})
	}
	for _, e := range v.inOrder() {
		if e.cluster != 0 {
			list = append(list, Piece{e.file.Path, v.geo.offset(e.cluster), e.file.Source.Size()})
		}
	}
	return list
}

// Size is the size of the file system in bytes.
func (v *Volume) Size() int64 { return v.geo.total * v.geo.sector }

// Extent says where the content of a file of Config.Files is, in bytes from
// the start of the file system; it is in one piece. An empty file is nowhere.
func (v *Volume) Extent(path string) (offset, size int64, ok bool) {
	e := v.root.find(path)
	if e == nil || e.sub != nil || e.cluster == 0 {
		return 0, 0, false
	}
	return v.geo.offset(e.cluster), e.file.Source.Size(), true
}
