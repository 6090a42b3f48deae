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
	for i, f := range w.plan.Filesystems {
		w.plan.Filesystems[i].Outside = f.bound() && !w.provides(f.Source)
	}
	slices.SortStableFunc(w.plan.Filesystems, byMountpoint)
	w.twice()
	w.mountOrder()
	for _, f := range w.plan.Filesystems {
		w.mount(f.mountSite(), "mount "+f.Mountpoint, Mount{f.Device, f.Source, f.Outside, f.FSType, f.UUID, f.Mountpoint, f.Options})
	}
	for _, s := range w.swaps {
		if s.random == "" {
			w.mount(s.site, "swap on "+s.String(), SwapOn{s.dev, s.file, s.uuid, s.priority, s.options})
		}
	}
}

func (s swap) String() string {
	if s.file != "" {
		return s.file
	}
	return s.dev.String()
}

// mount adds a step with the hooks around it.
func (w *walker) mount(around site, name string, a Action) {
	w.plan.Mount = append(w.plan.Mount, around.around(event.Copy, "Mount", around.hooks.PreMount, around.hooks.PostMount, Step{event.Copy, name, a})...)
}

// mountSite is where the hooks of a file system stand when it is mounted.
func (f Filesystem) mountSite() site {
	s := f.site
	s.at = f.Mountpoint
	return s
}

// around are steps with a hook before and one after them, where there are some.
func (s site) around(phase event.Phase, verb, pre, post string, body ...Step) []Step {
	if hook, ok := s.step(phase, "pre"+verb, pre); ok {
		body = append([]Step{hook}, body...)
	}
	if hook, ok := s.step(phase, "post"+verb, post); ok {
		body = append(body, hook)
	}
	return body
}

// nodevs are file systems without a device.
func (w *walker) nodevs() {
	for _, key := range slices.Sorted(maps.Keys(w.config.Layout.Nodev)) {
		n := w.config.Layout.Nodev[key]
		w.mounted(Filesystem{
			Source: cmp.Or(n.Device, "none"), Mountpoint: cmp.Or(n.Mountpoint, key), FSType: n.FSType,
			Options: options(n.MountOptions), site: w.nodevSite(key),
		})
	}
}

// mountOrder puts a file system after those that its mount point is in, and a
// directory that is bound after those that it is in.
func (w *walker) mountOrder() {
	rest := w.plan.Filesystems
	w.plan.Filesystems = nil
	for len(rest) > 0 {
		next := slices.IndexFunc(rest, func(f Filesystem) bool {
			return !slices.ContainsFunc(rest, func(o Filesystem) bool {
				return o.Mountpoint != f.Mountpoint && (below(f.Mountpoint, o.Mountpoint) || f.bound() && !f.Outside && below(f.Source, o.Mountpoint))
			})
		})
		if next < 0 {
			w.fail("mount point "+rest[0].Mountpoint, "what is bound there is in a file system that is mounted later")
			return
		}
		w.plan.Filesystems = append(w.plan.Filesystems, rest[next])
		rest = slices.Delete(slices.Clone(rest), next, next+1)
	}
}

// below says whether a path is a mount point, or in what is mounted there.
func below(path, mountpoint string) bool {
	return path == mountpoint || mountpoint == "/" || strings.HasPrefix(path, mountpoint+"/")
}

// bound says whether it is a directory that is seen in a second place.
func (f Filesystem) bound() bool {
	return f.Device == (Device{}) && (slices.Contains(f.Options, "bind") || slices.Contains(f.Options, "rbind"))
}

// provides says whether a path lies in a file system that the layout mounts
// somewhere, other than at /: what is bound from there is the target's own.
// disko binds every path as it is on the machine that it runs on, where what
// the layout mounts is not at the same place.
func (w *walker) provides(path string) bool {
	return slices.ContainsFunc(w.plan.Filesystems, func(f Filesystem) bool {
		return f.Mountpoint != "/" && below(path, f.Mountpoint)
	})
}

func (w *walker) nodevSite(key string) site {
	n := w.config.Layout.Nodev[key]
	return site{"nodev." + key, Device{}, n.Hooks, layout.VariablesOf(n, "type", "nodev", "device", cmp.Or(n.Device, "none"), "mountpoint", cmp.Or(n.Mountpoint, key))}
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
	add := func(steps ...Step) { w.plan.Unmount = append(w.plan.Unmount, steps...) }
	hook := func(s site, when, script string) {
		if step, ok := s.step(event.Finish, when, script); ok {
			add(step)
		}
	}
	for _, s := range slices.Backward(w.swaps) {
		if s.random == "" {
			off := Step{event.Finish, "swap off " + s.String(), SwapOff{s.dev, s.file}}
			add(s.site.around(event.Finish, "Unmount", s.site.hooks.PreUnmount, s.site.hooks.PostUnmount, off)...)
		}
	}
	for _, f := range slices.Backward(w.plan.Filesystems) {
		hook(f.mountSite(), "preUnmount", f.site.hooks.PreUnmount)
	}
	add(Step{event.Finish, "unmount", Unmount{}})
	for _, f := range slices.Backward(w.plan.Filesystems) {
		hook(f.mountSite(), "postUnmount", f.site.hooks.PostUnmount)
	}
	for _, s := range slices.Backward(w.undo) {
		add(s)
	}
	for _, d := range w.disks {
		add(Step{event.Finish, "flush " + d.name, Flush{d.state.Disk}})
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
		if below(path, f.Mountpoint) {
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
