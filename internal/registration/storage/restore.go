package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
)

// show has the kernel read the table of a device; of an image there is nothing
// to show.
func show(ctx context.Context, env *registration.Env, device string) error {
	if !isBlock(device) {
		return nil
	}
	t, err := locate.ReadTable(device)
	if err != nil {
		return err
	}
	env.Note("show the table of " + device + " to the kernel")
	return disk.Reread(ctx, device, t)
}

func isBlock(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode()&os.ModeType == os.ModeDevice
}

// Check implements registration.Change.
func (p *Partition) Check(_ context.Context, _ *registration.Env) (registration.Standing, error) {
	device, err := p.Disk.Find()
	if err != nil {
		return registration.Standing{}, err
	}
	is, err := p.compare(device)
	if err != nil {
		return registration.Standing{}, err
	}
	t, err := locate.ReadTable(device)
	if err != nil {
		return registration.Standing{}, err
	}
	st := registration.Standing{Is: is}
	switch is {
	case registration.Partly:
		st.Detail = "the table was written in part"
		return st, nil
	case registration.Changed:
		st = p.meaning(t)
	}
	switch {
	case st.Is == registration.Before && p.stale(device):
		return registration.Standingf(registration.Partly, "the kernel does not know yet"), nil
	case st.Is == registration.Stands:
		return p.content(device, t)
	}
	return st, nil
}

// compare looks at the bytes of the table.
func (p *Partition) compare(device string) (is registration.Is, err error) {
	f, err := disk.Open(device, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	is, err = compare(f, p.Pieces)
	return is, errors.Join(err, f.Close())
}

// meaning looks at the partition alone: others changed others.
func (p *Partition) meaning(t layout.Table) registration.Standing {
	find := func(want *layout.Entry) *layout.Entry {
		i := slices.IndexFunc(t.Entries, func(e layout.Entry) bool { return want != nil && same(e, *want) })
		if i < 0 {
			return nil
		}
		return &t.Entries[i]
	}
	before, after := find(p.Before), find(p.After)
	switch {
	case p.Before != nil && before != nil && equalEntry(*before, *p.Before):
		return registration.Standing{Is: registration.Before}
	case p.After != nil && after != nil && equalEntry(*after, *p.After):
		return registration.Standing{Is: registration.Stands}
	case p.Before == nil && after == nil:
		return registration.Standing{Is: registration.Before}
	case p.After == nil && before == nil:
		return registration.Standing{Is: registration.Stands}
	case p.After == nil:
		return registration.Standingf(registration.Stands, "its room is partition %d now", before.Number)
	case after != nil:
		return registration.Standingf(registration.Changed, "partition %d is another one now: sectors %d to %d", after.Number, after.FirstLBA, after.LastLBA)
	case before != nil:
		return registration.Standingf(registration.Changed, "partition %d is another one now: sectors %d to %d", before.Number, before.FirstLBA, before.LastLBA)
	}
	return registration.Standingf(registration.Changed, "somebody removed it")
}

// stale says whether the kernel still shows what is no longer in the table, or
// does not show yet what is again.
func (p *Partition) stale(device string) bool {
	name, err := disk.KernelName(device)
	if err != nil {
		return false // an image
	}
	shows := func(e *layout.Entry) bool { return e != nil && p.shown(name, *e) }
	if p.Before != nil {
		return !shows(p.Before)
	}
	return shows(p.After)
}

// shown says whether the kernel shows a partition where an entry has it. Of an
// extended one it shows the beginning alone.
func (p *Partition) shown(name string, e layout.Entry) bool {
	root := sysfs.Root("/")
	parts, err := root.Partitions(name)
	if err != nil {
		return false
	}
	sectorSize, err := root.Number("sys/block", name, "queue/logical_block_size")
	if err != nil {
		return false
	}
	unit := sectorSize / 512
	return slices.ContainsFunc(parts, func(part string) bool {
		start, err := root.Number("sys/block", name, part, "start")
		size, err2 := root.Number("sys/block", name, part, "size")
		return err == nil && err2 == nil && start == int64(e.FirstLBA)*unit &&
			(size == int64(e.LastLBA-e.FirstLBA+1)*unit || isExtended(e))
	})
}

// content looks at what is in a partition that would be taken away.
func (p *Partition) content(device string, t layout.Table) (registration.Standing, error) {
	st := registration.Standing{Is: registration.Stands}
	if p.Before != nil && p.Holds == "" {
		return st, nil
	}
	node, err := p.node(device, t)
	if err != nil {
		return st, err
	}
	held, err := p.foreign(node)
	if err != nil || held == "" {
		return st, err
	}
	return registration.Standingf(registration.Changed, "partition %d holds what vic did not make: %s", p.After.Number, held), nil
}

// node is what of the device is the partition: of an image nothing is.
func (p *Partition) node(device string, t layout.Table) (string, error) {
	for _, e := range t.Entries {
		if p.After != nil && same(e, *p.After) && isBlock(device) {
			node := disk.PartitionPath(device, e.Number)
			if _, err := os.Stat(node); err != nil {
				return "", nil // the kernel does not show it: nobody can have used it
			}
			return node, nil
		}
	}
	return "", nil
}

// foreign says what a partition holds that vic did not make.
func (p *Partition) foreign(node string) (string, error) {
	if node == "" {
		return "", nil
	}
	list, err := locate.Contents(node)
	for _, r := range list {
		if (p.Holds == "" || !strings.EqualFold(r.UUID, p.Holds)) && !slices.Contains(p.Stale, describe(r)) {
			return describe(r), err
		}
	}
	return "", err
}

// Revert implements registration.Change.
func (p *Partition) Revert(ctx context.Context, env *registration.Env) error {
	device, err := p.Disk.Find()
	if err != nil {
		return err
	}
	t, err := locate.ReadTable(device)
	if err != nil {
		return err
	}
	node, err := p.node(device, t)
	if err != nil {
		return err
	}
	if node != "" && (p.Before == nil || p.Holds != "") {
		if err := p.empty(ctx, env, node); err != nil {
			return err
		}
	}
	if err := p.putBack(ctx, env, device, t); err != nil {
		return err
	}
	return show(ctx, env, device)
}

// empty unmounts what vic made in the partition, and clears it: what comes into
// its room later must not be taken for that.
func (p *Partition) empty(ctx context.Context, env *registration.Env, node string) error {
	if held, err := p.foreign(node); err != nil || held != "" {
		return errors.Join(err, fmt.Errorf("%s holds what vic did not make: %s", node, held))
	}
	mounts, err := sysfs.Root("/").Mounts()
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(mounts) {
		if m.Source == node {
			env.Note("unmount " + m.Target)
			if err := disk.Unmount(m.Target); err != nil {
				return err
			}
		}
	}
	list, err := locate.Contents(node)
	if err != nil || len(list) == 0 {
		return err
	}
	return wipe(ctx, env, node)
}

// wipe clears the signatures of a device that nobody uses.
func wipe(ctx context.Context, env *registration.Env, node string) error {
	env.Note("wipe " + node)
	f, err := disk.Open(node, os.O_RDWR)
	if err != nil {
		return err
	}
	return errors.Join(disk.Wipe(ctx, f, nil, nil), f.Close())
}

// putBack restores the bytes of the table where all are vic's, and else the
// partition alone.
func (p *Partition) putBack(ctx context.Context, env *registration.Env, device string, t layout.Table) error {
	f, err := openDevice(device, env)
	if err != nil {
		return err
	}
	is, err := compare(f, p.Pieces)
	switch {
	case err != nil:
	case is != registration.Changed:
		err = restore(ctx, f, p.Pieces)
	case p.meaning(t).Is == registration.Before: // the kernel alone has to be told
	default:
		err = p.merge(ctx, f, t)
	}
	return errors.Join(err, f.Close())
}

func (p *Partition) merge(ctx context.Context, f *device, t layout.Table) error {
	after := with(t, p.After, p.Before)
	if err := fits(t, after, p.Before); err != nil {
		return err
	}
	last, err := protectiveLast(f)
	if err != nil {
		return err
	}
	return disk.WriteTable(ctx, f, after, last)
}
