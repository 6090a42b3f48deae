package storage

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
)

// pool makes devices.zpool.KEY.
func (w *walker) pool(key string, p layout.Pool) {
	at, name, members := "zpool."+key, cmp.Or(p.Name, key), w.members["zpool/"+key]
	around := site{at, Device{}, p.Hooks, layout.VariablesOf(p, "type", "zpool", "name", name)}
	w.making(around, func() {
		if !all(members, isKept) {
			vdevs, err := w.vdevs(p, members)
			if err != nil {
				w.fail(at+".mode", "%v", err)
			}
			w.create(event.Format, "pool "+name, CreatePool{name, vdevs, p.Options, p.RootOptions, p.Mountpoint})
		}
		open := func() { w.open("import "+name, ImportPool{name, devices(members)}, Close{Pool: name}) }
		if p.Mountpoint != "" {
			open()
			w.mounted(Filesystem{Source: name, FSType: "zfs", Mountpoint: p.Mountpoint, Options: zfsOptions(p.MountOptions, p.RootOptions), Parts: allParts(members), site: around})
		} else {
			w.opening(around, open)
		}
		for _, k := range slices.Sorted(maps.Keys(p.Datasets)) {
			w.dataset(name, at+".datasets."+k, cmp.Or(p.Datasets[k].Name, k), p.Datasets[k], members)
		}
	})
}

// dataset makes one of a pool.
func (w *walker) dataset(pool, at, name string, d layout.Dataset, members []block) {
	full, kept := pool+"/"+name, all(members, isKept)
	around := site{at, Device{}, d.Hooks, layout.VariablesOf(d, "type", d.Type, "name", name)}
	volume := d.Type == "zfs_volume"
	if volume {
		around.dev = Device{Zvol: full}
	}
	w.making(around, func() {
		if !kept {
			w.create(event.Format, "dataset "+full, CreateDataset{full, d.Size, d.Options, d.ExtraArgs})
		}
		switch {
		case volume:
			size, _ := layout.ParseSize(d.Size) // validated
			b := block{Device: around.dev, path: at, size: size, kept: kept, there: all(members, isThere), parts: allParts(members)}
			w.opening(around, func() { w.content(b, at+".content", d.Content) })
		case d.Mountpoint != "":
			w.mounted(Filesystem{Source: full, FSType: "zfs", Mountpoint: d.Mountpoint, Options: zfsOptions(d.MountOptions, d.Options), Parts: allParts(members), site: around})
		}
	})
}

// zfsOptions are those of mount(8). A file system whose place is its own property's
// business is mounted elsewhere, or where that says, with zfsutil alone.
func zfsOptions(given []string, properties map[string]string) []string {
	list := options(given)
	if properties["mountpoint"] == "legacy" || slices.Contains(list, "zfsutil") {
		return list
	}
	return append(slices.Clone(list), "zfsutil")
}

// vdevs are zpool create's words for where the data goes.
func (w *walker) vdevs(p layout.Pool, members []block) ([]Word, error) {
	t, ok, err := p.Topology()
	if err != nil {
		return nil, err
	}
	var words []Word
	text := func(s string) {
		if s != "" {
			words = append(words, Word{Text: s})
		}
	}
	if !ok {
		mode, _ := p.Mode.(string)
		text(mode)
		for _, m := range members {
			words = append(words, Word{Device: &m.Device})
		}
		return words, nil
	}
	group := func(class string, list []layout.Vdev) {
		for _, v := range list {
			text(class)
			text(v.Mode)
			for _, name := range v.Members {
				words = append(words, w.member(name))
			}
		}
	}
	group("", t.Vdev)
	group("special", t.Special)
	group("dedup", t.Dedup)
	group("log", t.Log)
	if len(t.Spare) > 0 {
		group("spare", []layout.Vdev{{Members: t.Spare}})
	}
	if len(t.Cache) > 0 {
		group("cache", []layout.Vdev{{Members: t.Cache}})
	}
	return words, nil
}

// member is a device by disko's path for it, or by the path of a disk.
func (w *walker) member(name string) Word {
	path := layout.MemberDevice(name)
	if d, ok := w.device(path); ok {
		return Word{Device: &d}
	}
	return Word{Text: path}
}

// device finds a device of the layout by disko's path for it: links that udev
// makes are not there where no udev runs.
func (w *walker) device(path string) (Device, bool) {
	label, isLabel := strings.CutPrefix(path, "/dev/disk/by-partlabel/")
	guid, isGUID := strings.CutPrefix(path, "/dev/disk/by-partuuid/")
	for _, d := range w.disks {
		if path == d.spec.Device && path != "" {
			return Device{Disk: d.name}, true
		}
		if d.table == nil {
			continue
		}
		for _, e := range d.table.Entries {
			if isLabel && e.Label == label || isGUID && strings.EqualFold(e.GUID.String(), guid) {
				return Device{Disk: d.name, Partition: e.Number, Title: e.Name}, true
			}
		}
	}
	mapper, _ := strings.CutPrefix(path, "/dev/mapper/")
	for _, c := range w.crypts {
		if c.name == mapper {
			return Device{Mapper: mapper}, true
		}
	}
	return Device{}, false
}

// bcachefs makes devices.bcachefs_filesystems.KEY.
func (w *walker) bcachefs(key string, f layout.BcachefsFilesystem) {
	at, name, members := "bcachefs_filesystems."+key, cmp.Or(f.Name, key), w.members["bcachefs/"+key]
	make := MkfsBcachefs{Name: name, UUID: cmp.Or(f.UUID, w.id(at).String()), Args: f.ExtraFormatArgs}
	for _, m := range members {
		s, _ := specOf[*layout.BcachefsMember](m.content) // by memberOf
		make.Members = append(make.Members, BcachefsMember{m.Device, s.Label, s.ExtraFormatArgs})
	}
	if f.PasswordFile != "" {
		make.Key = &KeyFile{Secret: keyPrefix + "bcachefs-" + name, File: f.PasswordFile, Password: true}
		w.plan.Secrets = append(w.plan.Secrets, *make.Key)
	}
	around := site{at, Device{}, f.Hooks, layout.VariablesOf(f, "type", "bcachefs_filesystem", "name", name)}
	top := Filesystem{Source: "UUID=" + make.UUID, FSType: "bcachefs", UUID: make.UUID, Parts: allParts(members), site: around}
	if f.Mountpoint != "" {
		fs := top
		fs.Mountpoint, fs.Options = f.Mountpoint, options(f.MountOptions)
		w.mounted(fs)
	}
	for _, k := range slices.Sorted(maps.Keys(f.Subvolumes)) {
		v := f.Subvolumes[k]
		path := strings.Trim(cmp.Or(v.Name, k), "/")
		make.Subvolumes = append(make.Subvolumes, Subvolume{path, v.ExtraArgs})
		fs := top
		fs.Mountpoint, fs.Options = v.Mountpoint, append(slices.Clone(options(v.MountOptions)), "X-mount.subdir="+path)
		w.mounted(fs)
	}
	if !all(members, isKept) {
		w.making(around, func() { w.create(event.Format, "mkfs.bcachefs "+name, make) })
	}
}
