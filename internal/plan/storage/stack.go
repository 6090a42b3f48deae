package storage

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
)

// crypt is a LUKS container of the layout.
type crypt struct {
	name, uuid string
	dev        Device
	spec       *layout.LUKS
	key        KeyFile
}

// luksOverhead is what a LUKS2 header takes: the default data offset.
const luksOverhead = 16 << 20

func (w *walker) luks(b block, at string, s *layout.LUKS) {
	id := w.id(at).String()
	if b.there {
		id = ""
		if b.found != nil {
			id = b.found.UUID
		}
	}
	key := keyOf(s)
	w.plan.Secrets = append(w.plan.Secrets, key)
	if !b.kept {
		extra := additionalKeys(s)
		w.plan.Secrets = append(w.plan.Secrets, extra...)
		w.create(event.Format, "LUKS "+b.String(), LUKSFormat{b.Device, s.Name, id, key, extra, s.ExtraFormatArgs, s.Settings.Header})
	}
	open := LUKSOpen{b.Device, s.Name, id, key, s.Settings.AllowDiscards, s.Settings.BypassWorkqueues, s.ExtraOpenArgs, s.Settings.Header}
	w.open("open "+s.Name, open, Close{Mapper: s.Name})
	w.crypts = append(w.crypts, crypt{s.Name, id, b.Device, s, key})
	inner := b
	inner.Device, inner.size, inner.start, inner.found = Device{Mapper: s.Name}, max(0, b.size-luksOverhead), 0, nil
	w.content(inner, at+".content", s.Content)
}

// open adds a step that both making and mounting need, and what undoes it.
func (w *walker) open(name string, a Action, undo Close) {
	w.create(event.Format, name, a)
	w.plan.Mount = append(w.plan.Mount, Step{event.Copy, name, a})
	w.closes = append(w.closes, undo)
}

// keyOf is the key that a container is made and opened with.
func keyOf(s *layout.LUKS) KeyFile {
	k := KeyFile{Secret: keyPrefix + s.Name}
	switch {
	case s.Settings.KeyFile != "":
		k.File, k.Size, k.Offset = s.Settings.KeyFile, s.Settings.KeyFileSize, s.Settings.KeyFileOffset
	case s.PasswordFile != "":
		k.File, k.Password = s.PasswordFile, true
	case s.KeyFile != "":
		k.File = s.KeyFile
	default:
		k.Password, k.Ask = true, s.AskPassword == nil || *s.AskPassword
	}
	return k
}

func additionalKeys(s *layout.LUKS) []KeyFile {
	var list []KeyFile
	for i, file := range s.AdditionalKeyFiles {
		list = append(list, KeyFile{Secret: fmt.Sprintf("%s%s-%d", keyPrefix, s.Name, i+1), File: file})
	}
	return list
}

// array makes devices.mdadm.KEY.
func (w *walker) array(key string, a layout.Array) {
	at, name, members := "mdadm."+key, cmp.Or(a.Name, key), w.members["mdadm/"+key]
	b := block{Device: Device{Array: name}, path: at, size: arraySize(a, members), kept: all(members, isKept), there: all(members, isThere), parts: allParts(members)}
	make := CreateArray{Array: name, Level: cmp.Or(a.Level, "1"), Metadata: cmp.Or(a.Metadata, "default"), UUID: mdUUID(w.id(at)), Members: devices(members), Args: a.ExtraArgs}
	w.hook(event.Format, "preCreate", a.PreCreate, at, b.Device)
	if b.there {
		make.UUID = ""
		if f := members[0].found; f != nil {
			make.UUID = f.UUID
		}
	}
	if !b.kept {
		w.create(event.Format, "array "+name, make)
	}
	assemble := AssembleArray{Array: name, UUID: make.UUID, Members: make.Members}
	w.open("assemble "+name, assemble, Close{Array: name})
	w.arrays = append(w.arrays, make)
	w.content(b, at+".content", a.Content)
	w.hook(event.Format, "postCreate", a.PostCreate, at, b.Device)
}

// mdUUID is mdadm's form of a UUID.
func mdUUID(id uuid.UUID) string {
	hex := strings.ReplaceAll(id.String(), "-", "")
	return hex[0:8] + ":" + hex[8:16] + ":" + hex[16:24] + ":" + hex[24:32]
}

// arraySize is a careful estimate: metadata and bitmap take at most 130 MiB of
// a member (mdadm's data offset on large devices), 2 MiB of small ones.
func arraySize(a layout.Array, members []block) int64 {
	if len(members) == 0 {
		return 0
	}
	least := members[0].size
	for _, m := range members {
		least = min(least, m.size)
	}
	least = max(0, least-min(130<<20, 2<<20+least/64))
	n := int64(len(members))
	switch cmp.Or(a.Level, "1") {
	case "0", "linear", "raid0":
		return n * least
	case "4", "5", "raid4", "raid5":
		return (n - 1) * least
	case "6", "raid6":
		return (n - 2) * least
	case "10", "raid10":
		return n / 2 * least
	}
	return least
}

func devices(list []block) []Device {
	var all []Device
	for _, b := range list {
		all = append(all, b.Device)
	}
	return all
}

func isKept(b block) bool  { return b.kept }
func isThere(b block) bool { return b.there }

// all says whether something is true of all members, of which there are some.
func all(list []block, is func(block) bool) bool {
	return len(list) > 0 && !slices.ContainsFunc(list, func(b block) bool { return !is(b) })
}

func allParts(list []block) []Part {
	var all []Part
	for _, b := range list {
		all = append(all, b.parts...)
	}
	return all
}

// extent is LVM's unit of space, unless the layout says otherwise.
const extent = 4 << 20

// group makes devices.lvm_vg.KEY.
func (w *walker) group(key string, g layout.VolumeGroup) {
	at, name, members := "lvm_vg."+key, cmp.Or(g.Name, key), w.members["lvm_vg/"+key]
	var total int64
	for _, m := range members {
		total += max(0, (m.size-1<<20)/extent*extent)
	}
	w.hook(event.Format, "preCreate", g.PreCreate, at, Device{VG: name})
	kept, there := all(members, isKept), all(members, isThere)
	if !kept {
		w.create(event.Format, "volume group "+name, CreateVG{name, devices(members)})
	}
	w.open("activate "+name, ActivateVG{name}, Close{VG: name})
	free := total
	for _, k := range g.Order() {
		v := g.LVs[k]
		b := block{Device: Device{VG: name, LV: cmp.Or(v.Name, k)}, path: at + ".lvs." + k, kept: kept, there: there, parts: allParts(members)}
		var err error
		if b.size, err = volumeSize(v, total, free); err != nil {
			w.fail(b.path+".size", "%v", err)
			continue
		}
		if v.Pool == "" {
			if free -= b.size; free < 0 && !there {
				w.fail(b.path+".size", "%s do not fit: volume group %s has %s left", v.Size, name, Bytes(free+b.size))
			}
		}
		w.volume(b, v)
	}
	w.hook(event.Format, "postCreate", g.PostCreate, at, Device{VG: name})
}

func (w *walker) volume(b block, v layout.LogicalVolume) {
	w.hook(event.Format, "preCreate", v.PreCreate, b.path, b.Device)
	if !b.kept {
		w.create(event.Format, "logical volume "+b.String(), CreateLV{b.VG, b.LV, v.Size, v.LVMType, v.Pool, v.ExtraArgs})
	}
	w.content(b, b.path+".content", v.Content)
	w.hook(event.Format, "postCreate", v.PostCreate, b.path, b.Device)
}

// volumeSize is what lvcreate will make of a size, in bytes.
func volumeSize(v layout.LogicalVolume, total, free int64) (int64, error) {
	number, of, percent := strings.Cut(v.Size, "%")
	if percent {
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 0 || n > 100 && v.Pool == "" {
			return 0, fmt.Errorf("read %q: expected a percentage such as 50%%FREE", v.Size)
		}
		base := total
		if of == "FREE" {
			base = free
		}
		return base / extent * n / 100 * extent, nil
	}
	n, err := layout.ParseSize(v.Size)
	if err != nil {
		return 0, err
	}
	return (n + extent - 1) / extent * extent, nil
}

// pool makes devices.zpool.KEY.
func (w *walker) pool(key string, p layout.Pool) {
	at, name, members := "zpool."+key, cmp.Or(p.Name, key), w.members["zpool/"+key]
	w.hook(event.Format, "preCreate", p.PreCreate, at, Device{})
	if !all(members, isKept) {
		vdevs, err := w.vdevs(p, members)
		if err != nil {
			w.fail(at+".mode", "%v", err)
		}
		w.create(event.Format, "pool "+name, CreatePool{name, vdevs, p.Options, p.RootOptions, p.Mountpoint})
	}
	w.closes = append(w.closes, Close{Pool: name})
	if p.Mountpoint != "" {
		w.mounted(Filesystem{Source: name, FSType: "zfs", Mountpoint: p.Mountpoint, Options: options(p.MountOptions), Parts: allParts(members), hooks: p.Hooks})
	}
	for _, k := range slices.Sorted(maps.Keys(p.Datasets)) {
		d := p.Datasets[k]
		full := name + "/" + cmp.Or(d.Name, k)
		if !all(members, isKept) {
			w.create(event.Format, "dataset "+full, CreateDataset{full, d.Size, d.Options, d.ExtraArgs})
		}
		if d.Type == "zfs_volume" {
			size, _ := layout.ParseSize(d.Size) // validated
			w.content(block{Device: Device{Zvol: full}, path: at + ".datasets." + k, size: size, kept: all(members, isKept), there: all(members, isThere), parts: allParts(members)}, at+".datasets."+k+".content", d.Content)
		} else if d.Mountpoint != "" {
			w.mounted(Filesystem{Source: full, FSType: "zfs", Mountpoint: d.Mountpoint, Options: options(d.MountOptions), Parts: allParts(members), hooks: d.Hooks})
		}
	}
	w.hook(event.Format, "postCreate", p.PostCreate, at, Device{})
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
	top := Filesystem{Source: "UUID=" + make.UUID, FSType: "bcachefs", UUID: make.UUID, Parts: allParts(members)}
	if f.Mountpoint != "" {
		fs := top
		fs.Mountpoint, fs.Options, fs.hooks = f.Mountpoint, options(f.MountOptions), f.Hooks
		w.mounted(fs)
	}
	for _, k := range slices.Sorted(maps.Keys(f.Subvolumes)) {
		v := f.Subvolumes[k]
		path := strings.Trim(cmp.Or(v.Name, k), "/")
		make.Subvolumes = append(make.Subvolumes, Subvolume{path, v.ExtraArgs})
		fs := top
		fs.Mountpoint, fs.Options, fs.hooks = v.Mountpoint, append(slices.Clone(options(v.MountOptions)), "X-mount.subdir="+path), v.Hooks
		w.mounted(fs)
	}
	if !all(members, isKept) {
		w.create(event.Format, "mkfs.bcachefs "+name, make)
	}
}
