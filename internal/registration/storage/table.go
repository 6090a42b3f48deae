package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
)

// Table is a partition table of which several entries change in one write.
type Table struct {
	Disk  locate.Disk `json:"disk"`
	Parts []part      `json:"parts"`
	// Pieces are the bytes of the table that change.
	Pieces []piece `json:"pieces"`

	after layout.Table
	holds map[int]string
}

// Rewrite makes the table of a device another one: entries are added, changed or
// removed, all at once. Holds has the UUIDs of the file systems that will be made,
// by the numbers of the partitions.
func Rewrite(device string, after layout.Table, holds map[int]string) *Table {
	return &Table{Disk: locate.Disk{Device: device}, after: after, holds: holds}
}

// Kind implements registration.Change.
func (t *Table) Kind() string { return TableKind }

func (t *Table) String() string {
	if len(t.Parts) == 0 {
		return fmt.Sprintf("partition table of %s", t.Disk)
	}
	var list []string
	for _, p := range t.Parts {
		list = append(list, p.describe(t.Disk))
	}
	return strings.Join(list, ", ")
}

// Validate refuses a record that no Prepare has made.
func (t *Table) Validate() error {
	if len(t.Parts) == 0 {
		return errors.New("it is of no partition")
	}
	for _, p := range t.Parts {
		if err := p.validate(); err != nil {
			return err
		}
	}
	return validate(t.Pieces)
}

// Prepare implements registration.Change.
func (t *Table) Prepare(ctx context.Context, env *registration.Env) error {
	d, now, err := locate.OfDisk(t.Disk.Device)
	if err != nil {
		return err
	}
	t.Disk = d
	switch {
	case now.Lost != "":
		return fmt.Errorf("the table of %s may have partitions that cannot be read: %s", d, now.Lost)
	case now.Kind != t.after.Kind || now.Size != t.after.Size || now.SectorSize != t.after.SectorSize || !bytes.Equal(now.GUID[:], t.after.GUID[:]):
		return fmt.Errorf("the table of %s is another one than the one that is to be changed", d)
	}
	t.compare(now)
	if len(t.Parts) == 0 {
		return fmt.Errorf("nothing would change in the table of %s", d)
	}
	after := t.changed(now)
	for _, p := range t.Parts {
		if err := fits(now, after, p.After); err != nil {
			return err
		}
	}
	f, err := openDevice(d.Device, env)
	if err != nil {
		return err
	}
	t.Pieces, err = planned(ctx, f, after)
	for i, p := range t.Parts {
		if p.Before == nil && err == nil {
			err = t.Parts[i].findStale(f)
		}
	}
	return errors.Join(err, f.Close())
}

// compare finds the entries that change.
func (t *Table) compare(now layout.Table) {
	t.Parts = nil
	for _, e := range now.Entries {
		after := entryOf(t.after, e)
		if after == nil || !equalEntry(e, *after) || e.Number != after.Number {
			t.Parts = append(t.Parts, part{Before: &e, After: after, Holds: t.holds[e.Number]})
		}
	}
	for _, e := range t.after.Entries {
		if entryOf(now, e) == nil {
			t.Parts = append(t.Parts, part{After: entryOf(t.after, e), Holds: t.holds[e.Number]})
		}
	}
}

// entryOf is the entry of the same partition, named as tables name it; nil: none.
func entryOf(t layout.Table, want layout.Entry) *layout.Entry {
	for _, e := range t.Entries {
		if same(e, want) {
			e.Name = e.Label
			return &e
		}
	}
	return nil
}

func (t *Table) changed(now layout.Table) layout.Table {
	for _, p := range t.Parts {
		now = with(now, p.Before, p.After)
	}
	return now
}

// Apply implements registration.Change.
func (t *Table) Apply(ctx context.Context, env *registration.Env) error {
	return rewrite(ctx, env, t.Disk.Device, t.changed)
}

// Check implements registration.Change.
func (t *Table) Check(_ context.Context, _ *registration.Env) (registration.Standing, error) {
	return t.written().check()
}

// Revert implements registration.Change.
func (t *Table) Revert(ctx context.Context, env *registration.Env) error {
	return t.written().revert(ctx, env)
}

func (t *Table) written() written { return written{t.Disk, t.Parts, t.Pieces} }
