package storage_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/luks"
	"github.com/victorinix/vic/disk/lvm"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/internal/agent/storage"
	plan "github.com/victorinix/vic/internal/plan/storage"
)

// fake is a machine in memory. What it stores is what a disk would keep over a
// power cut, except for active and mounts.
type fake struct {
	disks   []plan.Disk
	tables  map[string]*probe.Table
	content map[string]storage.Content // device -> what is on it
	partial map[string]bool            // devices whose content only looks whole
	vols    map[string][]string        // group -> volumes
	subvols map[string][]string        // device -> subvolumes
	active  map[string]string          // node that is there -> device beneath
	mounts  []storage.Mount
	swaps   map[string]bool
	absent  []string // programs that are not there

	// count is the effects so far; at the one numbered at, the machine dies.
	count, at int
	how       string
	log       []string
}

func newFake(disks ...plan.Disk) *fake {
	return &fake{
		disks: disks, tables: map[string]*probe.Table{}, content: map[string]storage.Content{}, partial: map[string]bool{},
		vols: map[string][]string{}, subvols: map[string][]string{}, active: map[string]string{}, swaps: map[string]bool{},
	}
}

var errDied = errors.New("the machine died")

// effect does something: wholly, partly (when the machine dies inside), or not.
func (f *fake) effect(name string, do, part func()) error {
	f.count++
	f.log = append(f.log, name)
	if f.count != f.at {
		do()
		return nil
	}
	switch f.how {
	case "inside":
		part()
	case "after":
		do()
	}
	return fmt.Errorf("%s: %w", name, errDied)
}

// reboot is a power cycle.
func (f *fake) reboot() {
	f.active, f.mounts, f.swaps = map[string]string{}, nil, map[string]bool{}
}

func (f *fake) Disks() ([]plan.Disk, error)         { return f.disks, nil }
func (f *fake) ReadOnly(string) (bool, error)       { return false, nil }
func (f *fake) Partition(d string, n int) string    { return fmt.Sprintf("%s-%d", d, n) }
func (f *fake) Memory() (int64, error)              { return 100 << 20, nil }
func (f *fake) Flush(device string) error           { return f.there(device) }
func (f *fake) SwappedTo(area string) (bool, error) { return f.swaps[area], nil }

func (f *fake) LookPath(name string) (string, error) {
	if slices.Contains(f.absent, name) {
		return "", os.ErrNotExist
	}
	return "/bin/" + name, nil
}

// there says whether a node exists.
func (f *fake) there(device string) error {
	if f.active[device] != "" {
		return nil
	}
	base, number, part := strings.Cut(device, "-")
	ok := f.active[base] != "" || slices.ContainsFunc(f.disks, func(d plan.Disk) bool { return d.Device == base })
	if part && ok {
		t := f.tables[base]
		ok = t != nil && slices.ContainsFunc(t.Entries, func(e layout.Entry) bool { return fmt.Sprint(e.Number) == number })
	}
	if !ok {
		return fmt.Errorf("%s: %w", device, os.ErrNotExist)
	}
	return nil
}

func (f *fake) Node(d plan.Device, _ string) (string, error) {
	node := map[bool]string{true: "/dev/md/" + d.Array, false: "/dev/mapper/" + d.Mapper}[d.Array != ""]
	if d.VG != "" {
		node = "/dev/" + d.VG + "/" + d.LV
	}
	return node, f.there(node)
}

// Measure is 1 GiB of what is not a partition.
func (f *fake) Measure(device string) (int64, int, error) {
	base, number, _ := strings.Cut(device, "-")
	if t := f.tables[base]; t != nil {
		for _, e := range t.Entries {
			if fmt.Sprint(e.Number) == number {
				return e.Size(t.SectorSize), t.SectorSize, f.there(device)
			}
		}
	}
	return 1 << 30, 512, f.there(device)
}

func (f *fake) Content(device string) ([]storage.Content, error) {
	if c, ok := f.content[device]; ok {
		return []storage.Content{c}, f.there(device)
	}
	return nil, f.there(device)
}

func (f *fake) Table(device string) (*probe.Table, error) { return f.tables[device], f.there(device) }

func (f *fake) WriteTable(_ context.Context, device string, t layout.Table, _ bool) error {
	t.Entries = slices.Clone(t.Entries)
	for i := range t.Entries {
		t.Entries[i].Content, t.Entries[i].Kept, t.Entries[i].OldLast, t.Entries[i].Name = nil, false, 0, ""
	}
	write := func(damage ...string) { f.tables[device] = &probe.Table{Table: t, Damage: damage} }
	return f.effect("write table "+device, func() { write() }, func() { write("the backup is old") })
}

func (f *fake) ShowTable(context.Context, string, layout.Table) error { return nil }

// on says whether a node stands on a device or a partition of it.
func (f *fake) on(node, device string) bool {
	for _, below := range strings.Fields(f.active[node]) {
		if below == device || strings.HasPrefix(below, device+"-") || f.on(below, device) {
			return true
		}
	}
	return false
}

func (f *fake) Users(device string, _ []disk.Range) ([]string, error) {
	var users []string
	for _, m := range f.mounts {
		if m.Source == device || strings.HasPrefix(m.Source, device+"-") || f.on(m.Source, device) {
			users = append(users, m.Source+" mounted on "+m.Target)
		}
	}
	return users, nil
}

func (f *fake) Release(_ context.Context, device string, _ []disk.Range) ([]string, error) {
	return nil, f.effect("release "+device, func() {
		maps.DeleteFunc(f.active, func(node, _ string) bool { return f.on(node, device) })
	}, func() {})
}

func (f *fake) Wipe(_ context.Context, device string, _, keep []disk.Range) error {
	if err := f.there(device); err != nil {
		return err
	}
	kept := map[string]bool{}
	if t := f.tables[device]; t != nil {
		for _, e := range t.Entries {
			kept[f.Partition(device, e.Number)] = slices.ContainsFunc(keep, func(r disk.Range) bool { return r.Offset == int64(e.FirstLBA)*int64(t.SectorSize) })
		}
	}
	forget := func(only string) {
		maps.DeleteFunc(f.content, func(d string, _ storage.Content) bool {
			return (d == device || strings.HasPrefix(d, device+"-")) && strings.HasSuffix(d, only) && !kept[d]
		})
		delete(f.subvols, device)
	}
	return f.effect("wipe "+device, func() {
		forget("")
		if len(keep) == 0 {
			delete(f.tables, device)
		}
	}, func() { forget("-1") })
}

// make is an effect that leaves a content.
func (f *fake) make(name, device string, c storage.Content, also func()) error {
	if err := f.there(device); err != nil {
		return err
	}
	if old, ok := f.content[device]; ok {
		return fmt.Errorf("%s: %s is there already", name, old.Type)
	}
	return f.effect(name, func() {
		f.content[device] = c
		delete(f.partial, device)
		also()
	}, func() {
		f.content[device], f.partial[device] = c, true
	})
}

func (f *fake) Mkfs(_ context.Context, fs disk.Filesystem, device string) error {
	return f.make("mkfs."+fs.Format+" "+device, device, storage.Content{Type: fs.Format, UUID: fs.UUID}, func() { delete(f.subvols, device) })
}

func (f *fake) HasSubvolumes(_ context.Context, device string, list []plan.Subvolume, _ []plan.SwapFile) (bool, error) {
	return len(f.subvols[device]) == len(list), nil
}

func (f *fake) Subvolumes(_ context.Context, device string, list []plan.Subvolume, _ []plan.SwapFile) error {
	some := func(list []plan.Subvolume) {
		f.subvols[device] = nil
		for _, v := range list {
			f.subvols[device] = append(f.subvols[device], v.Path)
		}
	}
	return f.effect("subvolumes "+device, func() { some(list) }, func() { some(list[:1]) })
}

func (f *fake) LUKSFormat(_ context.Context, c luks.Container, uuid string, args []string, keys ...[]byte) error {
	if len(keys) == 0 || string(keys[0]) != "secret" {
		return fmt.Errorf("wrong keys %q", keys)
	}
	return f.make("LUKS "+strings.Join(args, " "), c.Device, storage.Content{Type: "crypto_LUKS", UUID: uuid}, func() {
		maps.DeleteFunc(f.content, func(d string, _ storage.Content) bool { return strings.HasPrefix(d, "/dev/mapper/") }) // a new key
	})
}

func (f *fake) LUKSOpen(_ context.Context, c luks.Container, name string, key []byte, _ luks.Options) error {
	if string(key) != "secret" || f.partial[c.Device] {
		return errors.New("no key with this passphrase")
	}
	f.active["/dev/mapper/"+name] = c.Device
	return nil
}

func (f *fake) LUKSClose(_ context.Context, name string) error {
	delete(f.active, "/dev/mapper/"+name)
	return nil
}

func (f *fake) CreateVG(_ context.Context, vg string, pvs []string) error {
	for i, p := range pvs {
		if err := f.make("pv "+p, p, storage.Content{Type: "LVM2_member", UUID: p, Group: map[bool]string{true: vg}[i < len(pvs)]}, func() { f.vols[vg] = nil }); err != nil {
			return err
		}
	}
	return nil
}

func (f *fake) CreateLV(ctx context.Context, a plan.CreateLV) error {
	f.vols[a.VG] = slices.DeleteFunc(f.vols[a.VG], func(v string) bool { return v == a.LV })
	return f.effect("lvcreate "+a.LV, func() {
		f.vols[a.VG] = append(f.vols[a.VG], a.LV)
		f.active["/dev/"+a.VG+"/"+a.LV] = f.pvs(a.VG)
	}, func() { f.vols[a.VG] = append(f.vols[a.VG], a.LV) })
}

func (f *fake) pvs(vg string) string {
	var list []string
	for d, c := range f.content {
		if c.Group == vg {
			list = append(list, d)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func (f *fake) HasLV(_ context.Context, vg, lv string) (bool, error) {
	return slices.Contains(f.vols[vg], lv), nil
}

func (f *fake) ActivateVG(_ context.Context, vg string) error {
	if f.pvs(vg) == "" {
		return errors.New("no such group")
	}
	for _, v := range f.vols[vg] {
		f.active["/dev/"+vg+"/"+v] = f.pvs(vg)
	}
	return nil
}

// ShrinkPV and GrowPV have one volume, as large as the rest of its device.
func (f *fake) ShrinkPV(_ context.Context, a lvm.Fit) error {
	if err := a.Content(a.Size - 1<<20); err != nil {
		return err
	}
	return f.effect(fmt.Sprintf("shrink pv %s to %d", a.Device, a.Size), func() {}, func() {})
}

func (f *fake) GrowPV(_ context.Context, a lvm.Fit) error {
	if err := f.effect(fmt.Sprintf("grow pv %s to %d", a.Device, a.Size), func() {}, func() {}); err != nil {
		return err
	}
	return a.Content(a.Size - 1<<20)
}

func (f *fake) DeactivateVG(_ context.Context, vg string) error {
	for _, v := range f.vols[vg] {
		delete(f.active, "/dev/"+vg+"/"+v)
	}
	return nil
}

func (f *fake) CreateArray(_ context.Context, a plan.CreateArray, members []string) error {
	for i, m := range members {
		if err := f.make("array "+m, m, storage.Content{Type: "linux_raid_member", UUID: a.UUID, Group: a.Array}, func() {
			if i == len(members)-1 {
				f.active["/dev/md/"+a.Array] = strings.Join(members, " ")
			}
		}); err != nil {
			return err
		}
	}
	return nil
}

// AssembleArray is of arrays with two devices.
func (f *fake) AssembleArray(_ context.Context, name, _ string, members []string) (int, error) {
	f.active["/dev/md/"+name] = strings.Join(members, " ")
	return 2 - len(members), nil
}

func (f *fake) StopArray(_ context.Context, name, _ string) error {
	delete(f.active, "/dev/md/"+name)
	return nil
}

func (f *fake) Mounts(dir string) ([]storage.Mount, error) {
	return slices.DeleteFunc(slices.Clone(f.mounts), func(m storage.Mount) bool {
		return m.Target != dir && !strings.HasPrefix(m.Target, dir+"/")
	}), nil
}

func (f *fake) Mounted(m storage.Mount, source, fstype string, _ []string) (bool, error) {
	return m.Source == source && m.Type == fstype, nil
}

func (f *fake) Mount(_ context.Context, source, dir, fstype string, options []string) error {
	return f.effect("mount "+dir, func() {
		f.mounts = append(f.mounts, storage.Mount{Target: dir, Type: fstype, Source: source})
	}, func() {})
}

func (f *fake) WithMount(_ context.Context, source, _ string, do func(string) error) error {
	return do("/tmp/" + source)
}

func (f *fake) Unmount(_ context.Context, dir string) error {
	at := slices.IndexFunc(f.mounts, func(m storage.Mount) bool { return m.Target == dir })
	if at != len(f.mounts)-1 {
		return fmt.Errorf("%s is busy", dir)
	}
	f.mounts = f.mounts[:at]
	return nil
}

func (f *fake) SwapOn(area string, _ *int, _ []string) error {
	f.swaps[area] = true
	return f.there(area)
}

func (f *fake) SwapOff(area string) error {
	delete(f.swaps, area)
	return nil
}

func (f *fake) LUKSData(context.Context, luks.Container) (int64, int64, error) {
	return 16 << 20, 512, nil
}

func (f *fake) ContentSize(_, device string) (int64, error) { return f.content[device].Size, nil }

func (f *fake) ResizeContent(_ context.Context, _, device string, size int64, _ bool) (int64, error) {
	c := f.content[device]
	c.Size = size
	return size, f.effect(fmt.Sprintf("resize %s to %d", device, size), func() { f.content[device] = c }, func() {})
}
