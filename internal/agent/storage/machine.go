package storage

import (
	"context"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/luks"
	"github.com/victorinix/vic/disk/lvm"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/disk/sysfs"
	plan "github.com/victorinix/vic/internal/plan/storage"
)

// Machine is what the executor needs of the machine that it runs on. Host is
// the real one. Devices are given by path; those that are missing are errors
// that wrap os.ErrNotExist.
type Machine interface {
	Devices
	Contents
	Stacks
	Mounts
}

// Devices are disks, their partitions, and everything else that is a block
// device.
type Devices interface {
	// Disks lists the disks that are there, by identity.
	Disks() ([]plan.Disk, error)
	ReadOnly(device string) (bool, error)
	// Partition is the path of a partition's device.
	Partition(device string, number int) string
	// Node is the path of an array, a mapping, a volume or a zvol that is active;
	// uuid is an array's, if it is known.
	Node(d plan.Device, uuid string) (string, error)
	// Measure is the size and the logical sector size of a device, in bytes.
	Measure(device string) (size int64, sectorSize int, err error)
	// Content is what the bytes of a device say that it is: nothing, one thing,
	// or several that contradict each other.
	Content(device string) ([]Content, error)
	// Table is the partition table, and what is wrong with it; nil when there is
	// none.
	Table(device string) (*probe.Table, error)
	// WriteTable writes a partition table; partitions' devices are there when it
	// returns.
	WriteTable(ctx context.Context, device string, t layout.Table, efiFirst bool) error
	// ShowTable has the kernel read the table that is on a device, if it knows
	// another.
	ShowTable(ctx context.Context, device string, t layout.Table) error
	// Users says who uses what will be lost, so that it cannot be released: what
	// is mounted or open outside of the ranges that are kept, and swap that there
	// is no memory for.
	Users(device string, keep []disk.Range) ([]string, error)
	// Release stops what stands on a device outside of keep, and says what that
	// was: "volume group vg0".
	Release(ctx context.Context, device string, keep []disk.Range) (stopped []string, err error)
	// Wipe clears all signatures on a device outside of keep.
	Wipe(ctx context.Context, device string, ranges, keep []disk.Range) error
	// Flush has the device write everything, and forgets what is cached.
	Flush(device string) error
	// Memory is how much can be had without swapping, in bytes (MemAvailable).
	Memory() (int64, error)
	// LookPath finds a program.
	LookPath(name string) (string, error)
}

// Content is a signature on a device.
type Content struct {
	Type  string // as blkid
	UUID  string
	Label string
	Size  int64 // bytes, by its own account; 0: it does not say
	// Group is the volume group, array or pool that the device is a member of.
	Group string
}

// Contents are made and resized.
type Contents interface {
	Mkfs(ctx context.Context, f disk.Filesystem, device string) error
	// HasSubvolumes says whether all of them are in a btrfs, and all swap files.
	HasSubvolumes(ctx context.Context, device string, list []plan.Subvolume, files []plan.SwapFile) (bool, error)
	// Subvolumes makes those that are not there.
	Subvolumes(ctx context.Context, device string, list []plan.Subvolume, files []plan.SwapFile) error
	// ContentSize is how much of its device a content takes, in bytes.
	ContentSize(typ, device string) (int64, error)
	// ResizeContent gives a content that is not mounted a size in bytes, rounded
	// down as its format needs it, and returns that. One that has the size is
	// left alone. Resumed: an earlier run may have damaged it.
	ResizeContent(ctx context.Context, typ, device string, size int64, resumed bool) (int64, error)
}

// Stacks are containers, groups and arrays.
type Stacks interface {
	LUKSFormat(ctx context.Context, c luks.Container, uuid string, args []string, keys ...[]byte) error
	LUKSOpen(ctx context.Context, c luks.Container, name string, key []byte, o luks.Options) error
	LUKSClose(ctx context.Context, name string) error
	// LUKSData is where the data of a container begins, and the size of its
	// sectors, in bytes.
	LUKSData(ctx context.Context, c luks.Container) (offset, sector int64, err error)

	CreateVG(ctx context.Context, vg string, pvs []string) error
	// CreateLV makes a volume, in the place of one with its name.
	CreateLV(ctx context.Context, a plan.CreateLV) error
	HasLV(ctx context.Context, vg, lv string) (bool, error)
	// ActivateVG makes the volumes of a group usable; no error when they are.
	ActivateVG(ctx context.Context, vg string) error
	// ShrinkPV and GrowPV change a physical volume whose device is about to
	// shrink, or has grown, and a volume with it.
	ShrinkPV(ctx context.Context, f lvm.Fit) error
	GrowPV(ctx context.Context, f lvm.Fit) error
	// DeactivateVG, LUKSClose and StopArray do nothing where there is nothing.
	DeactivateVG(ctx context.Context, vg string) error

	CreateArray(ctx context.Context, a plan.CreateArray, members []string) error
	// AssembleArray starts an array that may lack devices, and says how many.
	AssembleArray(ctx context.Context, name, uuid string, members []string) (missing int, err error)
	StopArray(ctx context.Context, name, uuid string) error
}

// Mount is one of the machine.
type Mount = sysfs.Mount

// Mounts are mounts and swaps.
type Mounts interface {
	// Mounts lists the mounts at and below dir, in mount order.
	Mounts(dir string) ([]Mount, error)
	// Mounted says whether a mount is of that source (a device, or a directory
	// that is bound), type and options.
	Mounted(m Mount, source, fstype string, options []string) (bool, error)
	// Mount mounts with options as in fstab. A source of a file system over
	// several devices may be UUID=....
	Mount(ctx context.Context, source, dir, fstype string, options []string) error
	// WithMount mounts a file system in a directory of its own while f runs.
	WithMount(ctx context.Context, source, fstype string, f func(dir string) error) error
	// Unmount waits a few seconds for programs that are about to end.
	Unmount(ctx context.Context, dir string) error
	// SwappedTo says whether a device or file is a swap that is on.
	SwappedTo(path string) (bool, error)
	SwapOn(path string, priority *int, options []string) error
	SwapOff(path string) error
}
