package envscan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"syscall"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/disk/sysfs"
)

// Contents is what is on a block device and who uses it. Of a device that could
// not be read (scan.gaps says why) there is only what the kernel tells: names
// and places of partitions, and users.
type Contents struct {
	// Table is the partition table, whose entries have neither content nor
	// names of a layout; null when there is none.
	Table *layout.Table `json:"table"`
	// TableDamage says what is wrong with it, for people.
	TableDamage []string `json:"tableDamage"`
	// Content is what the device as a whole is. Several things in one place are
	// all listed.
	Content   []probe.Result `json:"content"`
	Partition []Partition    `json:"partition"` // by number
	Use
}

// Use is who uses a device itself.
type Use struct {
	Mounts  []string `json:"mounts" privacy:"identifying"` // mount points, oldest first
	Swap    bool     `json:"swap"`                         // it is swapped to
	Holders []string `json:"holders"`                      // kernel names of what is made from it
}

// Partition is one, in bytes.
type Partition struct {
	Number int `json:"number"` // as in the table
	// Name is the kernel's; null when it does not know the partition, or has
	// it elsewhere than the table.
	Name    string         `json:"name"`
	Offset  int64          `json:"offset" unit:"bytes"` // from the beginning of the disk
	Size    int64          `json:"size" unit:"bytes"`   // of the partition
	Content []probe.Result `json:"content"`             // what it is: as content of a disk
	Use
}

// Volume is a block device made from others.
type Volume struct {
	Name string `json:"name"` // kernel name: dm-0, md127, loop3
	// Kind is crypt, lvm, dm (another one of the device mapper's), loop, other,
	// or the level of an array: raid1, linear.
	Kind       string   `json:"kind"`
	Title      string   `json:"title" privacy:"identifying"` // the name in /dev/mapper; the file of a loop device
	Size       int64    `json:"size" unit:"bytes"`           // bytes
	SectorSize int      `json:"sectorSize" unit:"bytes"`     // logical, bytes
	From       []string `json:"from"`                        // kernel names of what it is made from
	Contents
}

// users are all devices that have been asked about, by kernel name.
type users map[string]sysfs.Use

func (u users) add(list []sysfs.User) {
	for _, user := range list {
		u[user.Name] = user.Use
	}
}

func (u users) of(name string) Use {
	use := u[name]
	return Use{Mounts: use.Mounts, Swap: use.Swap, Holders: use.Holders}
}

// volumes describes what is made from the disks, those that sleep without being
// read.
func (s *scanner) volumes(ctx context.Context, users users, disks []string, sleeping map[string]bool) []Volume {
	var list []Volume
	var asks []*asked
	names := map[string]bool{}
	for name := range users {
		names[s.root.Whole(name)] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if slices.Contains(disks, name) {
			continue
		}
		v, err := s.root.Volume(name)
		if err != nil { // stopped since
			s.gap(diskFact(name), "/sys/block/"+name, err)
			continue
		}
		list = append(list, Volume{Name: v.Name, Kind: v.Kind, Title: v.Title, Size: v.Size, SectorSize: v.SectorSize, From: v.From})
		asks = append(asks, s.askAwake(name, v.SectorSize, sleeping))
	}
	for i := range list {
		list[i].Contents = s.answer(ctx, asks[i], users)
	}
	return list
}

// asked is a device that is being read. All are at once: one that hangs must
// not cost the others their time.
type asked struct {
	name    string
	extents []sysfs.Extent // as the kernel has them
	done    chan answer
}

type answer struct {
	disk probe.Disk
	err  error
}

func (s *scanner) ask(name string, sectorSize int) *asked {
	a := &asked{name: name, done: make(chan answer, 1)}
	var err error
	a.extents, err = s.root.Extents(name)
	s.gap(diskFact(name), "/sys/block/"+name, err)
	r := reader{root: s.root, open: s.open, extents: a.extents}
	go func() {
		d, err := r.read(name, sectorSize)
		a.done <- answer{d, err}
	}()
	return a
}

// answer takes what was read, and leaves a device alone that has not answered
// when ctx ends: its read ends with the program.
func (s *scanner) answer(ctx context.Context, a *asked, users users) Contents {
	var got answer
	select {
	case got = <-a.done:
	case <-ctx.Done():
		select {
		case got = <-a.done:
		default:
			got.err = context.Cause(ctx)
		}
	}
	s.gap(diskFact(a.name)+".content", sysfs.Node(a.name), got.err)
	c := Contents{Content: got.disk.Content, Use: users.of(a.name)}
	if t := got.disk.Table; t != nil {
		c.Table, c.TableDamage = &t.Table, t.Damage
	}
	c.partitions(got.disk, a.extents, users)
	return c
}

// partitions are those of the table, then those that only the kernel has.
func (c *Contents) partitions(d probe.Disk, extents []sysfs.Extent, users users) {
	known := map[string]bool{}
	for i, p := range d.Partitions {
		e := c.Table.Entries[i]
		part := Partition{Number: p.Number, Offset: int64(e.FirstLBA) * int64(c.Table.SectorSize), Size: e.Size(c.Table.SectorSize), Content: p.Content}
		if x, ok := extentOf(e, *c.Table, extents); ok {
			known[x.Name] = true
			part.Name, part.Use = x.Name, users.of(x.Name)
		}
		c.Partition = append(c.Partition, part)
	}
	for _, x := range extents {
		if known[x.Name] {
			continue
		}
		if c.Table != nil {
			c.TableDamage = append(c.TableDamage, fmt.Sprintf("the kernel has a partition %s that is not in the table", x.Name))
		}
		c.Partition = append(c.Partition, Partition{Number: x.Number, Name: x.Name, Offset: x.Offset, Size: x.Size, Use: users.of(x.Name)})
	}
}

// extentOf is where the kernel has an entry. It shows no more than the first
// sectors of an extended partition.
func extentOf(e layout.Entry, t layout.Table, extents []sysfs.Extent) (sysfs.Extent, bool) {
	for _, x := range extents {
		extended := e.MBR != nil && e.MBR.Part == "extended"
		if x.Number == e.Number && x.Offset == int64(e.FirstLBA)*int64(t.SectorSize) && (extended || x.Size == e.Size(t.SectorSize)) {
			return x, true
		}
	}
	return sysfs.Extent{}, false
}

// device is what is read: a block device, or an image in its place.
type device interface {
	io.ReaderAt
	io.Closer
	Size() (int64, error)
}

type file struct{ *os.File }

func (f file) Size() (int64, error) { return f.Seek(0, io.SeekEnd) }

// openDevice does not wait for a medium, and refuses what has no places to read
// at.
func openDevice(path string) (device, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && (st.Mode()&os.ModeDevice == 0 || st.Mode()&os.ModeCharDevice != 0) && !st.Mode().IsRegular() {
		err = fmt.Errorf("open %s: it is neither a block device nor a file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return file{f}, nil
}

// reader reads one device. It does not touch the scanner, which may have
// stopped waiting for it.
type reader struct {
	root    sysfs.Root
	open    func(string) (device, error)
	extents []sysfs.Extent
}

func (r reader) read(name string, sectorSize int) (d probe.Disk, err error) {
	f, err := r.open(r.root.Path(sysfs.Node(name)))
	if err != nil {
		return d, err
	}
	opened := []io.Closer{f}
	defer func() {
		for _, c := range opened {
			err = errors.Join(err, c.Close())
		}
	}()
	size, err := f.Size()
	if err != nil {
		return d, fmt.Errorf("read size: %w", err)
	}
	return probe.ReadDisk(f, size, sectorSize, func(e layout.Entry) io.ReaderAt {
		x, ok := extentOf(e, layout.Table{SectorSize: sectorSize}, r.extents)
		if !ok {
			return nil
		}
		// The disk itself serves where there is no node for the partition.
		part, err := r.open(r.root.Path(sysfs.Node(x.Name)))
		if err != nil {
			return nil
		}
		opened = append(opened, part)
		return part
	})
}
