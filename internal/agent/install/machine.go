package install

import "io"

// Machine is what the executor needs of the machine that it runs on, beside
// what storage.Machine has for disks. Host is the real one.
type Machine interface {
	// FindPartition is the device of the partition with a GPT label.
	FindPartition(label string) (string, error)
	Open(path string) (Source, error)
	// MountImage mounts an erofs or squashfs image read-only.
	MountImage(image, format, dir string) error
	// LookPath finds a program of the RAM system.
	LookPath(name string) (string, error)
}

// Source is an image that is read once: a device or a file.
type Source interface {
	io.ReadCloser
	// Size in bytes, and whether it is a device, which may be larger than
	// what it holds.
	Size() (n int64, device bool, err error)
	// Forget drops what is on the disk up to the offset end, or all when it is 0,
	// from the page cache.
	Forget(end int64)
}
