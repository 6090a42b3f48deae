package layout

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// normalize brings what disko lets a person write in several ways into one.
func (l *Layout) normalize() {
	for key, n := range l.Nodev {
		n.Mountpoint = clean(n.Mountpoint)
		l.Nodev[key] = n
	}
	for key, a := range l.MDADM {
		a.ExtraArgs = words(a.ExtraArgs)
		l.MDADM[key] = a
	}
	for key, g := range l.LVMVG {
		for name, v := range g.LVs {
			v.ExtraArgs = words(v.ExtraArgs)
			if bareNumber.MatchString(v.Size) {
				v.Size += "M" // lvcreate(8)
			}
			g.LVs[name] = v
		}
		l.LVMVG[key] = g
	}
	for key, p := range l.Zpool {
		l.Zpool[key] = p.normalize()
	}
	for key, f := range l.Bcachefs {
		f.Mountpoint = clean(f.Mountpoint)
		cleanSubvolumes(f.Subvolumes)
		l.Bcachefs[key] = f
	}
	l.walk(func(s site) { l.normalizeContent(s.spec()) })
}

var bareNumber = lazyregexp.New(`^[0-9]+(\.[0-9]+)?$`)

func (l *Layout) normalizeContent(s Spec) {
	switch s := s.(type) {
	case *Filesystem:
		s.Mountpoint = clean(s.Mountpoint)
	case *Btrfs:
		s.Mountpoint = clean(s.Mountpoint)
		s.ExtraArgs = splitFlags(s.ExtraArgs)
		cleanSubvolumes(s.Subvolumes)
	case *Swap:
		s.ExtraArgs = words(s.ExtraArgs)
	case *LUKS:
		s.ExtraFormatArgs, s.ExtraOpenArgs = words(s.ExtraFormatArgs), words(s.ExtraOpenArgs)
	case *MDRaid:
		s.Name = byName(l.MDADM, s.Name, func(a Array) string { return a.Name })
	case *LVMPV:
		s.VG = byName(l.LVMVG, s.VG, func(g VolumeGroup) string { return g.Name })
	case *ZFS:
		s.Pool = byName(l.Zpool, s.Pool, func(p Pool) string { return p.Name })
	case *BcachefsMember:
		s.Filesystem = byName(l.Bcachefs, s.Filesystem, func(f BcachefsFilesystem) string { return f.Name })
	}
}

// byName turns a reference by name into one by key.
func byName[V any](m map[string]V, ref string, name func(V) string) string {
	if _, ok := m[ref]; ok {
		return ref
	}
	for _, key := range sortedKeys(m) {
		if ref != "" && name(m[key]) == ref {
			return key
		}
	}
	return ref
}

// normalize takes disko's dataset "__root", which stands for the pool itself,
// into the pool.
func (p Pool) normalize() Pool {
	if root, ok := p.Datasets["__root"]; ok && root.Hooks == (Hooks{}) {
		delete(p.Datasets, "__root")
		p.Mountpoint = cmp.Or(p.Mountpoint, root.Mountpoint)
		if len(p.MountOptions) == 0 {
			p.MountOptions = root.MountOptions
		}
		if p.RootOptions == nil && len(root.Options) > 0 {
			p.RootOptions = map[string]string{}
		}
		maps.Copy(p.RootOptions, root.Options)
	}
	p.Mountpoint = clean(p.Mountpoint)
	for key, d := range p.Datasets {
		d.Mountpoint = clean(d.Mountpoint)
		p.Datasets[key] = d
	}
	return p
}

func cleanSubvolumes(m map[string]Subvolume) {
	for key, v := range m {
		v.Mountpoint = clean(v.Mountpoint)
		m[key] = v
	}
}

// clean removes what does not matter in a mount point: "/nix/", "//nix".
func clean(mountpoint string) string {
	if !path.IsAbs(mountpoint) || slices.Contains(strings.Split(mountpoint, "/"), "..") {
		return mountpoint // for Validate
	}
	return path.Clean(mountpoint)
}

// words splits arguments as disko's shell does: it joins them with spaces. An
// argument with quotes or the like in it stays as it is.
func words(args []string) []string {
	var list []string
	for _, a := range args {
		if strings.ContainsAny(a, `"'\$`+"`") {
			list = append(list, a)
			continue
		}
		list = append(list, strings.Fields(a)...)
	}
	return list
}

var flagWithValue = lazyregexp.New(`^(-[a-zA-Z]) +(\S+)$`)

// splitFlags splits "-d raid1", as older configurations have it.
func splitFlags(args []string) []string {
	var list []string
	for _, a := range args {
		if m := flagWithValue.FindStringSubmatch(a); m != nil {
			list = append(list, m[1:]...)
			continue
		}
		list = append(list, a)
	}
	return list
}
