package storage

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
)

// mounts adds the steps that mount everything, parents first, and turn swap on.
func (w *walker) mounts() {
	w.nodevs()
	slices.SortStableFunc(w.plan.Filesystems, byMountpoint)
	w.twice()
	for _, f := range w.plan.Filesystems {
		w.mountHook("preMount", f.hooks.PreMount, f)
		w.mount("mount "+f.Mountpoint, Mount{f.Device, f.Source, f.FSType, f.UUID, f.Mountpoint, f.Options})
		w.mountHook("postMount", f.hooks.PostMount, f)
	}
	for _, s := range w.swaps {
		if s.random == "" {
			w.mount("swap on "+s.String(), SwapOn{s.dev, s.file, s.uuid, s.priority, s.options})
		}
	}
}

func (s swap) String() string {
	if s.file != "" {
		return s.file
	}
	return s.dev.String()
}

func (w *walker) mount(name string, a Action) {
	w.plan.Mount = append(w.plan.Mount, Step{event.Copy, name, a})
}

func (w *walker) mountHook(when, script string, f Filesystem) {
	if script != "" {
		w.mount(when+"Hook of "+f.Mountpoint, Hook{When: when, At: f.Mountpoint, Device: f.Device, Script: script})
	}
}

// nodevs are file systems without a device.
func (w *walker) nodevs() {
	for _, key := range slices.Sorted(maps.Keys(w.config.Layout.Nodev)) {
		n := w.config.Layout.Nodev[key]
		w.mounted(Filesystem{
			Source: cmp.Or(n.Device, "none"), Mountpoint: cmp.Or(n.Mountpoint, key), FSType: n.FSType,
			Options: options(n.MountOptions), hooks: n.Hooks,
		})
	}
}

// twice refuses two file systems at one place.
func (w *walker) twice() {
	for i, f := range w.plan.Filesystems {
		if i > 0 && w.plan.Filesystems[i-1].Mountpoint == f.Mountpoint {
			w.fail("mount point "+f.Mountpoint, "two file systems are mounted there")
		}
	}
}

// unmounts undoes the mounts, and closes what was opened, last first.
func (w *walker) unmounts() {
	add := func(name string, a Action) {
		w.plan.Unmount = append(w.plan.Unmount, Step{event.Finish, name, a})
	}
	hook := func(when, script string, f Filesystem) {
		if script != "" {
			add(when+"Hook of "+f.Mountpoint, Hook{When: when, At: f.Mountpoint, Device: f.Device, Script: script})
		}
	}
	for _, s := range slices.Backward(w.swaps) {
		if s.random == "" {
			add("swap off "+s.String(), SwapOff{s.dev, s.file})
		}
	}
	for _, f := range slices.Backward(w.plan.Filesystems) {
		hook("preUnmount", f.hooks.PreUnmount, f)
	}
	add("unmount", Unmount{})
	for _, f := range slices.Backward(w.plan.Filesystems) {
		hook("postUnmount", f.hooks.PostUnmount, f)
	}
	for _, c := range slices.Backward(w.closes) {
		add("close "+cmp.Or(c.Mapper, c.VG, c.Array, c.Pool), c)
	}
	for _, d := range w.disks {
		add("flush "+d.name, Flush{d.state.Disk})
	}
}

// innerTable cuts an array. Its size is an estimate until it is made.
func (w *walker) innerTable(b block, at string, c *layout.Content) {
	if b.Array == "" {
		w.fail(at, "a partition table can stand on a disk or an array")
		return
	}
	g := layout.Geometry{Size: b.size, SectorSize: 512}
	for _, p := range b.parts {
		g.SectorSize = max(g.SectorSize, p.SectorSize)
	}
	table, err := layout.ResolveArrayTable(b.Array, layout.Array{Content: c}, g, w.id(at))
	if err != nil {
		w.fail(at, "%v", err)
		return
	}
	write := WriteTable{Device: b.Device, Table: table, Content: c, Seed: w.id(at), EFIFirst: efiFirst(c)}
	if !b.kept {
		w.create(event.Format, "write table of md/"+b.Array, write)
	}
	for _, e := range table.Entries {
		inner := block{
			Device: Device{Array: b.Array, Partition: e.Number, Title: e.Name},
			path:   at + ".partitions." + e.Name, size: e.Size(g.SectorSize), start: e.FirstLBA,
			kept: b.kept, there: b.there, parts: b.parts,
		}
		w.content(inner, inner.path+".content", e.Content)
	}
}

// signature is what blkid says of a content that is made.
func signature(c layout.Content) string {
	switch s := c.Spec.(type) {
	case *layout.Filesystem:
		return s.Format
	case *layout.Btrfs:
		return "btrfs"
	case *layout.Swap:
		return "swap"
	case *layout.LUKS:
		return "crypto_LUKS"
	case *layout.LVMPV:
		return "LVM2_member"
	case *layout.MDRaid:
		return "linux_raid_member"
	case *layout.ZFS:
		return "zfs_member"
	case *layout.BcachefsMember:
		return "bcachefs"
	}
	return ""
}

// Find is the file system that a path in the target is on, if any.
func (p Plan) Find(path string) *Filesystem {
	for i, f := range slices.Backward(p.Filesystems) {
		if f.Mountpoint == path || f.Mountpoint == "/" || strings.HasPrefix(path, f.Mountpoint+"/") {
			return &p.Filesystems[i]
		}
	}
	return nil
}

// Destroy are the steps that make the disks of the plan blank.
func (p Plan) Destroy() []Step {
	steps := make([]Step, 0, len(p.Unmount)+2*len(p.Disks))
	for _, s := range p.Unmount {
		if _, flush := s.Action.(Flush); !flush {
			s.Phase = event.Partition
			steps = append(steps, s)
		}
	}
	for _, d := range p.Disks {
		steps = append(steps, Step{event.Partition, "release " + d.Name, Release{Disk: d.Disk, Anew: true}})
	}
	for _, d := range p.Disks {
		steps = append(steps, Step{event.Partition, "wipe " + d.Name, Wipe{Disk: d.Disk, Anew: true}})
	}
	return steps
}
