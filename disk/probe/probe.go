// Package probe says what the bytes of a block device or an image are: which
// file system, container, array member or partition table, with its identity,
// and how much room it takes.
//
//	bytes --Probe--> []Result         superblocks of one device or partition
//	bytes --ReadTable--> Table        GPT or MBR, both copies looked at
//	bytes --ReadDisk--> Disk          the table, and the results of every part
//
// It is pure: it reads from an io.ReaderAt, writes nothing, and runs nothing.
// Types, UUIDs and labels are those that blkid(8) prints. Content that says two
// things gives two results: what is there is reported, never guessed.
//
// Every superblock is foreign: reads and loops are bounded whatever its fields
// claim.
package probe

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// What content is for, as blkid's USAGE.
const (
	UsageFilesystem = "filesystem"
	UsageRAID       = "raid"
	UsageCrypto     = "crypto"
	UsageOther      = "other"
)

// Result is what one superblock says. Sizes are bytes.
type Result struct {
	Type    string `json:"type"`              // as blkid: ext4, crypto_LUKS, LVM2_member, ...
	Usage   string `json:"usage"`             // UsageFilesystem, ...
	UUID    string `json:"uuid,omitempty"`    // of the file system, container, array or pool, as blkid prints it
	SubUUID string `json:"uuidSub,omitempty"` // of this device, where it is one of several
	Label   string `json:"label,omitempty"`   // of an array: "host:name"; of a pool: its name
	Version string `json:"version,omitempty"` // as blkid, where blkid gives one
	// Offset is where the magic bytes are, from the start of what was probed.
	Offset int64 `json:"offset"`
	// Size is what the content takes by its own account, on this device; 0: it
	// does not say.
	Size int64 `json:"size,omitempty"`
	// MinSize is a careful estimate of the least size that its data needs, never
	// above Size; 0: not known. Of an xfs it is Size: it cannot be made smaller.
	// It is from the superblock, which a mounted file system may be ahead of.
	MinSize    int64 `json:"minSize,omitempty"`
	BlockSize  int64 `json:"blockSize,omitempty"`
	SectorSize int64 `json:"sectorSize,omitempty"` // that it was made for, where it says
	// DataOffset is where the data of a container or member begins.
	DataOffset int64 `json:"dataOffset,omitempty"`
	// Clean says whether it was unmounted in order and has no known errors;
	// absent: it does not say.
	Clean *bool `json:"clean,omitempty"`
	// Subsystem of a LUKS2 container.
	Subsystem string `json:"subsystem,omitempty"`
	// Group is what this device is a member of.
	Group *Group `json:"group,omitempty"`
}

// Group is a volume group, an array, a pool, or a file system over several
// devices.
type Group struct {
	Name    string `json:"name,omitempty"`
	Level   string `json:"level,omitempty"`   // of an array: raid1, linear, ...
	Devices int    `json:"devices,omitempty"` // that belong to it, without spares
	// Role is the member's place in the array, from 0; -1 is a spare, -2 faulty,
	// -3 a journal. Absent where members have no places.
	Role *int `json:"role,omitempty"`
}

// probes are all that Probe asks. Each finds at most one thing.
var probes = []func(*source) *Result{
	luks, bitLocker, lvm, mdraid090, mdraid1, zfs, bcache, bcachefs,
	ext, xfs, btrfs, f2fs, vfat, exfat, ntfs, swap, erofs, squashfs, iso9660,
}

// Probe reports everything that size bytes of r are, ordered by Offset and
// Type. An error says that a part could not be read; the results of what could
// be read come with it.
func Probe(r io.ReaderAt, size int64) ([]Result, error) {
	s := newSource(r, size)
	defer s.ends.done()
	var list []Result
	for _, probe := range probes {
		if found := probe(s); found != nil {
			list = append(list, *found)
		}
	}
	list = append(list, marked(s)...)
	slices.SortStableFunc(list, func(a, b Result) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Type, b.Type))
	})
	if s.err != nil {
		return list, fmt.Errorf("probe: %w", s.err)
	}
	return list, nil
}

// source is what is probed. It keeps its first error, and goes on: one bad
// sector does not hide what is elsewhere.
type source struct {
	r    io.ReaderAt
	ends *ends // r; nil: r is something else
	size int64
	err  error
}

func newSource(r io.ReaderAt, size int64) *source {
	e := newEnds(r, size)
	return &source{r: e, ends: e, size: size}
}

// read returns n bytes, or nil where they are not all there. They are for reading
// only.
func (s *source) read(at int64, n int) bytesOf {
	if at < 0 || n < 0 || at > s.size-int64(n) {
		return nil
	}
	if s.ends != nil {
		if v := s.ends.view(at, n); v != nil {
			return v
		}
	}
	b := make([]byte, n)
	if got, err := s.r.ReadAt(b, at); got < n {
		if s.err == nil && !errors.Is(err, io.EOF) {
			s.err = err
		}
		return nil
	}
	return b
}

// part is a source of its own within another.
func (s *source) part(at, size int64) *source {
	return &source{r: io.NewSectionReader(s.r, at, size), size: size}
}

func known(b bool) *bool { return &b }
