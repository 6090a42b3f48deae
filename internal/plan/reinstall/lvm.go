package reinstall

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan"
)

// lvm makes room behind a physical volume whose last extents are free. That is
// online: no volume is moved.
func (t *target) lvm(p *Plan) error {
	var errs []error
	for _, v := range t.Running.Physical {
		err := t.physical(p, v)
		if err == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("/dev/%s: %w", v.Device, err))
	}
	return cmp.Or(errors.Join(errs...), errors.New("there is none on this disk"))
}

func (t *target) physical(p *Plan, v PhysicalVolume) error {
	part, ok := t.partition(v.Device)
	switch {
	case !ok:
		return fmt.Errorf("it is no partition of %s", t.disk.Name)
	case v.Stays != "":
		return errors.New(v.Stays)
	}
	more := t.need + t.core - behind(t.table, part) + beyond(t.table, part)
	logical := t.table.Kind == layout.KindMBR && part.Number > 4
	if logical {
		more += 2 * mib // for the boot records of what comes behind it
	}
	size := down(part.Offset+part.Size-max(more, 0), mib) - part.Offset
	switch {
	case more <= 0:
		return errors.New("there is room behind it already")
	case size < v.Least:
		return fmt.Errorf("the volumes of %s lie in its first %s, and it would have to shrink to %s", v.Group, plan.Bytes(v.Least), plan.Bytes(max(size, 0)))
	}
	found, _ := contentOf(part, "LVM2_member")
	p.Room = RoomPlan{Partition: part.Number, Device: part.Name, UUID: found.UUID, Group: v.Group, Size: size}
	table := shrunk(t.table, part.Number, size)
	for _, g := range gaps(table) {
		if g.logical == logical && g.from >= part.Offset+size && g.from <= part.Offset+size+mib {
			return t.place(p, table, g)
		}
	}
	return errors.New("there is no gap behind it")
}

// partition finds one by its kernel name.
func (t *target) partition(name string) (envscan.Partition, bool) {
	for _, p := range t.disk.Partition {
		if p.Name != "" && p.Name == name {
			return p, true
		}
	}
	return envscan.Partition{}, false
}
