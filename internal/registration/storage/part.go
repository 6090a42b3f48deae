package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
)

// part is an entry of a partition table, before and after.
type part struct {
	// Before and After are the entry; nil: it is not there.
	Before *layout.Entry `json:"before,omitempty"`
	After  *layout.Entry `json:"after,omitempty"`
	// Holds is the UUID of the file system that vic makes in it, as blkid shows
	// it. A partition that holds something else is not taken away.
	Holds string `json:"holds,omitempty"`
	// Stale is what the room of a new partition held before, by type and UUID:
	// what is left of something that was there once.
	Stale []string `json:"stale,omitempty"`
}

func (p part) validate() error {
	if p.Before == nil && p.After == nil {
		return errors.New("it is of no partition")
	}
	return nil
}

// describe says what is different afterwards.
func (p part) describe(d locate.Disk) string {
	b, a := p.Before, p.After
	switch {
	case b == nil:
		return fmt.Sprintf("partition %d of %s added%s", a.Number, d, labelled(a))
	case a == nil:
		return fmt.Sprintf("partition %d of %s removed%s", b.Number, d, labelled(b))
	case b.LastLBA != a.LastLBA:
		return fmt.Sprintf("partition %d of %s ends at sector %d instead of %d", a.Number, d, a.LastLBA, b.LastLBA)
	}
	return fmt.Sprintf("partition %d of %s changed%s", a.Number, d, labelled(a))
}

func labelled(e *layout.Entry) string {
	if e.Label == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", e.Label)
}

// findStale looks at the room of a new partition.
func (p *part) findStale(f *device) error {
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

// meaning looks at the partition alone: others changed others.
func (p part) meaning(t layout.Table) registration.Standing {
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
func (p part) stale(device string) bool {
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
func (p part) shown(name string, e layout.Entry) bool {
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
func (p part) content(device string, t layout.Table) (registration.Standing, error) {
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
func (p part) node(device string, t layout.Table) (string, error) {
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
func (p part) foreign(node string) (string, error) {
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

// empty unmounts what vic made in the partition, and clears it: what comes into
// its room later must not be taken for that.
func (p part) empty(ctx context.Context, env *registration.Env, node string) error {
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
