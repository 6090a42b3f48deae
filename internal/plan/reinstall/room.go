package reinstall

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/stage"
)

// in plans an attempt with one kind of room.
func (t *target) in(r Room) (Plan, error) {
	p := Plan{Version: 1, ID: t.ID, Disk: identity(t.disk), Firmware: "uefi", Before: t.table, After: t.table}
	if t.bios() {
		p.Firmware = "bios"
	}
	var err error
	switch r {
	case Free:
		err = t.free(&p)
	case Swap:
		err = t.swap(&p)
	case LVM:
		err = t.lvm(&p)
	case Btrfs:
		if err = t.makingFree(&p, (*target).btrfs); err == nil {
			p.Room.SwapFiles = t.unpin(p.Room.SwapFiles)
		}
	case Extent:
		return t.extent(p)
	case Files:
		err = t.makingFree(&p, (*target).files)
	default:
		err = fmt.Errorf("there is no room %q", r)
	}
	if err != nil {
		return p, err
	}
	return p, t.rest(&p, r)
}

// rest plans what follows from the room.
func (t *target) rest(p *Plan, r Room) error {
	p.Room.Kind = r
	if err := t.enter(p); err != nil {
		return err
	}
	return t.install(p)
}

func identity(d envscan.Disk) plan.Disk {
	return plan.Disk{Device: "/dev/" + d.Name, Path: d.Path, Serial: d.Serial, WWN: d.WWN, Model: d.Model, Size: d.Size, SectorSize: d.SectorSize}
}

// place sets the stage's places in a plan.
func (t *target) place(p *Plan, table layout.Table, g gap) error {
	after, at, core, err := t.put(table, g)
	if err != nil {
		return err
	}
	p.After, p.Stage = after, at
	if t.core > 0 {
		p.Core = &core
	}
	return nil
}

func (t *target) free(p *Plan) error {
	g := largest(gaps(t.table))
	if g.size() == 0 {
		return errors.New("the disk is full of partitions")
	}
	return t.place(p, t.table, g)
}

// swap tries each swap partition of the disk, the last one first.
func (t *target) swap(p *Plan) error {
	var errs []error
	for _, part := range slices.Backward(t.disk.Partition) {
		found, ok := contentOf(part, "swap")
		if !ok {
			continue
		}
		err := t.replaceSwap(p, part)
		if err == nil {
			p.Room = RoomPlan{Partition: part.Number, Device: part.Name, UUID: found.UUID, Label: found.Label}
			return nil
		}
		errs = append(errs, fmt.Errorf("/dev/%s: %w", part.Name, err))
	}
	if len(errs) == 0 {
		return errors.New("there is none on this disk")
	}
	return errors.Join(errs...)
}

// spare is memory that has to stay available when swap goes.
const spare = 64 * mib

// swapsIn says whether memory has room for so much that is swapped out, beside the
// RAM system, which is in memory by then if the running kernel is to start it.
func (t *target) swapsIn(used int64) error {
	available := t.Facts.State.MemoryAvailable - spare
	if t.kexec == nil && (t.Way == "" || t.Way == Kexec) {
		available -= t.Sizes.Kernel + t.Sizes.Initrd
	}
	if used <= available {
		return nil
	}
	return fmt.Errorf("%s are swapped out, and memory has room for %s", plan.Bytes(used), plan.Bytes(max(0, available)))
}

func (t *target) replaceSwap(p *Plan, part envscan.Partition) error {
	tight := t.swapsIn(t.Running.Swapped[part.Name])
	switch {
	case t.Running.Resume == part.Name:
		return errors.New("the system wakes up from it (resume=): it is left alone")
	case part.Swap && tight != nil:
		return tight
	case len(part.Mounts) > 0 || len(part.Holders) > 0 || part.Name == "":
		return errors.New("something else uses it too")
	}
	without := t.table
	without.Entries = slices.DeleteFunc(slices.Clone(t.table.Entries), func(e layout.Entry) bool { return e.Number == part.Number })
	if part.Number > 4 && t.table.Kind == layout.KindMBR && slices.ContainsFunc(t.table.Entries, func(e layout.Entry) bool { return e.Number > part.Number }) {
		return errors.New("logical partitions after it would get other numbers")
	}
	for _, g := range gaps(without) {
		// Within the swap's own range, and what is free around it.
		if g.from < part.Offset+part.Size && part.Offset < g.to {
			return t.place(p, without, g)
		}
	}
	return errors.New("it is smaller than 1 MiB")
}

func contentOf(p envscan.Partition, types ...string) (probe.Result, bool) {
	for _, c := range p.Content {
		if slices.Contains(types, c.Type) {
			return c, true
		}
	}
	return probe.Result{}, false
}

// rootPartition is the one that the root file system is in, directly.
func (t *target) rootPartition() (envscan.Partition, error) {
	part, err := t.partitionOf(t.root)
	if err != nil {
		err = fmt.Errorf("the root file system: %w", err)
	}
	return part, err
}

// partitionOf is the one that a file system is in, directly.
func (t *target) partitionOf(f Filesystem) (envscan.Partition, error) {
	if p, ok := t.partition(f.Device); ok {
		return p, nil
	}
	if v := volume(t.Facts, f.Device); v != nil {
		return envscan.Partition{}, fmt.Errorf("it is in %s (%s), and vic makes no room in a volume", or(v.Title, v.Name), v.Kind)
	}
	return envscan.Partition{}, fmt.Errorf("it is not in a partition of %s", t.disk.Name)
}

// keepFree is what stays free in a root file system that the old system goes on
// with if the attempt is taken back.
const keepFree = 64 * mib

// behind is the gap after a partition; empty when another one follows.
func behind(t layout.Table, p envscan.Partition) int64 {
	for _, g := range gaps(t) {
		if g.from == up(p.Offset+p.Size, mib) && !g.logical {
			return g.size()
		}
	}
	return 0
}

// beyond is what of a partition's end no other one can have: an MBR reaches to the
// end of the disk, where the GPT that it becomes has its second copy.
func beyond(t layout.Table, p envscan.Partition) int64 {
	_, last, ok := layout.Usable(layout.Geometry{Size: t.Size, SectorSize: t.SectorSize})
	if t.Kind != layout.KindMBR || !ok {
		return 0
	}
	return max(0, p.Offset+p.Size-down(int64(last+1)*int64(t.SectorSize), mib))
}

// shrunk is the table in which a partition ends earlier.
func shrunk(t layout.Table, number int, size int64) layout.Table {
	t.Entries = slices.Clone(t.Entries)
	for i, e := range t.Entries {
		if e.Number == number {
			t.Entries[i].LastLBA = e.FirstLBA + uint64(size/int64(t.SectorSize)) - 1
		}
	}
	return t
}

// btrfs makes room at the end of the partition with the root.
func (t *target) btrfs(p *Plan) error {
	part, size, err := t.shrinkRoot(0, "btrfs")
	if err != nil {
		return err
	}
	if t.root.Devices > 1 {
		return fmt.Errorf("the root is a btrfs over %d devices", t.root.Devices)
	}
	found, _ := contentOf(part, "btrfs")
	p.Room = RoomPlan{Partition: part.Number, Device: part.Name, UUID: found.UUID, Label: found.Label, Mountpoint: "/", Size: size}
	table := shrunk(t.table, part.Number, size)
	for _, g := range gaps(table) {
		if g.from == part.Offset+size {
			return t.place(p, table, g)
		}
	}
	return errors.New("there is no gap behind it")
}

// shrinkRoot finds the size that the root's partition can be shrunk to, so that
// there is room behind it, when so many bytes are written to it also.
func (t *target) shrinkRoot(also int64, types ...string) (part envscan.Partition, size int64, err error) {
	if !slices.Contains(types, t.root.Type) {
		return part, 0, fmt.Errorf("the root is %s, and not %s", or(t.root.Type, "of an unknown type"), strings.Join(types, " or "))
	}
	if part, err = t.rootPartition(); err != nil {
		return part, 0, err
	}
	if t.table.Kind == layout.KindMBR && part.Number > 4 {
		return part, 0, errors.New("the root is in a logical partition")
	}
	more := t.need + t.core - behind(t.table, part) + beyond(t.table, part)
	// Whole MiB from the start of the disk, so that what follows is aligned.
	size = down(part.Offset+part.Size-max(more, 0), mib) - part.Offset
	if more <= 0 {
		return part, 0, errors.New("there is room behind it already")
	}
	missing := part.Size - size + also + keepFree - t.root.Free
	// What is written to it takes more than its size: tables, and their margin.
	least := t.root.MinSize + also + also/8
	switch {
	case t.root.MinSize > 0 && least > size && least-size > missing:
		return part, 0, short{least - size, fmt.Sprintf("it can be shrunk to %s with the files in it, and would have to be at most %s", plan.Bytes(least), plan.Bytes(size))}
	case missing > 0 && also > 0:
		return part, 0, short{missing, fmt.Sprintf("%s are free in the root file system, and %s are needed: for the files, and to shrink it", plan.Bytes(t.root.Free), plan.Bytes(t.root.Free+missing))}
	case missing > 0:
		return part, 0, short{missing, fmt.Sprintf("%s are free in it, and it would have to shrink by %s and keep %s", plan.Bytes(t.root.Free), plan.Bytes(part.Size-size), plan.Bytes(keepFree))}
	}
	return part, size, nil
}

// files leaves everything in the root file system; the RAM system shrinks it.
func (t *target) files(p *Plan) error {
	if t.root.Type == "xfs" {
		return errors.New("the root is xfs, which cannot be shrunk")
	}
	if err := t.onRoot(Folder); err != nil {
		return err
	}
	// The files are there twice for a while: in it, and behind it.
	part, size, err := t.shrinkRoot(t.need, "ext2", "ext3", "ext4")
	if err != nil {
		return err
	}
	found, ok := contentOf(part, "ext2", "ext3", "ext4")
	if !ok {
		return errors.New("what is in its partition could not be told")
	}
	if err := t.place(p, shrunk(t.table, part.Number, size), gap{from: part.Offset + size, to: part.Offset + size + t.need + t.core}); err != nil {
		return err
	}
	after := p.After
	p.After = t.table
	folder := path.Join(Folder, t.ID.String())
	p.Room = RoomPlan{Partition: part.Number, Device: part.Name, UUID: found.UUID, Label: found.Label, Size: size, Folder: folder, Table: &after}
	p.Hop = &stage.Hop{Filesystem: found.UUID, Format: found.Type, Folder: path.Join("/", t.root.Subvolume, folder)}
	if after.Kind == layout.KindMBR {
		p.Hop.Table = &after
	} else {
		p.Hop.Layout = t.hopLayout(after, part.Number, size)
	}
	return nil
}

// hopLayout keeps all that there is, shrinks one, and makes the stage.
func (t *target) hopLayout(after layout.Table, number int, size int64) layout.Layout {
	gpt := &layout.GPT{Partitions: map[string]layout.Partition{}}
	for _, e := range after.Entries {
		key, p := "p"+strconv.Itoa(e.Number), layout.Partition{UUID: e.GUID.String(), Keep: true}
		switch {
		case e.Label == stage.Label || e.Label == stage.BootLabel:
			key = e.Label
			p.Keep, p.Label, p.Type = false, e.Label, e.Type.String()
			p.UUID, p.Priority = e.GUID.String(), &e.Number // so that they have these numbers
			p.Start, p.End = fmt.Sprintf("%ds", e.FirstLBA), fmt.Sprintf("%ds", e.LastLBA)
		case e.Number == number:
			p.Resize = fmt.Sprintf("%ds", size/int64(after.SectorSize))
			p.Content = &layout.Content{Spec: &layout.Filesystem{Format: t.root.Type}}
		}
		gpt.Partitions[key] = p
	}
	match := &layout.Match{Serial: t.disk.Serial, WWN: t.disk.WWN, Table: after.GUID.String()}
	return layout.Layout{Disk: map[string]layout.Disk{t.Disk: {Type: "disk", Match: match, Content: &layout.Content{Spec: gpt}}}}
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}
