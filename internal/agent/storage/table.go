package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
	plan "github.com/victorinix/vic/internal/plan/storage"
)

// isUnfinished says whether a partition has the type of those whose content is
// still to be made.
func isUnfinished(e layout.Entry) bool {
	return e.Type == plan.TypeUnfinished || e.Type == layout.Entry{}.Type && e.MBR != nil && e.MBR.Type == plan.UnfinishedMBR
}

// unfinish is the table with the partitions marked whose content is to be made:
// all that have one and are not kept. One that is on the disk as it shall be,
// with its final type, is never marked again.
func unfinish(t layout.Table, now *layout.Table) layout.Table {
	t.Entries = slices.Clone(t.Entries)
	for i, e := range t.Entries {
		if e.Content == nil || e.Kept || now != nil && slices.ContainsFunc(now.Entries, func(o layout.Entry) bool { return sameEntry(e, o) == final }) {
			continue
		}
		if t.Kind == layout.KindMBR {
			mbr := layout.MBREntry{}
			if e.MBR != nil {
				mbr = *e.MBR
			}
			mbr.Type = plan.UnfinishedMBR
			t.Entries[i].MBR = &mbr
			continue
		}
		t.Entries[i].Type, t.Entries[i].MBR = plan.TypeUnfinished, nil
	}
	return t
}

// now reads the table that is on a device. whole says that nothing is wrong
// with it: of one that was being written when the power failed, a copy is old.
func (e *Executor) now(device string) (t *layout.Table, whole bool, err error) {
	found, err := e.Machine.Table(device)
	if err != nil {
		return nil, false, fmt.Errorf("read table of %s: %w", device, err)
	}
	if found == nil {
		return nil, true, nil
	}
	return &found.Table, len(found.Damage) == 0, nil
}

// ours says how far the steps' own table is on a disk.
func (e *Executor) ours(name, device string) (likeness, error) {
	w, ok := e.stack.tables["disk/"+name]
	if !ok {
		return different, nil
	}
	t, _, err := e.now(device)
	return compare(w.Table, t), err
}

// checkState compares a disk with what the plan was made for, or with what the
// plan makes of it: then an earlier run began.
func (e *Executor) checkState(ctx context.Context, a plan.CheckState) error {
	d, err := e.writable(a.Disk)
	if err != nil {
		return err
	}
	name := e.name(a.Disk)
	like, err := e.ours(name, d.Device)
	if err != nil {
		return err
	}
	t, _, err := e.now(d.Device)
	if err != nil {
		return err
	}
	wipe, wiped := e.stack.wiped[name]
	switch {
	case like != different:
	case t == nil && a.Before == nil:
	case t != nil && a.Before != nil && compare(*a.Before, t) == final:
	case t == nil && wiped && e.began(name):
	default:
		return Refuse("disk %s is not what the plan was made for: %s", Describe(d), changed(a.Before, t))
	}
	if !wiped {
		return nil
	}
	if over, err := e.handedOver(a.Disk, wipe.Table, wipe.Anew); err != nil || over {
		return err
	}
	users, err := e.Machine.Users(d.Device, ranges(wipe.Keep))
	if err != nil {
		return fmt.Errorf("see who uses %s: %w", Describe(d), err)
	}
	if len(users) > 0 {
		return Refuse("disk %s is in use: %s", Describe(d), strings.Join(users, "; "))
	}
	return nil
}

// name is what the layout calls a disk.
func (e *Executor) name(d plan.Disk) string {
	for name, other := range e.Disks {
		if SameDisk(other, d) {
			return name
		}
	}
	return ""
}

// began says whether the journal knows that the disk was being wiped.
func (e *Executor) began(name string) bool {
	return slices.ContainsFunc(e.Steps, func(s plan.Step) bool {
		w, ok := s.Action.(plan.Wipe)
		return ok && e.name(w.Disk) == name && e.Journal.started(s)
	})
}

// changed says what is different between two tables, for people.
func changed(before, now *layout.Table) string {
	switch {
	case before == nil:
		return fmt.Sprintf("it had no partition table, and has a %s of %d partitions", kind(*now), len(now.Entries))
	case now == nil:
		return fmt.Sprintf("it had a %s of %d partitions, and has none", kind(*before), len(before.Entries))
	case !sameID(*before, *now):
		return fmt.Sprintf("its partition table was %s, and is %s", before.GUID, now.GUID)
	}
	var list []string
	for _, b := range parts(*before) {
		at := slices.IndexFunc(now.Entries, func(o layout.Entry) bool { return o.Number == b.Number })
		if at < 0 {
			list = append(list, fmt.Sprintf("partition %d is gone", b.Number))
		} else if sameEntry(b, now.Entries[at]) != final {
			list = append(list, fmt.Sprintf("partition %d is another", b.Number))
		}
	}
	for _, n := range parts(*now) {
		if !slices.ContainsFunc(before.Entries, func(o layout.Entry) bool { return o.Number == n.Number }) {
			list = append(list, fmt.Sprintf("partition %d is new", n.Number))
		}
	}
	return strings.Join(list, ", ")
}

func ranges(list []plan.Range) []disk.Range {
	var all []disk.Range
	for _, r := range list {
		all = append(all, disk.Range(r))
	}
	return all
}

// handedOver says that what changes hands on a disk has done so: its table is
// the steps' own, or the journal has the disk wiped. With anew a table that is
// finished has to be this run's, which only the journal knows: see plan.Wipe.
func (e *Executor) handedOver(a plan.Disk, table *layout.Table, anew bool) (bool, error) {
	if table == nil {
		return e.wipedBefore(a), nil
	}
	d, err := e.findDisk(a)
	if err != nil {
		return false, err
	}
	now, _, err := e.now(d.Device)
	if anew && !e.wipedBefore(a) {
		return begun(*table, now), err
	}
	return compare(*table, now) != different, err
}

// wipedBefore says that the journal has a disk wiped.
func (e *Executor) wipedBefore(a plan.Disk) bool {
	return slices.ContainsFunc(e.Steps, func(s plan.Step) bool {
		w, ok := s.Action.(plan.Wipe)
		return ok && SameDisk(w.Disk, a) && e.Journal.done(s)
	})
}

func (e *Executor) release(s plan.Step, a plan.Release) work {
	return work{
		probe: func(context.Context) (bool, error) {
			w, ok := e.stack.wiped[e.name(a.Disk)]
			if !ok {
				return false, nil
			}
			return e.handedOver(a.Disk, w.Table, a.Anew)
		},
		do: func(ctx context.Context) error {
			d, err := e.writable(a.Disk)
			if err != nil {
				return err
			}
			stopped, err := e.Machine.Release(ctx, d.Device, ranges(a.Keep))
			if len(stopped) > 0 {
				e.Sink.Emit(event.Event{Phase: s.Phase, Step: s.Name, State: event.Progress, Message: "stopped " + strings.Join(stopped, ", ")})
			}
			if err != nil {
				return fmt.Errorf("release %s: %w", Describe(d), err)
			}
			return nil
		},
	}
}

func (e *Executor) wipe(s plan.Step, a plan.Wipe) work {
	return work{
		probe: func(context.Context) (bool, error) { return e.handedOver(a.Disk, a.Table, a.Anew) },
		do: func(ctx context.Context) error {
			d, err := e.writable(a.Disk)
			if err != nil {
				return err
			}
			e.written = true
			e.made["disk/"+e.name(a.Disk)] = true
			var parts []disk.Range
			if a.Table != nil {
				parts = disk.Ranges(*a.Table)
			}
			if err := e.Machine.Wipe(ctx, d.Device, parts, ranges(a.Keep)); err != nil {
				return fmt.Errorf("wipe %s: %w", Describe(d), err)
			}
			e.cleared[e.name(a.Disk)] = true
			return nil
		},
	}
}

// writeTable writes a table, or its unfinished form.
func (e *Executor) writeTable(s plan.Step, a plan.WriteTable) work {
	if a.Device.Array != "" {
		return e.arrayTable(s, a)
	}
	want := between
	if !a.Unfinished {
		want = final
	}
	there := func(context.Context) (bool, error) {
		d, err := e.disk(a.Device.Disk)
		if err != nil {
			return false, err
		}
		now, whole, err := e.now(d.Device)
		if a.Anew && !e.wipedBefore(d) {
			return begun(a.Table, now) && whole, err
		}
		return compare(a.Table, now) >= want && whole, err
	}
	return work{
		probe: func(ctx context.Context) (bool, error) {
			done, err := there(ctx)
			if err == nil && !done && !a.Unfinished {
				err = e.unchanged(a)
			}
			return done, err
		},
		seen: there,
		do:   func(ctx context.Context) error { return e.putTable(ctx, a) },
		ready: func(ctx context.Context) error { // an earlier run may have ended before the kernel read it
			d, err := e.disk(a.Device.Disk)
			if err != nil {
				return err
			}
			return e.Machine.ShowTable(ctx, d.Device, a.Table)
		},
	}
}

// unchanged refuses to finish a table that is not the one that was begun.
func (e *Executor) unchanged(a plan.WriteTable) error {
	begun := slices.ContainsFunc(e.Steps, func(s plan.Step) bool {
		w, ok := s.Action.(plan.WriteTable)
		return ok && w.Unfinished && w.Device == a.Device
	})
	if !begun {
		return nil
	}
	d, err := e.disk(a.Device.Disk)
	if err != nil {
		return err
	}
	now, _, err := e.now(d.Device)
	if err != nil {
		return err
	}
	if compare(a.Table, now) == different {
		return Refuse("finish table of %s: it is not the one that was begun: %s", Describe(d), changed(&a.Table, now))
	}
	return nil
}

func (e *Executor) putTable(ctx context.Context, a plan.WriteTable) error {
	if err := e.writing(a.Device); err != nil {
		return err
	}
	d, err := e.disk(a.Device.Disk)
	if err != nil {
		return err
	}
	t := a.Table
	if a.Unfinished {
		now, _, err := e.now(d.Device)
		if err != nil {
			return err
		}
		if a.Anew || e.made["disk/"+a.Device.Disk] {
			now = nil
		}
		t = unfinish(t, now)
	}
	if err := e.Machine.WriteTable(ctx, d.Device, t, a.EFIFirst); err != nil {
		return fmt.Errorf("write table to %s: %w", Describe(d), err)
	}
	return nil
}
