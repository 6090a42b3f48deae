package install

import (
	"context"
	"io"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/plan"
)

// Machine is what the executor needs of the machine that it runs on. Host is
// the real one.
type Machine interface {
	// Disks lists the disks that are there, by identity.
	Disks() ([]plan.Disk, error)
	// InUse says what uses the disk or a partition of it ("/dev/vda1 is
	// mounted on /"); empty when nothing does.
	InUse(device string) ([]string, error)
	// ReadOnly says whether the device refuses writes.
	ReadOnly(device string) (bool, error)
	// Partition is the path of a partition's device.
	Partition(device string, number int) string
	// FindPartition is the device of the partition with a GPT label.
	FindPartition(label string) (string, error)

	// Wipe clears old signatures, where the table has its partitions too.
	Wipe(ctx context.Context, device string, table layout.Table) error
	// WriteTable writes the GPT and waits for the partitions' devices.
	WriteTable(ctx context.Context, device string, table layout.Table) error
	// Mkfs makes the file system of an entry on its partition's device.
	Mkfs(ctx context.Context, device string, e layout.Entry, sectorSize int) error
	// Flush has the device write everything, and forgets what is cached.
	Flush(device string) error

	Open(path string) (Source, error)
	// MountImage mounts an erofs or squashfs image read-only.
	MountImage(image, format, dir string) error
	// Mount mounts a file system, with options as in fstab.
	Mount(source, dir, fstype string, options []string) error
	// Unmount waits a few seconds for programs that are about to end.
	Unmount(ctx context.Context, dir string) error
	// Mounts lists the mount points at and below dir, in mount order.
	Mounts(dir string) ([]string, error)

	// LookPath finds a program of the RAM system.
	LookPath(name string) (string, error)
}

// Source is an image that is read once: a device or a file.
type Source interface {
	io.ReadCloser
	// Size in bytes, and whether it is a device, which may be larger than
	// what it holds.
	Size() (n int64, device bool, err error)
	// Forget drops what has been read, up to the offset end, from the page
	// cache.
	Forget(end int64)
}
