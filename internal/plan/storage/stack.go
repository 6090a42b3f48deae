package storage

import (
	"cmp"
	"fmt"
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
	w.undo = append(w.undo, undo.step())
}

// step is named by what is closed: a container and a group may share a name.
func (c Close) step() Step {
	name := "close " + c.Mapper
	switch {
	case c.VG != "":
		name = "deactivate " + c.VG
	case c.Array != "":
		name = "stop " + c.Array
	case c.Pool != "":
		name = "export " + c.Pool
	}
	return Step{event.Finish, name, c}
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
	if b.there {
		make.UUID = ""
		if f := members[0].found; f != nil {
			make.UUID = f.UUID
		}
	}
	w.arrays = append(w.arrays, make)
	around := site{at, b.Device, a.Hooks, layout.VariablesOf(a, "type", "mdadm", "name", name, "level", make.Level, "metadata", make.Metadata)}
	w.making(around, func() {
		if !b.kept {
			w.create(event.Format, "array "+name, make)
		}
		w.opening(around, func() {
			assemble := AssembleArray{Array: name, UUID: make.UUID, Members: make.Members}
			w.open("assemble "+name, assemble, Close{Array: name})
			w.content(b, at+".content", a.Content)
		})
	})
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
	around := site{at, Device{VG: name}, g.Hooks, layout.VariablesOf(g, "type", "lvm_vg", "name", name)}
	w.making(around, func() {
		if !all(members, isKept) {
			w.create(event.Format, "volume group "+name, CreateVG{name, devices(members)})
		}
		w.opening(around, func() {
			w.open("activate "+name, ActivateVG{name}, Close{VG: name})
			w.volumes(at, name, g, members, total)
		})
	})
}

// volumes makes those of a group of so many bytes.
func (w *walker) volumes(at, name string, g layout.VolumeGroup, members []block, total int64) {
	kept, there, free := all(members, isKept), all(members, isThere), total
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
}

func (w *walker) volume(b block, v layout.LogicalVolume) {
	around := site{b.path, b.Device, v.Hooks, layout.VariablesOf(v, "name", b.LV)}
	w.making(around, func() {
		if !b.kept {
			w.create(event.Format, "logical volume "+b.String(), CreateLV{b.VG, b.LV, v.Size, v.LVMType, v.Pool, v.ExtraArgs})
		}
		w.opening(around, func() { w.content(b, b.path+".content", v.Content) })
	})
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
