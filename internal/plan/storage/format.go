package storage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
)

// format makes the contents: of the disks first, then of what stands on
// several devices as soon as all of those are there.
func (w *walker) format() {
	for _, d := range w.disks {
		s := d.site()
		w.opening(s, func() {
			if d.table == nil {
				w.wholeDisk(d)
			} else {
				around := contentSite(s.at+".content", s.dev, d.spec.Content)
				w.making(around, func() { w.opening(around, func() { w.partitions(d) }) })
			}
		})
		w.hook(event.Format, "postCreate", s.hooks.PostCreate, s)
	}
	w.assemblies()
	for _, key := range slices.Sorted(maps.Keys(w.config.Layout.Nodev)) {
		w.making(w.nodevSite(key), func() {})
	}
}

func (d diskWork) site() site {
	return site{"disk." + d.name, Device{Disk: d.name}, d.spec.Hooks, layout.VariablesOf(d.spec, "type", "disk", "name", cmp.Or(d.spec.Name, d.name))}
}

// wholeDisk makes the content of a disk without a table, which nothing tells
// whether it was finished: what looks as it should is left alone.
func (w *walker) wholeDisk(d diskWork) {
	at := "disk." + d.name
	b := block{Device: Device{Disk: d.name}, path: at, size: d.state.Size, found: d.whole(), parts: []Part{{Disk: d.state.Disk}}}
	b.there = b.found != nil && !w.config.Anew
	b.kept = b.there
	w.content(b, at+".content", d.spec.Content)
}

// partitions makes the contents of a disk's partitions.
func (w *walker) partitions(d diskWork) {
	at := "disk." + d.name + ".content"
	for _, e := range d.table.Entries {
		b := block{
			Device: Device{Disk: d.name, Partition: e.Number, Title: e.Name},
			path:   at + ".partitions." + e.Name,
			size:   e.Size(d.table.SectorSize), start: e.FirstLBA,
			kept: e.Kept, there: e.Kept || d.fits && !unfinished(d, e),
			parts: []Part{{Disk: d.state.Disk, Entry: e, SectorSize: d.table.SectorSize}},
		}
		if b.there {
			b.found = d.found(e.Number)
		}
		w.content(b, b.path+".content", e.Content)
	}
}

// unfinished says whether a partition that is there was left half-made.
func unfinished(d diskWork, e layout.Entry) bool {
	for _, now := range d.state.Table.Entries {
		if now.Number == e.Number {
			return now.Type == TypeUnfinished || now.MBR != nil && now.MBR.Type == UnfinishedMBR
		}
	}
	return false
}

// assemblies makes arrays, groups and pools, each once its members are there.
func (w *walker) assemblies() {
	want := w.memberCounts()
	for len(want) > 0 {
		var ready []string
		for key, n := range want {
			if len(w.members[key]) == n {
				ready = append(ready, key)
			}
		}
		if len(ready) == 0 {
			for _, key := range slices.Sorted(maps.Keys(want)) {
				w.fail(strings.Replace(key, "/", ".", 1), "its members cannot all be made before it: %d of %d can", len(w.members[key]), want[key])
			}
			return
		}
		slices.Sort(ready)
		for _, key := range ready {
			delete(want, key)
			w.assemble(key)
		}
	}
}

func (w *walker) assemble(key string) {
	kind, name, _ := strings.Cut(key, "/")
	l := w.config.Layout
	switch kind {
	case "mdadm":
		w.array(name, l.MDADM[name])
	case "lvm_vg":
		w.group(name, l.LVMVG[name])
	case "zpool":
		w.pool(name, l.Zpool[name])
	case "bcachefs":
		w.bcachefs(name, l.Bcachefs[name])
	}
}

// memberCounts is how many members everything has that stands on several
// devices.
func (w *walker) memberCounts() map[string]int {
	n := map[string]int{}
	contents(w.config.present(), func(c layout.Content) {
		if key := memberOf(c); key != "" {
			n[key]++
		}
	})
	return n
}

// contents visits everything that a device of the layout holds.
func contents(l layout.Layout, visit func(layout.Content)) {
	var see func(c *layout.Content)
	see = func(c *layout.Content) {
		if c == nil || c.Spec == nil {
			return
		}
		visit(*c)
		switch s := c.Spec.(type) {
		case *layout.GPT:
			for _, key := range slices.Sorted(maps.Keys(s.Partitions)) {
				see(s.Partitions[key].Content)
			}
		case *layout.MBR:
			for _, p := range s.Partitions {
				see(p.Content)
			}
		case *layout.LUKS:
			see(s.Content)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Disk)) {
		see(l.Disk[name].Content)
	}
	for _, name := range slices.Sorted(maps.Keys(l.MDADM)) {
		see(l.MDADM[name].Content)
	}
	for _, name := range slices.Sorted(maps.Keys(l.LVMVG)) {
		for _, key := range slices.Sorted(maps.Keys(l.LVMVG[name].LVs)) {
			see(l.LVMVG[name].LVs[key].Content)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Zpool)) {
		for _, key := range slices.Sorted(maps.Keys(l.Zpool[name].Datasets)) {
			see(l.Zpool[name].Datasets[key].Content)
		}
	}
}

// memberOf is the key in walker.members of what a content is a part of.
func memberOf(c layout.Content) string {
	switch s := c.Spec.(type) {
	case *layout.MDRaid:
		return "mdadm/" + s.Name
	case *layout.LVMPV:
		return "lvm_vg/" + s.VG
	case *layout.ZFS:
		return "zpool/" + s.Pool
	case *layout.BcachefsMember:
		return "bcachefs/" + s.Filesystem
	}
	return ""
}

// content makes what a device holds. What is on a kept partition is only
// opened.
func (w *walker) content(b block, at string, c *layout.Content) {
	if c == nil || c.Spec == nil {
		return
	}
	around := contentSite(at, b.Device, c)
	if b.kept {
		around.hooks.PreCreate, around.hooks.PostCreate = "", ""
	}
	w.making(around, func() {
		if mounted(c) {
			w.contentOf(b, at, c, around)
			return
		}
		w.opening(around, func() { w.contentOf(b, at, c, around) })
	})
}

func (w *walker) contentOf(b block, at string, c *layout.Content, around site) {
	switch s := c.Spec.(type) {
	case *layout.Filesystem:
		w.filesystem(b, at, s, around)
	case *layout.Btrfs:
		w.btrfs(b, at, s, around)
	case *layout.Swap:
		w.swap(b, at, s, around)
	case *layout.LUKS:
		w.luks(b, at, s)
	case *layout.GPT, *layout.MBR:
		w.innerTable(b, at, c)
	default:
		key := memberOf(*c)
		b.content = c
		w.members[key] = append(w.members[key], b)
	}
}

// identify settles what a file system will be known by, or is already.
func (w *walker) identify(b block, at, format string, args []string) (layout.Identity, bool) {
	id, err := layout.Identify(format, args, w.config.Seed, at)
	if err != nil {
		w.fail(at, "%v", err)
		return id, false
	}
	if b.there {
		id.UUID = ""
		if b.found != nil && (b.kept || b.found.Type == format) {
			id.UUID, id.Label = b.found.UUID, b.found.Label
		}
	}
	return id, true
}

func (w *walker) filesystem(b block, at string, s *layout.Filesystem, around site) {
	id, ok := w.identify(b, at, s.Format, s.ExtraArgs)
	if !ok {
		return
	}
	if !b.kept {
		w.create(event.Format, "mkfs."+s.Format+" "+b.String(), Mkfs{Device: b.Device, Format: s.Format, UUID: id.UUID, Label: id.Label, Args: id.Args, Start: b.start})
	}
	format := s.Format
	if b.found != nil && b.found.Type == "ntfs" {
		format = "ntfs3"
	}
	w.mounted(Filesystem{Device: b.Device, Mountpoint: s.Mountpoint, FSType: format, UUID: id.UUID, Options: options(s.MountOptions), Size: b.size, Parts: b.parts, site: around})
}

func options(list []string) []string {
	if len(list) == 0 {
		return []string{"defaults"}
	}
	return list
}

// mounted notes a file system that is mounted somewhere.
func (w *walker) mounted(f Filesystem) {
	if f.Mountpoint != "" {
		w.plan.Filesystems = append(w.plan.Filesystems, f)
	}
}

func (w *walker) btrfs(b block, at string, s *layout.Btrfs, around site) {
	id, ok := w.identify(b, at, "btrfs", s.ExtraArgs)
	if !ok {
		return
	}
	// The hooks are run where each of the subvolumes is mounted, as disko does.
	top := Filesystem{Device: b.Device, FSType: "btrfs", UUID: id.UUID, Size: b.size, Parts: b.parts, site: around}
	make := Subvolumes{Device: b.Device, UUID: id.UUID}
	add := func(subvolume, mountpoint string, mountOptions []string, files map[string]layout.SwapFile) {
		f := top
		f.Mountpoint, f.Options = mountpoint, options(mountOptions)
		if subvolume != "" {
			f.Options = append(slices.Clone(f.Options), "subvol="+subvolume)
		}
		w.mounted(f)
		for _, name := range slices.Sorted(maps.Keys(files)) {
			file := files[name]
			inside := cmp.Or(file.Path, name)
			make.SwapFiles = append(make.SwapFiles, SwapFile{strings.TrimPrefix(subvolume+"/"+inside, "/"), file.Size})
			if mountpoint != "" {
				w.swaps = append(w.swaps, swap{file: strings.TrimSuffix(mountpoint, "/") + "/" + inside, priority: file.Priority, options: file.Options, on: f.Parts})
			}
		}
	}
	add("", s.Mountpoint, s.MountOptions, s.Swap)
	for _, key := range slices.Sorted(maps.Keys(s.Subvolumes)) {
		v := s.Subvolumes[key]
		path := strings.Trim(cmp.Or(v.Name, key), "/")
		if path != "" {
			make.Subvolumes = append(make.Subvolumes, Subvolume{path, v.ExtraArgs})
		}
		add(path, v.Mountpoint, v.MountOptions, v.Swap)
	}
	slices.SortStableFunc(make.Subvolumes, func(a, b Subvolume) int { return cmp.Compare(a.Path, b.Path) })
	if b.kept {
		return
	}
	mkfs := Mkfs{Device: b.Device, Format: "btrfs", UUID: id.UUID, Label: id.Label, Start: b.start}
	for _, arg := range id.Args {
		if d, ok := w.device(arg); ok {
			mkfs.Also = append(mkfs.Also, d)
		} else {
			mkfs.Args = append(mkfs.Args, arg)
		}
	}
	w.create(event.Format, "mkfs.btrfs "+b.String(), mkfs)
	if len(make.Subvolumes)+len(make.SwapFiles) > 0 {
		w.create(event.Format, "subvolumes of "+b.String(), make)
	}
}

// swap is an area or a file to swap to.
type swap struct {
	dev      Device
	file     string // in a mounted file system
	uuid     string
	random   string // name of the mapping, when its key is thrown away at power-off
	resume   bool
	priority *int
	options  []string
	on       []Part
	site     site
}

func (w *walker) swap(b block, at string, s *layout.Swap, around site) {
	id, ok := w.identify(b, at, "swap", s.ExtraArgs)
	if !ok {
		return
	}
	area := swap{dev: b.Device, uuid: id.UUID, resume: s.ResumeDevice, priority: s.Priority, on: b.parts, site: around}
	area.options = slices.DeleteFunc(slices.Clone(options(s.MountOptions)), func(o string) bool { return o == "defaults" })
	if s.DiscardPolicy != "" {
		area.options = append(area.options, map[string]string{"both": "discard"}[s.DiscardPolicy])
		if s.DiscardPolicy != "both" {
			area.options[len(area.options)-1] = "discard=" + s.DiscardPolicy
		}
	}
	switch {
	case s.RandomEncryption:
		area.random = "swap-" + strings.NewReplacer("/", "-", ":", "-").Replace(b.String())
	case !b.kept:
		w.create(event.Format, "mkswap "+b.String(), Mkfs{Device: b.Device, Format: "swap", UUID: id.UUID, Label: id.Label, Args: id.Args})
	}
	w.swaps = append(w.swaps, area)
}

// Bytes renders a number of bytes with a binary unit: 1536 is "1.5 KiB".
func Bytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for v >= 1023.95 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}
