package layout

import (
	"errors"
	"fmt"
	"sort"

	"github.com/google/uuid"
)

const (
	maxEntries = 128 // slots in the table, as everyone makes them
	entrySize  = 128 // bytes, UEFI 2.10 table 5-5
	maxLabel   = 36  // UTF-16 units
	mebibyte   = 1 << 20
)

// huge is the size of a device on which every sensible layout fits, bytes.
const huge = 1 << 60

// Resolve settles every number of a layout for the given devices (keys as in
// Layout.Disk), one table for each disk that has one, in the order of their
// names. Equal arguments give equal tables: all GUIDs derive from seed, but for
// those of what is kept.
//
// Partitions are placed as disko has sgdisk place them, in order of priority
// and name, each at the start of the largest free range; those of a table as it
// has parted place them.
func Resolve(l Layout, disks map[string]Geometry, seed uuid.UUID) ([]Table, error) {
	if err := l.Validate(); err != nil {
		return nil, fmt.Errorf("validate layout: %w", err)
	}
	for _, name := range sortedKeys(disks) {
		if _, ok := l.Disk[name]; !ok {
			return nil, fmt.Errorf("resolve layout: it describes no disk %q", name)
		}
	}
	var tables []Table
	for _, name := range sortedKeys(l.Disk) {
		d := l.Disk[name]
		g, ok := disks[name]
		if !ok {
			return nil, fmt.Errorf("resolve layout: no device is given for disk %q", name)
		}
		if !d.HasTable() {
			continue
		}
		t, err := ResolveTable(name, d, g, seed)
		if err != nil {
			return nil, fmt.Errorf("resolve layout of disk %s: %w", name, err)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// HasTable says whether the disk gets a partition table.
func (d Disk) HasTable() bool { return isTable(d.Content) }

func isTable(c *Content) bool {
	if c == nil {
		return false
	}
	switch c.Spec.(type) {
	case *GPT, *MBR:
		return true
	}
	return false
}

// ErrTooSmall is wrapped by Resolve's error for a device that is too small.
var ErrTooSmall = errors.New("device too small")

// ResolveTable settles the table of one disk of a valid layout, whose key is
// name.
func ResolveTable(name string, d Disk, g Geometry, seed uuid.UUID) (Table, error) {
	return tableOf{KindDisk, name, d.named(name), d.Content}.resolve(g, seed)
}

// ResolveArrayTable settles the table on an array, whose key is name.
func ResolveArrayTable(name string, a Array, g Geometry, seed uuid.UUID) (Table, error) {
	return tableOf{KindArray, name, or(a.Name, name), a.Content}.resolve(g, seed)
}

// tableOf is a table that is to be settled.
type tableOf struct {
	kind, key string
	name      string // in labels
	content   *Content
}

func (o tableOf) resolve(g Geometry, seed uuid.UUID) (Table, error) {
	if g.SectorSize != 512 && g.SectorSize != 4096 {
		return Table{}, fmt.Errorf("sector size %d is neither 512 nor 4096", g.SectorSize)
	}
	t, err := o.place(g)
	if err != nil {
		if need := o.minimum(g); need > g.Size {
			return Table{}, tooSmall{have: g.Size, need: need}
		}
		return Table{}, err
	}
	path := o.kind + "/" + o.key
	if t.GUID == uuid.Nil {
		t.GUID = uuid.NewSHA1(seed, []byte(path))
	}
	for i := range t.Entries {
		if e := &t.Entries[i]; e.GUID == uuid.Nil {
			e.GUID = uuid.NewSHA1(seed, []byte(path+"/partition/"+e.Name))
		}
	}
	return t, nil
}

type tooSmall struct{ have, need int64 }

func (e tooSmall) Error() string {
	return fmt.Sprintf("device is %s, layout needs %s", bytesString(e.have), bytesString(e.need))
}

func (e tooSmall) Is(target error) bool { return target == ErrTooSmall }

// MinimumSize is the size in bytes of the smallest device, in whole MiB, that
// each table of the layout's disks fits on, with one MiB for a partition that
// takes what is left; what is in the partitions does not count. Partitions that
// are kept count with their size, or what it is to be. It is 0 when the layout
// fits on no device.
func MinimumSize(l Layout, sectorSize int) int64 {
	var most int64
	for name, d := range l.Disk {
		need := int64(mebibyte)
		if d.HasTable() {
			need = tableOf{KindDisk, name, d.named(name), unkept(d.Content)}.minimum(Geometry{SectorSize: sectorSize})
		}
		if need == 0 {
			return 0
		}
		most = max(most, need)
	}
	return most
}

// unkept is the table that one would make where there is nothing to keep.
func unkept(c *Content) *Content {
	t, ok := c.Spec.(*GPT)
	if !ok {
		return c
	}
	made := *t
	made.Partitions = map[string]Partition{}
	for key, p := range t.Partitions {
		if p.Keep {
			p.Keep, p.Size, p.Resize = false, or(p.Resize, p.Size), ""
		}
		made.Partitions[key] = p
	}
	return &Content{&made}
}

// minimum searches: where partitions end may depend on the size itself.
func (o tableOf) minimum(g Geometry) int64 {
	fits := func(mib int) bool {
		g.Size = int64(mib) * mebibyte
		_, err := o.place(g)
		return err == nil
	}
	if !fits(huge / mebibyte) {
		// An MBR ends at 2 TiB: try what it can describe.
		if most := 2 << 20; !fits(most) {
			return 0
		} else {
			return int64(sort.Search(most, fits)) * mebibyte
		}
	}
	return int64(sort.Search(huge/mebibyte, fits)) * mebibyte
}

// place computes the sectors of all partitions, without derived identifiers.
func (o tableOf) place(g Geometry) (Table, error) {
	t := Table{Kind: KindGPT, Disk: o.key, SectorSize: g.SectorSize, Size: g.Size}
	var err error
	switch s := o.content.Spec.(type) {
	case *GPT:
		err = placeGPT(&t, s, labels(o.kind, o.name), g)
	case *MBR:
		err = placeMBR(&t, s, g)
	default:
		err = errors.New("it has no partition table")
	}
	return t, err
}
