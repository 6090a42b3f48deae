package layout

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"unicode/utf16"

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
// Layout.Disk), one table for each disk, in the order of their names. Equal
// arguments give equal tables: all GUIDs derive from seed.
//
// Partitions are placed as disko has sgdisk place them, in order of priority
// and name, each at the start of the largest free range.
func Resolve(l Layout, disks map[string]Geometry, seed uuid.UUID) ([]Table, error) {
	if err := l.Validate(); err != nil {
		return nil, fmt.Errorf("validate layout: %w", err)
	}
	for name := range disks {
		if _, ok := l.Disk[name]; !ok {
			return nil, fmt.Errorf("resolve layout: it describes no disk %q", name)
		}
	}
	var tables []Table
	for _, name := range slices.Sorted(maps.Keys(l.Disk)) {
		g, ok := disks[name]
		if !ok {
			return nil, fmt.Errorf("resolve layout: no device is given for disk %q", name)
		}
		t, err := resolve(name, l.Disk[name], g, seed)
		if err != nil {
			return nil, fmt.Errorf("resolve layout of disk %s: %w", name, err)
		}
		tables = append(tables, t)
	}
	return tables, nil
}

// ErrTooSmall is wrapped by Resolve's error for a device that is too small.
var ErrTooSmall = errors.New("device too small")

func resolve(name string, d Disk, g Geometry, seed uuid.UUID) (Table, error) {
	if g.SectorSize != 512 && g.SectorSize != 4096 {
		return Table{}, fmt.Errorf("sector size %d is neither 512 nor 4096", g.SectorSize)
	}
	t, err := place(name, d, g)
	if err != nil {
		if need := minimumSize(name, d, g.SectorSize); need > 0 {
			return Table{}, tooSmall{have: g.Size, need: need}
		}
		return Table{}, err
	}
	t.GUID = uuid.NewSHA1(seed, []byte("disk/"+name))
	for i := range t.Entries {
		e := &t.Entries[i]
		path := "disk/" + name + "/partition/" + e.Name
		if e.GUID == uuid.Nil {
			e.GUID = uuid.NewSHA1(seed, []byte(path))
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
// each disk of the layout fits on, with one MiB for a partition that takes
// what is left. It is 0 when the layout fits on no device.
func MinimumSize(l Layout, sectorSize int) int64 {
	var most int64
	for name, d := range l.Disk {
		need := minimumSize(name, d, sectorSize)
		if need == 0 {
			return 0
		}
		most = max(most, need)
	}
	return most
}

// minimumSize searches: where partitions end may depend on the size itself.
func minimumSize(name string, d Disk, sectorSize int) int64 {
	fits := func(mib int) bool {
		_, err := place(name, d, Geometry{Size: int64(mib) * mebibyte, SectorSize: sectorSize})
		return err == nil
	}
	if !fits(huge / mebibyte) {
		return 0
	}
	return int64(sort.Search(huge/mebibyte, fits)) * mebibyte
}

// place computes the sectors of all partitions, without identifiers.
func place(name string, d Disk, g Geometry) (Table, error) {
	t := Table{Kind: KindGPT, Disk: name, SectorSize: g.SectorSize, Size: g.Size}
	free, err := newSpace(g)
	if err != nil {
		return t, err
	}
	gpt, ok := d.gpt()
	if !ok {
		return t, errors.New("it has no gpt")
	}
	for i, key := range order(gpt.Partitions) {
		p := gpt.Partitions[key]
		e, err := describeEntry(name, d, key, p)
		if err != nil {
			return t, fmt.Errorf("partition %s: %w", key, err)
		}
		e.Number = i + 1
		start, end, err := p.span()
		if err != nil {
			return t, fmt.Errorf("partition %s: %w", key, err)
		}
		align := uint64(mebibyte / g.SectorSize)
		if p.Alignment > 0 {
			align = uint64(p.Alignment)
		}
		if e.FirstLBA, e.LastLBA, err = free.take(start, end, align); err != nil {
			return t, fmt.Errorf("partition %s: %w", key, err)
		}
		t.Entries = append(t.Entries, e)
	}
	return t, nil
}

// order is disko's: by priority, and names where that is equal.
func order(partitions map[string]Partition) []string {
	names := slices.Sorted(maps.Keys(partitions))
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(partitions[a].priority(), partitions[b].priority())
	})
	return names
}

// priority with disko's defaults: what takes the rest comes last, and the BIOS
// boot partition first, since some firmware wants it there.
func (p Partition) priority() int {
	switch {
	case p.Priority != nil:
		return *p.Priority
	case p.Size == "100%":
		return 9001
	case strings.EqualFold(p.Type, "EF02"):
		return 100
	}
	return 1000
}

// describeEntry fills what does not depend on the device.
func describeEntry(name string, d Disk, key string, p Partition) (Entry, error) {
	e := Entry{Name: key, Label: p.Label}
	if e.Label == "" {
		e.Label = defaultLabel(or(d.Name, strings.ReplaceAll(name, "/", "_")), or(p.Name, key))
	}
	var err error
	if e.Type, err = typeGUID(p.Type); err != nil {
		return e, err
	}
	if p.UUID != "" {
		e.GUID = uuid.MustParse(p.UUID) // validated
	}
	for _, bit := range p.Attribute {
		e.Attributes |= 1 << bit
	}
	e.Content = p.Content
	return e, err
}

// gpt is the content of a disk, when it is one.
func (d Disk) gpt() (*GPT, bool) {
	if d.Content == nil {
		return nil, false
	}
	g, ok := d.Content.Spec.(*GPT)
	return g, ok
}

// defaultLabel is disko's; one that is too long is replaced by its hash.
func defaultLabel(disk, partition string) string {
	label := "disk-" + disk + "-" + partition
	if len(utf16.Encode([]rune(label))) <= maxLabel {
		return label
	}
	sum := sha256.Sum256([]byte(label))
	return hex.EncodeToString(sum[:])[:maxLabel]
}
