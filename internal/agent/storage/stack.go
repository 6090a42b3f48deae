package storage

import (
	"fmt"
	"slices"

	plan "github.com/victorinix/vic/internal/plan/storage"
)

// thing is the key of something that is made of devices, or the device itself:
// "disk/main", "disk/main/2", "md/boot", "vg/vg0", "lv/vg0/root",
// "mapper/crypt", "pool/tank", "zvol/tank/swap".
func thing(d plan.Device) string {
	base := ""
	switch {
	case d.Disk != "":
		base = "disk/" + d.Disk
	case d.Array != "":
		base = "md/" + d.Array
	case d.Mapper != "":
		base = "mapper/" + d.Mapper
	case d.Zvol != "":
		base = "zvol/" + d.Zvol
	case d.LV != "":
		base = "lv/" + d.VG + "/" + d.LV
	default:
		base = "vg/" + d.VG
	}
	if d.Partition > 0 {
		return fmt.Sprintf("%s/%d", base, d.Partition)
	}
	return base
}

// stack is what the steps say about what stands on what.
type stack struct {
	on map[string][]plan.Device // thing -> the devices directly beneath
	// wiped are the disks, by name, that the steps wipe.
	wiped map[string]plan.Wipe
	// tables are those that the steps write in the end, by the thing that they
	// are on.
	tables map[string]plan.WriteTable
	// arrays are the UUIDs of arrays, by name.
	arrays map[string]string
}

func newStack(steps []plan.Step) stack {
	st := stack{on: map[string][]plan.Device{}, wiped: map[string]plan.Wipe{}, tables: map[string]plan.WriteTable{}, arrays: map[string]string{}}
	for _, s := range steps {
		st.add(s.Action)
	}
	return st
}

func (st stack) add(a plan.Action) {
	switch a := a.(type) {
	case plan.WriteTable:
		st.tables[thing(a.Device)] = a
	case plan.LUKSFormat:
		st.on["mapper/"+a.Name] = []plan.Device{a.Device}
	case plan.LUKSOpen:
		st.on["mapper/"+a.Name] = []plan.Device{a.Device}
	case plan.CreateArray:
		st.on["md/"+a.Array], st.arrays[a.Array] = a.Members, a.UUID
	case plan.AssembleArray:
		st.on["md/"+a.Array], st.arrays[a.Array] = a.Members, a.UUID
	case plan.CreateVG:
		st.on["vg/"+a.VG] = a.PVs
	case plan.CreatePool:
		for _, w := range a.Vdevs {
			if w.Device != nil {
				st.on["pool/"+a.Pool] = append(st.on["pool/"+a.Pool], *w.Device)
			}
		}
	}
}

// beneath are the devices that a device directly stands on; none for a disk and
// its partitions.
func (st stack) beneath(d plan.Device) []plan.Device {
	switch {
	case d.Disk != "":
		return nil
	case d.Zvol != "":
		return st.on["pool/"+pool(d.Zvol)]
	case d.VG != "":
		return st.on["vg/"+d.VG]
	}
	d.Partition = 0
	return st.on[thing(d)]
}

// disks are the names of the disks that devices stand on, sorted.
func (st stack) disks(devices ...plan.Device) []string {
	var names []string
	for _, d := range devices {
		if d.Disk != "" {
			names = append(names, d.Disk)
			continue
		}
		names = append(names, st.disks(st.beneath(d)...)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// ground is what is known about what a content stands on. Of what is lost no more
// is known.
type ground struct {
	// fresh: what is there is to be made, as the tables beneath say, or because
	// the steps wipe the disk.
	fresh bool
	// lost: something beneath was wiped or made in this run.
	lost bool
	// bare: there is no table beneath that could have told.
	bare bool
}

func (g ground) and(o ground) ground {
	return ground{g.fresh || o.fresh, g.lost || o.lost, g.bare && o.bare}
}

// ground looks at the tables of everything that a device stands on.
func (e *Executor) ground(devices ...plan.Device) (ground, error) {
	all := ground{bare: true}
	for _, d := range devices {
		g, err := e.groundOf(d)
		if err != nil {
			return g, err
		}
		all = all.and(g)
	}
	return all, nil
}

func (e *Executor) groundOf(d plan.Device) (ground, error) {
	whole := d
	whole.Partition = 0
	lost := e.made[thing(d)] || e.made[thing(whole)] || d.VG != "" && e.made["vg/"+d.VG] || d.Zvol != "" && e.made["pool/"+pool(d.Zvol)]
	switch {
	case lost:
		return ground{lost: true}, nil
	case d.Disk != "" && d.Partition == 0:
		_, fresh := e.stack.wiped[d.Disk]
		return ground{fresh: fresh, bare: true}, nil
	case d.Disk != "":
		fresh, err := e.unfinished(d)
		return ground{fresh: fresh}, err
	}
	return e.ground(e.stack.beneath(d)...)
}

// unfinished says whether the table of a disk says so of a partition.
func (e *Executor) unfinished(d plan.Device) (bool, error) {
	disk, err := e.disk(d.Disk)
	if err != nil {
		return false, err
	}
	t, _, err := e.now(disk.Device)
	if err != nil {
		return false, err
	}
	if t != nil {
		for _, entry := range t.Entries {
			if entry.Number == d.Partition {
				return isUnfinished(entry), nil
			}
		}
	}
	return false, fmt.Errorf("%s: disk %s has no partition %d", d, Describe(disk), d.Partition)
}

// path is the path of a device that is there, of the disk that has the right
// identity now.
func (e *Executor) path(d plan.Device) (string, error) {
	if d.Disk != "" {
		disk, err := e.disk(d.Disk)
		if err != nil {
			return "", err
		}
		if d.Partition > 0 {
			return e.Machine.Partition(disk.Device, d.Partition), nil
		}
		return disk.Device, nil
	}
	whole := d
	whole.Partition = 0
	node, err := e.Machine.Node(whole, e.stack.arrays[d.Array])
	if err != nil {
		return "", fmt.Errorf("find %s: %w", d, err)
	}
	if d.Partition > 0 {
		return e.Machine.Partition(node, d.Partition), nil
	}
	return node, nil
}

func (e *Executor) paths(devices []plan.Device) ([]string, error) {
	var list []string
	for _, d := range devices {
		p, err := e.path(d)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// writing reads the identity of all disks beneath the devices, immediately
// before something writes to them, and notes that it does.
func (e *Executor) writing(devices ...plan.Device) error {
	err := e.sure(devices...)
	e.written = e.written || err == nil
	return err
}

// sure reads the identity of all disks beneath the devices again, and sees that
// they can be written to.
func (e *Executor) sure(devices ...plan.Device) error {
	for _, name := range e.stack.disks(devices...) {
		want, ok := e.Disks[name]
		if !ok {
			return fmt.Errorf("the plan names a disk %q and does not say which one that is", name)
		}
		if _, err := e.writable(want); err != nil {
			return err
		}
	}
	return nil
}
