package storage

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
)

// New computes the plan. Everything that is wrong is reported at once, joined.
func New(c Config) (Plan, error) {
	if err := errors.Join(c.Layout.Validate(), sameNames(c)); err != nil {
		return Plan{}, err
	}
	w := &walker{config: c, members: map[string][]block{}}
	for _, name := range slices.Sorted(maps.Keys(c.Layout.Disk)) {
		if slices.Contains(c.Absent, name) {
			w.absent(name)
			continue
		}
		w.disk(name)
	}
	if len(w.errs) > 0 { // without tables there is nothing to go on with
		return Plan{}, errors.Join(w.errs...)
	}
	w.partition()
	w.format()
	w.finishTables()
	w.mounts()
	w.unmounts()
	w.plan.Boot = w.boot()
	if len(c.Absent) > 0 { // nothing can be made
		w.plan.Create = nil
	}
	if err := errors.Join(w.errs...); err != nil {
		return Plan{}, err
	}
	w.plan.Programs = programs(w.plan)
	return w.plan, uniqueNames(w.plan)
}

// sameNames wants one disk of the machine for each of the layout, and no disk
// twice.
func sameNames(c Config) error {
	var errs []error
	used := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Layout.Disk)) {
		d, ok := c.Disks[name]
		if !ok && slices.Contains(c.Absent, name) {
			continue
		}
		if !ok {
			errs = append(errs, fmt.Errorf("no disk of this machine is given for %q of the layout", name))
			continue
		}
		if other := used[d.Device]; other != "" {
			errs = append(errs, fmt.Errorf("%s is given for both %q and %q of the layout", d.Disk, other, name))
		}
		used[d.Device] = name
	}
	for _, name := range slices.Sorted(maps.Keys(c.Disks)) {
		if _, ok := c.Layout.Disk[name]; !ok {
			errs = append(errs, fmt.Errorf("the layout describes no disk %q", name))
		}
	}
	return errors.Join(errs...)
}

// walker goes through a layout and collects what the plan is made of.
type walker struct {
	config Config
	plan   Plan
	errs   []error
	disks  []diskWork
	// members are what arrays ("mdadm/NAME"), volume groups ("lvm_vg/NAME"),
	// pools and bcachefs are made of, in the order they were found.
	members map[string][]block

	swaps  []swap
	crypts []crypt
	arrays []CreateArray
	undo   []Step // in the order of opening; done backwards
}

// diskWork is a disk with the table that it will have.
type diskWork struct {
	name  string
	state State
	spec  layout.Disk
	table *layout.Table     // nil: the disk holds its content without one
	fits  bool              // the table is there already
	pools map[string]string // names of the layout's ZFS pools, by its keys
}

// block is a block device on the way through the layout.
type block struct {
	Device
	path string // in the layout, for errors and identifiers
	// size is a careful estimate, in bytes.
	size int64
	// kept: nothing is made on it. there: what is on it may have been made
	// before, and is then known by what was found and not by what it would get.
	kept, there bool
	found       *Found // what is on it, if that is known
	start       uint64 // first sector on its disk
	parts       []Part // that it stands on
	// content is what the layout wants on a member of an assembly.
	content *layout.Content
}

func (w *walker) fail(path, format string, args ...any) {
	w.errs = append(w.errs, fmt.Errorf("%s: %w", path, fmt.Errorf(format, args...)))
}

func (w *walker) create(phase event.Phase, name string, a Action) {
	w.plan.Create = append(w.plan.Create, Step{phase, name, a})
}

// disk settles a disk's table.
func (w *walker) disk(name string) {
	d := diskWork{name: name, state: w.config.Disks[name], spec: w.config.Layout.Disk[name], pools: map[string]string{}}
	for key, p := range w.config.Layout.Zpool {
		d.pools[key] = cmp.Or(p.Name, key)
	}
	geometry := layout.Geometry{Size: d.state.Size, SectorSize: d.state.SectorSize, Now: d.state.Table}
	if d.spec.Content != nil && hasTable(*d.spec.Content) {
		table, err := layout.ResolveTable(name, d.spec, geometry, w.config.Seed)
		if err != nil {
			w.errs = append(w.errs, fmt.Errorf("lay out %s: %w", d.state.Disk, err))
			return
		}
		d.table = &table
		d.adopt(w.config.Anew)
	}
	w.disks = append(w.disks, d)
}

func hasTable(c layout.Content) bool {
	switch c.Spec.(type) {
	case *layout.GPT, *layout.MBR:
		return true
	}
	return false
}

// adopt takes over the identifiers of a table that is there already and cuts
// the disk as the layout does: it is then not written again.
func (d *diskWork) adopt(anew bool) {
	now := d.state.Table
	if now == nil || anew || now.Kind != d.table.Kind || len(now.Entries) != len(d.table.Entries) {
		return
	}
	entries := slices.Clone(d.table.Entries)
	for i, e := range entries {
		at := slices.IndexFunc(now.Entries, func(o layout.Entry) bool { return o.Number == e.Number })
		if at < 0 || !sameCut(now.Entries[at], e) {
			return
		}
		entries[i].GUID = now.Entries[at].GUID
	}
	d.table.GUID, d.table.Entries, d.fits = now.GUID, entries, true
}

// sameCut says whether what is there is what the layout wants; a partition that
// is unfinished has the type for that.
func sameCut(now, want layout.Entry) bool {
	if now.FirstLBA != want.FirstLBA || now.LastLBA != want.LastLBA || now.Label != want.Label {
		return false
	}
	if now.MBR != nil && want.MBR != nil {
		return now.MBR.Type == want.MBR.Type || now.MBR.Type == UnfinishedMBR
	}
	return now.Type == want.Type || now.Type == TypeUnfinished
}

// id derives an identifier from the seed.
func (w *walker) id(path string) uuid.UUID { return uuid.NewSHA1(w.config.Seed, []byte(path)) }

// uniqueNames: names of steps are what the journal knows them by.
func uniqueNames(p Plan) error {
	seen := map[string]bool{}
	for _, s := range slices.Concat(p.Create, p.Mount, p.Unmount) {
		key := string(s.Phase) + " " + s.Name
		if seen[key] {
			return fmt.Errorf("plan: two steps are called %q", s.Name)
		}
		seen[key] = true
	}
	return nil
}

// programs are what the steps run, sorted.
func programs(p Plan) []string {
	set := map[string]bool{}
	for _, s := range slices.Concat(p.Create, p.Mount, p.Unmount) {
		for _, name := range ProgramsOf(s.Action) {
			set[name] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// ProgramsOf are those that an action runs.
func ProgramsOf(a Action) []string {
	switch a := a.(type) {
	case Mkfs:
		if a.Format == "swap" {
			return []string{"mkswap"}
		}
		return []string{"mkfs." + a.Format}
	case Subvolumes:
		return []string{"btrfs"}
	case LUKSFormat, LUKSOpen:
		return []string{"cryptsetup"}
	case CreateVG, CreateLV, ActivateVG:
		return []string{"lvm"}
	case CreateArray, AssembleArray:
		return []string{"mdadm"}
	case CreatePool, ImportPool:
		return []string{"zpool"}
	case CreateDataset:
		return []string{"zfs"}
	case MkfsBcachefs:
		return []string{"bcachefs"}
	case Resize:
		return resizePrograms(a)
	}
	return nil
}

func resizePrograms(a Resize) []string {
	tools := map[string][]string{
		"ext2": {"e2fsck", "resize2fs"}, "ext3": {"e2fsck", "resize2fs"}, "ext4": {"e2fsck", "resize2fs"},
		"btrfs": {"btrfs"}, "ntfs": {"ntfsresize"}, "xfs": {"xfs_growfs"}, "swap": {"mkswap"},
		"vfat": {"fsck.vfat"}, "crypto_LUKS": {"cryptsetup"}, "LVM2_member": {"lvm"},
	}
	var names []string
	for _, l := range a.Layers {
		names = append(names, tools[l.Type]...)
	}
	return names
}

// byMountpoint puts parents first.
func byMountpoint(a, b Filesystem) int { return cmp.Compare(a.Mountpoint, b.Mountpoint) }
