package release

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/probe"
)

// pool says which imported pool of ZFS has a device; "" for none. The kernel tells
// nobody: sysfs has no holders for it, and the only sign is that the device cannot be
// opened by somebody else alone.
func pool(node string) (string, error) {
	fd, err := unix.Open(node, unix.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if err == nil {
		return "", unix.Close(fd)
	}
	if !errors.Is(err, unix.EBUSY) {
		return "", nil // who writes to it will see
	}
	d, err := disk.Open(node, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer d.Close()
	found, err := probe.Probe(d, d.Size())
	if err != nil {
		return "", fmt.Errorf("look at %s: %w", node, err)
	}
	for _, r := range found {
		if r.Type == "zfs_member" {
			name := r.Label
			if r.Group != nil {
				name = r.Group.Name
			}
			if name == "" {
				return "a pool of ZFS", nil // of caches and spares the label does not say
			}
			return fmt.Sprintf("the ZFS pool %s (`zpool export %s`)", name, name), nil
		}
	}
	return "", nil
}
