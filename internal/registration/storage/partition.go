package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
)

// The kinds, and the version of each.
const (
	PartitionKind  = "partition"
	FilesystemKind = "file-system-size"
	SwapKind       = "swap-area"
	SwapFileKind   = "swap-file"

	Version = 1
)

// Partition is an entry of a partition table that is added, changed or removed.
type Partition struct {
	Disk locate.Disk `json:"disk"`
	// Before and After are the entry; nil: it is not there.
	Before *layout.Entry `json:"before,omitempty"`
	After  *layout.Entry `json:"after,omitempty"`
	// Holds is the UUID of the file system that vic makes in it, as blkid shows
	// it. A partition that holds something else is not taken away.
	Holds string `json:"holds,omitempty"`
	// Stale is what the room of a new partition held before, by type and UUID:
	// what is left of something that was there once.
	Stale []string `json:"stale,omitempty"`
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
	return &Partition{Disk: locate.Disk{Device: device}, After: &e, Holds: holds}
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
	b, a := p.Before, p.After
	switch {
	case b == nil && a == nil:
		return fmt.Sprintf("partition %d of %s", p.number, p.Disk)
	case b == nil:
		return fmt.Sprintf("partition %d of %s added%s", a.Number, p.Disk, labelled(a))
	case a == nil:
		return fmt.Sprintf("partition %d of %s removed%s", b.Number, p.Disk, labelled(b))
	case b.LastLBA != a.LastLBA:
		return fmt.Sprintf("partition %d of %s ends at sector %d instead of %d", a.Number, p.Disk, a.LastLBA, b.LastLBA)
	}
	return fmt.Sprintf("partition %d of %s changed%s", a.Number, p.Disk, labelled(a))
}

// Validate refuses a record that no Prepare has made.
func (p *Partition) Validate() error {
	if p.Before == nil && p.After == nil {
		return errors.New("it is of no partition")
	}
	for i, piece := range p.Pieces {
		if piece.Offset < 0 || len(piece.Before) != len(piece.After) {
			return fmt.Errorf("piece %d of the table: %d bytes before, %d after, at %d", i, len(piece.Before), len(piece.After), piece.Offset)
		}
	}
	return nil
}

func labelled(e *layout.Entry) string {
	if e.Label == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", e.Label)
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

// findStale looks at the room of a new partition.
func (p *Partition) findStale(f *device) error {
	unit := int64(f.SectorSize())
	size := p.After.Size(f.SectorSize())
	list, err := probe.Probe(io.NewSectionReader(f, int64(p.After.FirstLBA)*unit, size), size)
	p.Stale = nil
	for _, r := range list {
		p.Stale = append(p.Stale, describe(r))
	}
	return err
}

// describe names a content.
func describe(r probe.Result) string { return strings.TrimSpace(r.Type + " " + r.UUID) }

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
	f, err := openDevice(p.Disk.Device, env)
	if err != nil {
		return err
	}
	t, err := disk.ReadTable(f)
	if err == nil {
		var last bool
		if last, err = protectiveLast(f); err == nil {
			t = with(t, p.Before, p.After)
			err = disk.WriteTable(ctx, f, t, last)
		}
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return show(ctx, env, p.Disk.Device)
}
