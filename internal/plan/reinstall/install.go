package reinstall

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
)

// install computes what the RAM system will do: on the disk as it is then, with
// the stage, which stays, and with nobody using it. So everything that it would
// refuse is refused here.
func (t *target) install(p *Plan) error {
	after := p.After
	if p.Room.Table != nil {
		after = *p.Room.Table
	}
	req := t.Request
	req.Layout = keepStage(req.Layout, t.Disk, p.Stage, p.Core)
	// What a person names only here is not looked for in the RAM system.
	req.Payload.Source = request.Source{Path: "/" + stage.InVolume(stage.Payload)}
	if err := req.Validate(); err != nil {
		return err
	}
	steps, err := plan.New(req, t.idle(after, p), t.Secrets)
	if err != nil {
		return err
	}
	p.Install = steps
	p.Grow = t.grow(steps, p)
	p.Lost, p.Kept = t.fates(steps)
	return nil
}

// keepStage is a layout that keeps the partitions of the stage.
func keepStage(l layout.Layout, name string, at stage.Place, core *stage.Place) layout.Layout {
	gpt, ok := l.Disk[name].Content.Spec.(*layout.GPT)
	if !ok {
		return l // refuse has said so
	}
	with := *gpt
	with.Partitions = map[string]layout.Partition{}
	for key, p := range gpt.Partitions {
		with.Partitions[key] = p
	}
	with.Partitions[stage.Label] = layout.Partition{Keep: true, UUID: guid(at, stage.Label).String()}
	if core != nil {
		with.Partitions[stage.BootLabel] = layout.Partition{Keep: true, UUID: guid(*core, stage.BootLabel).String()}
	}
	disks := map[string]layout.Disk{}
	for key, d := range l.Disk {
		if key == name {
			d.Content = &layout.Content{Spec: &with}
		}
		disks[key] = d
	}
	l.Disk = disks
	return l
}

// guid is that of a place: one in an MBR gets one when the table becomes a GPT.
func guid(p stage.Place, label string) uuid.UUID {
	if p.GUID != (uuid.UUID{}) {
		return p.GUID
	}
	return uuid.NewSHA1(uuid.UUID{}, fmt.Appendf(nil, "%s %d", label, p.Offset))
}

// idle are the facts when the RAM system looks.
func (t *target) idle(after layout.Table, p *Plan) envscan.Facts {
	f := t.Facts
	if after.Kind == layout.KindMBR {
		after = asGPT(after, p)
	}
	f.HW.Disk = slices.Clone(f.HW.Disk)
	for i, d := range f.HW.Disk {
		if d.Name != t.disk.Name {
			continue
		}
		d.Table, d.InUse, d.Use = &after, nil, envscan.Use{}
		d.Partition = slices.Clone(d.Partition)
		for j := range d.Partition {
			d.Partition[j].Use = envscan.Use{}
		}
		d.Partition = slices.DeleteFunc(d.Partition, func(p envscan.Partition) bool {
			return !slices.ContainsFunc(after.Entries, func(e layout.Entry) bool {
				return e.Number == p.Number && int64(e.FirstLBA)*int64(d.SectorSize) == p.Offset
			})
		})
		f.HW.Disk[i] = d
	}
	f.HW.Volume = nil
	return f
}

// asGPT is what of an MBR is kept in a GPT: the stage.
func asGPT(t layout.Table, p *Plan) layout.Table {
	of := t
	of.Kind, of.Entries = layout.KindGPT, nil
	for label, at := range map[string]*stage.Place{stage.Label: &p.Stage, stage.BootLabel: p.Core} {
		if at != nil {
			e := entry(*at, label, t.SectorSize)
			e.GUID = guid(*at, label)
			of.Entries = append(of.Entries, e)
		}
	}
	slices.SortFunc(of.Entries, func(a, b layout.Entry) int { return a.Number - b.Number })
	return of
}

// entry is a place as the RAM system finds it.
func entry(at stage.Place, label string, sector int) layout.Entry {
	return layout.Entry{
		Number: at.Number, Label: label, GUID: at.GUID, Type: layout.TypeESP,
		FirstLBA: uint64(at.Offset / int64(sector)), LastLBA: uint64((at.Offset+at.Size)/int64(sector)) - 1,
	}
}

// grow is the file system in the partition before the stage.
func (t *target) grow(steps plan.Plan, p *Plan) *stage.Grow {
	start := p.Stage.Offset
	if p.Core != nil {
		start = min(start, p.Core.Offset)
	}
	for _, f := range steps.Storage.Filesystems {
		if len(f.Parts) != 1 || f.Parts[0].Disk.Device != p.Disk.Device {
			continue
		}
		_, end := bounds(f.Parts[0].Entry, t.disk.SectorSize)
		// Up to the next MiB belongs to nobody.
		if end <= start && up(end, mib) == start && slices.Contains([]string{"ext4", "btrfs", "xfs"}, f.FSType) {
			return &stage.Grow{Mountpoint: f.Mountpoint}
		}
	}
	return nil
}

// fates say of each partition whether it stays.
func (t *target) fates(steps plan.Plan) (lost, kept []string) {
	parts := slices.Clone(t.disk.Partition)
	slices.SortFunc(parts, func(a, b envscan.Partition) int { return cmp.Compare(a.Offset, b.Offset) })
	for _, p := range parts {
		if t.stays(p, steps) {
			kept = append(kept, describe(p))
		} else {
			lost = append(lost, describe(p))
		}
	}
	return lost, kept
}

func (t *target) stays(p envscan.Partition, steps plan.Plan) bool {
	for _, d := range steps.Storage.Disks {
		if d.Name != t.Disk || d.After == nil || t.table.Kind == layout.KindMBR {
			continue
		}
		return slices.ContainsFunc(d.After.Entries, func(e layout.Entry) bool {
			from, _ := bounds(e, t.disk.SectorSize)
			return e.Kept && from == p.Offset && e.Label != stage.Label && e.Label != stage.BootLabel
		})
	}
	return false
}

// describe is a partition for people: "/dev/sda1 (ext4 oldroot, 20 GiB, mounted on
// /)".
func describe(p envscan.Partition) string {
	what := "nothing known"
	if len(p.Content) > 0 {
		what = strings.TrimSpace(p.Content[0].Type + " " + p.Content[0].Label)
	}
	name := fmt.Sprintf("partition %d", p.Number)
	if p.Name != "" {
		name = "/dev/" + p.Name
	}
	text := fmt.Sprintf("%s (%s, %s", name, what, plan.Bytes(p.Size))
	switch {
	case len(p.Mounts) > 0:
		text += ", mounted on " + p.Mounts[0]
	case p.Swap:
		text += ", in use"
	case len(p.Holders) > 0:
		text += ", holds " + strings.Join(p.Holders, " ")
	}
	return text + ")"
}
