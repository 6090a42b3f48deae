package locate

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/sysfs"
)

// Disk is a disk, or an image of one, by its partition table.
type Disk struct {
	// Device is where it was seen last: /dev/sda.
	Device string `json:"device"`
	// Table is layout.KindGPT or layout.KindMBR, GUID its name: of an MBR the
	// first four bytes are the signature.
	Table string    `json:"table"`
	GUID  uuid.UUID `json:"guid"`
	// Serial and WWN, where it has them.
	Serial string `json:"serial,omitempty"`
	WWN    string `json:"wwn,omitempty"`
}

func (d Disk) String() string {
	if d.Serial != "" {
		return d.Device + " (serial " + d.Serial + ")"
	}
	return d.Device
}

// OfDisk reads which disk a device is. One without a partition table, or with
// one that has no name, is an error.
func OfDisk(device string) (Disk, layout.Table, error) {
	t, err := ReadTable(device)
	if err != nil {
		return Disk{}, t, err
	}
	if t.GUID == uuid.Nil {
		return Disk{}, t, fmt.Errorf("read partition table of %s: it has no identity (signature zero)", device)
	}
	d := Disk{Device: device, Table: t.Kind, GUID: t.GUID}
	if name, err := disk.KernelName(device); err == nil { // an image has none
		id, err := disk.ReadIdentity("/", name)
		if err != nil {
			return d, t, err
		}
		d.Serial, d.WWN = id.Serial, id.WWN
	}
	return d, t, nil
}

// ReadTable reads the partition table of a device, which may be in use.
func ReadTable(device string) (layout.Table, error) {
	f, err := disk.Open(device, os.O_RDONLY)
	if err != nil {
		return layout.Table{}, err
	}
	t, err := disk.ReadTable(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return t, fmt.Errorf("read partition table of %s: %w", device, err)
	}
	return t, nil
}

// Find returns where the disk is now.
func (d Disk) Find() (string, error) {
	if d.is(d.Device) {
		return d.Device, nil
	}
	names, err := sysfs.Root("/").Names("sys/block")
	if err != nil {
		return "", fmt.Errorf("find disk %s: %w", d, err)
	}
	var found []string
	for _, n := range names {
		if size, err := sysfs.Root("/").Number("sys/block", n, "size"); err != nil || size == 0 {
			continue
		}
		if node := sysfs.Node(n); d.is(node) {
			found = append(found, node)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("find disk %s: %w", d, ErrNotFound)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("find disk %s: there are several: %s", d, strings.Join(found, ", "))
}

// is compares what both have. A serial tells a disk from its copy.
func (d Disk) is(device string) bool {
	got, _, err := OfDisk(device)
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	return err == nil && got.Table == d.Table && got.GUID == d.GUID && !differ(got.Serial, d.Serial) && !differ(got.WWN, d.WWN)
}

// Area is a block device by where it is: a partition, or a volume.
type Area struct {
	// Device is where it was seen last: /dev/sda2, /dev/mapper/vg-swap.
	Device string `json:"device"`
	// Disk and Partition are those of a partition, which has a GUID or, in an
	// MBR, its first sector.
	Disk      *Disk     `json:"disk,omitempty"`
	Partition uuid.UUID `json:"partition,omitzero"`
	FirstLBA  uint64    `json:"firstLBA,omitempty"`
	// Mapping is the device mapper's UUID: LVM-..., CRYPT-....
	Mapping string `json:"mapping,omitempty"`
}

// OfArea reads what a block device is.
func OfArea(device string) (Area, error) {
	a := Area{Device: device}
	root := sysfs.Root("/")
	name, err := disk.KernelName(device)
	if err != nil {
		return a, err
	}
	if a.Mapping, err = root.Text("sys/class/block", name, "dm/uuid"); err == nil && a.Mapping != "" {
		return a, nil
	}
	number, err := root.Number("sys/class/block", name, "partition")
	if err != nil {
		return a, fmt.Errorf("find where %s is: it is neither a partition nor a volume", device)
	}
	whole := root.Whole(name)
	d, t, err := OfDisk(sysfs.Node(whole))
	if err != nil {
		return a, err
	}
	i := slices.IndexFunc(t.Entries, func(e layout.Entry) bool { return e.Number == int(number) })
	if i < 0 {
		return a, fmt.Errorf("find where %s is: the table of %s has no partition %d", device, d, number)
	}
	a.Disk, a.Partition, a.FirstLBA = &d, t.Entries[i].GUID, t.Entries[i].FirstLBA
	return a, nil
}

// Find returns where it is now.
func (a Area) Find() (string, error) {
	if a.Mapping != "" {
		return a.findMapping()
	}
	if a.Disk == nil {
		return "", fmt.Errorf("find %s: nothing is known of it", a.Device)
	}
	device, err := a.Disk.Find()
	if err != nil {
		return "", err
	}
	t, err := ReadTable(device)
	if err != nil {
		return "", err
	}
	for _, e := range t.Entries {
		if a.Partition != uuid.Nil && e.GUID == a.Partition || a.Partition == uuid.Nil && e.FirstLBA == a.FirstLBA {
			return disk.PartitionPath(device, e.Number), nil
		}
	}
	return "", fmt.Errorf("find %s: %w", cmp.Or(a.Device, "partition"), ErrNotFound)
}

func (a Area) findMapping() (string, error) {
	root := sysfs.Root("/")
	names, err := root.Names("sys/class/block")
	if err != nil {
		return "", err
	}
	for _, n := range names {
		if id, err := root.Text("sys/class/block", n, "dm/uuid"); err == nil && id == a.Mapping {
			return sysfs.Node(n), nil
		}
	}
	return "", fmt.Errorf("find %s: %w", a.Device, ErrNotFound)
}
