package storage

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/release"
)

// Users implements Devices.
func (Host) Users(device string, keep []disk.Range) ([]string, error) {
	name, keep, err := alone(device, keep)
	if err != nil {
		return nil, err
	}
	_, err = release.Find(system, name, keep)
	var busy *release.BusyError
	if errors.As(err, &busy) {
		return busy.Users, nil
	}
	return nil, err
}

// Release implements Devices.
func (h Host) Release(ctx context.Context, device string, keep []disk.Range) ([]string, error) {
	name, keep, err := alone(device, keep)
	if err != nil {
		return nil, err
	}
	stops, err := release.Disk(ctx, h.Tools, name, keep)
	var busy *release.BusyError
	if errors.As(err, &busy) {
		err = Refuse("%w", err)
	}
	var stopped []string
	for _, s := range stops {
		stopped = append(stopped, s.String())
	}
	return stopped, err
}

// alone is the kernel name of a device; of a partition it is its disk's, and
// everything around the partition is kept.
func alone(device string, keep []disk.Range) (string, []disk.Range, error) {
	name, err := disk.KernelName(device)
	if err != nil {
		return "", nil, err
	}
	if _, err := system.Number("sys/class/block", name, "partition"); err != nil {
		return name, keep, nil // a whole device
	}
	path, err := system.DevPath("sys/class/block", name)
	if err != nil {
		return "", nil, err
	}
	start, err1 := system.Number("sys/class/block", name, "start")
	size, err2 := system.Number("sys/class/block", name, "size")
	if err := errors.Join(err1, err2); err != nil {
		return "", nil, fmt.Errorf("find partition %s: %w", name, err)
	}
	end := (start + size) * 512
	return parent(path), append(keep, disk.Range{Size: start * 512}, disk.Range{Offset: end, Size: 1<<62 - end}), nil
}

// parent is the disk in the path of a partition below /sys/devices.
func parent(devPath string) string { return filepath.Base(filepath.Dir(devPath)) }
