package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
)

// The kinds, and the version of each.
const (
	PartitionKind  = "partition"
	TableKind      = "partition-table"
	FilesystemKind = "file-system-size"
	PhysicalKind   = "physical-volume-size"
	SwapKind       = "swap-area"
	SwapFileKind   = "swap-file"
	StageFileKind  = "stage-file"

	Version = 1
)

// Partition is an entry of a partition table that is added, changed or removed.
type Partition struct {
	Disk locate.Disk `json:"disk"`
	part
	// Pieces are the bytes of the table that change.
	Pieces []piece `json:"pieces"`

	// number and change make After from Before.
	number int
	change func(*layout.Entry)
}

// Add makes a partition in free room. A number of 0 is the lowest that is free;
// a partition within an extended one is logical, and comes behind the others.
// Holds is the UUID of the file system that will be made in it; empty: none.
func Add(device string, e layout.Entry, holds string) *Partition {
	return &Partition{Disk: locate.Disk{Device: device}, part: part{After: &e, Holds: holds}}
}

// Change changes a partition: its end, its type, its name. Its first sector and
// its number stay.
func Change(device string, number int, change func(*layout.Entry)) *Partition {
	return &Partition{Disk: locate.Disk{Device: device}, number: number, change: change}
}

// Remove takes a partition out of the table. What it holds is not touched.
func Remove(device string, number int) *Partition {
	return &Partition{Disk: locate.Disk{Device: device}, number: number}
}

// Kind implements registration.Change.
func (p *Partition) Kind() string { return PartitionKind }

func (p *Partition) String() string {
	if p.Before == nil && p.After == nil {
		return fmt.Sprintf("partition %d of %s", p.number, p.Disk)
	}
	return p.describe(p.Disk)
}

// Validate refuses a record that no Prepare has made.
func (p *Partition) Validate() error {
	if err := p.part.validate(); err != nil {
		return err
	}
	return validate(p.Pieces)
}

// Number is that of the partition, after Prepare.
func (p *Partition) Number() int {
	if p.After != nil {
		return p.After.Number
	}
	return p.Before.Number
}

// Prepare implements registration.Change.
func (p *Partition) Prepare(ctx context.Context, env *registration.Env) error {
	d, t, err := locate.OfDisk(p.Disk.Device)
	if err != nil {
		return err
	}
	p.Disk = d
	if t.Lost != "" {
		return fmt.Errorf("the table of %s may have partitions that cannot be read: %s", d, t.Lost)
	}
	if err := p.settle(t); err != nil {
		return err
	}
	f, err := openDevice(d.Device, env)
	if err != nil {
		return err
	}
	after := with(t, p.Before, p.After)
	if err = fits(t, after, p.After); err == nil {
		p.Pieces, err = planned(ctx, f, after)
	}
	if err == nil && p.Before == nil {
		err = p.findStale(f)
	}
	return errors.Join(err, f.Close())
}

// settle finds Before and After.
func (p *Partition) settle(t layout.Table) error {
	if p.number == 0 {
		return p.settleNew(t)
	}
	i := slices.IndexFunc(t.Entries, func(e layout.Entry) bool { return e.Number == p.number })
	if i < 0 {
		return fmt.Errorf("%s has no partition %d", p.Disk, p.number)
	}
	before := t.Entries[i]
	p.Before = &before
	if p.change == nil {
		return nil
	}
	after := before
	if before.MBR != nil {
		m := *before.MBR
		after.MBR = &m
	}
	p.change(&after)
	if after.Number != before.Number || after.FirstLBA != before.FirstLBA {
		return errors.New("the number or the first sector would change")
	}
	after.Name = after.Label
	p.After = &after
	return nil
}

func (p *Partition) settleNew(t layout.Table) error {
	e := *p.After
	e.Name = e.Label
	switch {
	case t.Kind == layout.KindMBR && (e.MBR == nil || e.MBR.Type == 0):
		return errors.New("a partition of an MBR has to have a type")
	case t.Kind == layout.KindMBR:
		e = asMBR(e, t)
	case e.GUID == uuid.Nil || e.Type == uuid.Nil:
		return errors.New("a partition of a GPT has to have a GUID and a type")
	case slices.ContainsFunc(t.Entries, func(o layout.Entry) bool { return o.GUID == e.GUID }):
		return fmt.Errorf("there is a partition with the GUID %s already", e.GUID)
	}
	if e.Number == 0 {
		e.Number = freeNumber(e, t)
	}
	if slices.ContainsFunc(t.Entries, func(o layout.Entry) bool { return o.Number == e.Number }) {
		return fmt.Errorf("there is a partition %d already", e.Number)
	}
	p.After = &e
	return nil
}

// asMBR leaves what an MBR has of an entry.
func asMBR(e layout.Entry, t layout.Table) layout.Entry {
	e.GUID, e.Type, e.Label, e.Name, e.Attributes = uuid.Nil, uuid.Nil, "", "", 0
	m := layout.MBREntry{Type: e.MBR.Type, Bootable: e.MBR.Bootable, Part: "primary"}
	for _, o := range t.Entries {
		if isExtended(o) && o.FirstLBA <= e.FirstLBA && e.FirstLBA <= o.LastLBA {
			m.Part = "logical"
		}
	}
	e.MBR = &m
	return e
}

func isExtended(e layout.Entry) bool { return e.MBR != nil && e.MBR.Part == "extended" }

func isLogical(e layout.Entry) bool { return e.MBR != nil && e.MBR.Part == "logical" }

func freeNumber(e layout.Entry, t layout.Table) int {
	n := 1
	if isLogical(e) {
		n = 5
	}
	for slices.ContainsFunc(t.Entries, func(o layout.Entry) bool { return o.Number == n }) {
		n++
	}
	return n
}

// with is a table with one entry in the place of another; either may be nil.
// The logical partitions of an MBR are numbered as they lie.
func with(t layout.Table, old, new *layout.Entry) layout.Table {
	t.Entries = slices.DeleteFunc(slices.Clone(t.Entries), func(e layout.Entry) bool { return old != nil && same(e, *old) })
	if new != nil {
		t.Entries = append(t.Entries, *new)
	}
	slices.SortFunc(t.Entries, func(a, b layout.Entry) int {
		if isLogical(a) && isLogical(b) {
			return cmp.Compare(a.FirstLBA, b.FirstLBA)
		}
		return cmp.Compare(a.Number, b.Number)
	})
	next := 5
	for i := range t.Entries {
		if isLogical(t.Entries[i]) {
			t.Entries[i].Number = next
			next++
		}
	}
	return t
}

// same says whether two entries are of one partition: by GUID, or in an MBR by
// where it begins. A number may change when others are added or removed.
func same(a, b layout.Entry) bool {
	if a.GUID != uuid.Nil || b.GUID != uuid.Nil {
		return a.GUID == b.GUID
	}
	return a.FirstLBA == b.FirstLBA && isExtended(a) == isExtended(b)
}

// equalEntry says whether a partition is as it should be, but for its number.
func equalEntry(a, b layout.Entry) bool {
	mbr := func(e layout.Entry) (m layout.MBREntry) {
		if e.MBR != nil {
			m = *e.MBR
		}
		return m
	}
	return same(a, b) && a.FirstLBA == b.FirstLBA && a.LastLBA == b.LastLBA && a.Type == b.Type &&
		a.Label == b.Label && a.Attributes == b.Attributes && mbr(a) == mbr(b)
}

// fits refuses a table in which an entry overlaps another, or in which others
// have other numbers than they had, under which they are in use.
func fits(was, t layout.Table, e *layout.Entry) error {
	own := false
	for _, o := range t.Entries {
		for _, w := range was.Entries {
			if same(o, w) && o.Number != w.Number && (e == nil || !same(o, *e)) {
				return fmt.Errorf("partition %d would become partition %d", w.Number, o.Number)
			}
		}
		if e == nil {
			continue
		}
		if !own && equalEntry(o, *e) {
			own = true
			continue
		}
		inside := isExtended(o) && isLogical(*e) || isExtended(*e) && isLogical(o)
		if !inside && o.FirstLBA <= e.LastLBA && e.FirstLBA <= o.LastLBA {
			return fmt.Errorf("sectors %d to %d are not free: partition %d has %d to %d", e.FirstLBA, e.LastLBA, o.Number, o.FirstLBA, o.LastLBA)
		}
	}
	if e != nil && e.FirstLBA > e.LastLBA {
		return fmt.Errorf("partition %d: it ends at sector %d, before it begins", e.Number, e.LastLBA)
	}
	return nil
}

// Apply implements registration.Change.
func (p *Partition) Apply(ctx context.Context, env *registration.Env) error {
	return rewrite(ctx, env, p.Disk.Device, func(t layout.Table) layout.Table { return with(t, p.Before, p.After) })
}

// rewrite writes the table of a device, and shows it to the kernel.
func rewrite(ctx context.Context, env *registration.Env, device string, change func(layout.Table) layout.Table) error {
	f, err := openDevice(device, env)
	if err != nil {
		return err
	}
	t, err := disk.ReadTable(f)
	if err == nil {
		var last bool
		if last, err = protectiveLast(f); err == nil {
			err = disk.WriteTable(ctx, f, change(t), last)
		}
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return show(ctx, env, device)
}

// Check implements registration.Change.
func (p *Partition) Check(_ context.Context, _ *registration.Env) (registration.Standing, error) {
	return p.written().check()
}

// Revert implements registration.Change.
func (p *Partition) Revert(ctx context.Context, env *registration.Env) error {
	return p.written().revert(ctx, env)
}

func (p *Partition) written() written { return written{p.Disk, []part{p.part}, p.Pieces} }
