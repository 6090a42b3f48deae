package sysfs

import (
	"fmt"
	"slices"
	"strings"
)

// The kinds of a Volume, beside the levels of arrays ("raid1", "linear", ...).
const (
	KindCrypt = "crypt"
	KindLVM   = "lvm"
	KindDM    = "dm" // another one of the device mapper's
	KindLoop  = "loop"
	KindArray = "md" // whose level the kernel does not tell
	KindOther = "other"
)

// Volume is a block device made from others.
type Volume struct {
	Name       string // kernel name: dm-0, md127, loop3
	Kind       string
	Title      string   // the name in /dev/mapper, or the file of a loop device
	Size       int64    // bytes
	SectorSize int      // logical, bytes
	From       []string // kernel names of what it is made from
	ReadOnly   bool
}

// Volume reads what the kernel tells of a device made from others.
func (r Root) Volume(name string) (Volume, error) {
	d, err := r.Disk(name)
	if err != nil {
		return Volume{}, err
	}
	v := Volume{Name: name, Kind: KindOther, Size: d.Size, SectorSize: d.SectorSize, ReadOnly: d.ReadOnly}
	if v.From, err = r.Names("sys/block", name, "slaves"); err != nil {
		return v, fmt.Errorf("list what %s is made from: %w", name, err)
	}
	switch {
	case r.exists("sys/block", name, "dm"):
		v.Title = d.text(r, "dm/name")
		v.Kind = dmKind(d.text(r, "dm/uuid"))
	case r.exists("sys/block", name, "md"):
		v.Kind = or(d.text(r, "md/level"), KindArray)
	case r.exists("sys/block", name, "loop"):
		v.Kind, v.Title = KindLoop, d.text(r, "loop/backing_file")
		if dev, ok := strings.CutPrefix(v.Title, "/dev/"); ok && r.isBlock(dev) {
			v.From = append(v.From, strings.ReplaceAll(dev, "/", "!"))
		}
	}
	return v, nil
}

// dmKind tells by the prefix that programs give the UUIDs of what they make.
func dmKind(uuid string) string {
	switch prefix, _, _ := strings.Cut(uuid, "-"); prefix {
	case "CRYPT":
		return KindCrypt
	case "LVM":
		return KindLVM
	}
	return KindDM
}

// Whole is the disk that a device is a partition of, or the device itself.
func (r Root) Whole(name string) string {
	if r.exists("sys/block", name) {
		return name
	}
	disks, err := r.Names("sys/block")
	if err != nil {
		return name
	}
	for _, d := range disks {
		if strings.HasPrefix(name, d) && r.exists("sys/block", d, name, "partition") {
			return d
		}
	}
	return name
}

// isBlock says whether the kernel has a block device of that name in /dev.
func (r Root) isBlock(name string) bool {
	name = strings.ReplaceAll(name, "/", "!")
	return r.exists("sys/block", r.Whole(name))
}

// Extent is where the kernel has a partition.
type Extent struct {
	Name         string // kernel name
	Number       int
	Offset, Size int64 // bytes
}

// Extents are the partitions of a disk as the kernel knows them, by number.
func (r Root) Extents(disk string) ([]Extent, error) {
	names, err := r.Partitions(disk)
	if err != nil {
		return nil, err
	}
	var list []Extent
	for _, name := range names {
		e := Extent{Name: name}
		number, err := r.Number("sys/block", disk, name, "partition")
		if err != nil {
			return nil, fmt.Errorf("read partition %s: %w", name, err)
		}
		e.Number = int(number)
		// In this unit whatever the sector size.
		start, err := r.Number("sys/block", disk, name, "start")
		if err != nil {
			return nil, fmt.Errorf("read partition %s: %w", name, err)
		}
		size, err := r.Number("sys/block", disk, name, "size")
		if err != nil {
			return nil, fmt.Errorf("read partition %s: %w", name, err)
		}
		e.Offset, e.Size = start*512, size*512
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Extent) int { return a.Number - b.Number })
	return list, nil
}
