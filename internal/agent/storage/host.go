package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/dm"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/md"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/disk/udev"
	"github.com/victorinix/vic/disk/zvol"
	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/tool"
)

// Host is the machine that this process runs on.
type Host struct {
	// Tools runs mkfs, cryptsetup, lvm, ....
	Tools tool.Runner
	// Programs finds programs; tool.Exec does.
	Programs interface {
		LookPath(name string) (string, error)
	}
	// Also are the kernel names of devices that no plan would choose by itself,
	// and that are disks all the same: loop devices.
	Also []string
}

var _ Machine = Host{}

const system = sysfs.Root("/")

// Disks implements Devices.
func (h Host) Disks() ([]plan.Disk, error) {
	names, err := system.Disks()
	if err != nil {
		return nil, err
	}
	var disks []plan.Disk
	for _, name := range append(names, h.Also...) {
		d, err := HostDisk(name)
		if err != nil {
			return nil, err
		}
		disks = append(disks, d)
	}
	return disks, nil
}

// HostDisk is the identity of a disk of this machine by its kernel name.
func HostDisk(name string) (plan.Disk, error) {
	id, err := disk.ReadIdentity(string(system), name)
	return plan.Disk{
		Device: sysfs.Node(id.Name), Path: id.Path, Serial: id.Serial, WWN: id.WWN, Model: id.Model,
		Size: id.Size, SectorSize: id.SectorSize,
	}, err
}

// ReadOnly implements Devices.
func (Host) ReadOnly(device string) (bool, error) {
	name, err := disk.KernelName(device)
	if err != nil {
		return false, err
	}
	ro, err := system.Number("sys/block", name, "ro")
	return ro == 1, err
}

// Partition implements Devices.
func (Host) Partition(device string, number int) string { return disk.PartitionPath(device, number) }

// Node implements Devices. Only the kernel's own names are sure to be in /dev.
func (h Host) Node(d plan.Device, uuid string) (string, error) {
	if d.Zvol != "" {
		return zvol.Node(system, d.Zvol)
	}
	if d.Array != "" {
		return h.array(d.Array, uuid)
	}
	list, err := dm.List(system)
	if err != nil {
		return "", err
	}
	for _, m := range list {
		vg, lv, ok := m.LV()
		if d.Mapper != "" && m.Name == d.Mapper || d.LV != "" && ok && vg == d.VG && lv == d.LV {
			return m.Node(), nil
		}
	}
	return "", fmt.Errorf("it is not active: %w", os.ErrNotExist)
}

// array finds a running array by its UUID, or else by its name.
func (h Host) array(name, uuid string) (string, error) {
	ctx := context.Background()
	if uuid != "" {
		node, err := md.Node(ctx, h.Tools, name, uuid)
		if errors.Is(err, md.ErrNotRunning) {
			err = fmt.Errorf("%w: %w", err, os.ErrNotExist)
		}
		return node, err
	}
	link := "/dev/md/" + name
	if target, err := filepath.EvalSymlinks(link); err == nil {
		return target, nil
	}
	all, err := filepath.Glob("/sys/block/md*/md")
	if err != nil {
		return "", err
	}
	for _, dir := range all {
		node := sysfs.Node(filepath.Base(filepath.Dir(dir)))
		if info, err := md.Detail(ctx, h.Tools, node); err == nil && info.Name == name {
			return node, nil
		}
	}
	return "", fmt.Errorf("%w: %w", md.ErrNotRunning, os.ErrNotExist)
}

// Measure implements Devices.
func (Host) Measure(device string) (size int64, sectorSize int, err error) {
	err = read(device, func(d *disk.File) error {
		size, sectorSize = d.Size(), d.SectorSize()
		return nil
	})
	return size, sectorSize, err
}

// Content implements Devices.
func (Host) Content(device string) ([]Content, error) {
	var list []Content
	err := read(device, func(d *disk.File) error {
		found, err := probe.Probe(d, d.Size())
		for _, r := range found {
			c := Content{Type: r.Type, UUID: r.UUID, Label: r.Label, Size: r.Size}
			if r.Group != nil {
				c.Group = r.Group.Name
			}
			list = append(list, c)
		}
		return err
	})
	return list, err
}

// Table implements Devices.
func (Host) Table(device string) (t *probe.Table, err error) {
	err = read(device, func(d *disk.File) (err error) {
		t, err = probe.ReadTable(d, d.Size(), d.SectorSize())
		return err
	})
	return t, err
}

// WriteTable implements Devices.
func (h Host) WriteTable(ctx context.Context, device string, t layout.Table, efiFirst bool) error {
	// What was made on its partitions is open when a table is finished. Reread
	// refuses to take away a partition that is in use.
	if err := writeShared(device, func(d disk.Device) error { return disk.WriteTable(ctx, d, t, !efiFirst) }); err != nil {
		return err
	}
	if err := disk.Reread(ctx, device, t); err != nil {
		return err
	}
	return udev.Settle(ctx, h.Tools)
}

// ShowTable implements Devices.
func (h Host) ShowTable(ctx context.Context, device string, t layout.Table) error {
	shown, err := shows(device, t)
	if err != nil || shown {
		return err
	}
	if err := disk.Reread(ctx, device, t); err != nil {
		return err
	}
	return udev.Settle(ctx, h.Tools)
}

// shows says whether the kernel knows the partitions of a table, and /dev too.
func shows(device string, t layout.Table) (bool, error) {
	name, err := disk.KernelName(device)
	if err != nil {
		return false, err
	}
	known, err := system.Partitions(name)
	if err != nil || len(known) != len(t.Entries) {
		return false, err
	}
	for _, e := range t.Entries {
		node := disk.PartitionPath(sysfs.Node(name), e.Number)
		start, err1 := system.Number("sys/block", name, filepath.Base(node), "start")
		size, err2 := system.Number("sys/block", name, filepath.Base(node), "size")
		_, err3 := os.Stat(node)
		if err1 != nil || err2 != nil || err3 != nil {
			return false, nil
		}
		if start*512 != int64(e.FirstLBA)*int64(t.SectorSize) || size*512 != e.Size(t.SectorSize) {
			return false, nil
		}
	}
	return true, nil
}

// Wipe implements Devices.
func (Host) Wipe(ctx context.Context, device string, ranges, keep []disk.Range) error {
	if len(keep) > 0 { // what is kept may be in use
		return writeShared(device, func(d disk.Device) error { return disk.Wipe(ctx, d, ranges, keep) })
	}
	return write(device, func(d *disk.File) error { return disk.Wipe(ctx, d, ranges, keep) })
}

// Flush implements Devices. What is no block device is a file that was synced.
func (Host) Flush(device string) error {
	f, err := os.Open(device)
	if err != nil {
		return err
	}
	err = f.Sync()
	if err == nil {
		err = unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0)
	}
	return errors.Join(err, f.Close())
}

// Memory implements Devices.
func (Host) Memory() (int64, error) { return system.Available() }

// LookPath implements Devices.
func (h Host) LookPath(name string) (string, error) { return h.Programs.LookPath(name) }

func read(device string, f func(*disk.File) error) error {
	d, err := disk.Open(device, os.O_RDONLY)
	if err != nil {
		return err
	}
	// Signatures are here and there: what the kernel would read ahead is not wanted.
	_ = unix.Fadvise(int(d.Fd()), 0, 0, unix.FADV_RANDOM)
	return errors.Join(f(d), d.Close())
}

// write opens a device for itself alone.
func write(device string, f func(*disk.File) error) error {
	d, err := disk.Open(device, os.O_RDWR)
	if err != nil {
		return err
	}
	return errors.Join(f(d), d.Close())
}
