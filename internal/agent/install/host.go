package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/tool"
)

// Host is the machine that this process runs on.
type Host struct {
	// Tools runs mkfs.
	Tools tool.Runner
	// Programs finds programs; tool.Exec does.
	Programs interface {
		LookPath(name string) (string, error)
	}
}

const systemRoot = "/"

// Disks implements Machine.
func (Host) Disks() ([]plan.Disk, error) {
	names, err := sysfs.Root(systemRoot).Disks()
	if err != nil {
		return nil, err
	}
	var disks []plan.Disk
	for _, name := range names {
		id, err := disk.ReadIdentity(systemRoot, name)
		if err != nil {
			return nil, err
		}
		disks = append(disks, planDisk(id))
	}
	return disks, nil
}

func planDisk(id disk.Identity) plan.Disk {
	return plan.Disk{
		Device: "/dev/" + id.Name, Path: id.Path, Serial: id.Serial, WWN: id.WWN, Model: id.Model,
		Size: id.Size, SectorSize: id.SectorSize,
	}
}

// InUse implements Machine.
func (Host) InUse(device string) ([]string, error) {
	name, err := disk.KernelName(device)
	if err != nil {
		return nil, err
	}
	return disk.InUse(systemRoot, name)
}

// ReadOnly implements Machine.
func (Host) ReadOnly(device string) (bool, error) {
	name, err := disk.KernelName(device)
	if err != nil {
		return false, err
	}
	id, err := disk.ReadIdentity(systemRoot, name)
	return id.ReadOnly, err
}

// Partition implements Machine.
func (Host) Partition(device string, number int) string { return disk.PartitionPath(device, number) }

// FindPartition implements Machine.
func (Host) FindPartition(label string) (string, error) {
	var found []string
	names, err := filepath.Glob("/sys/class/block/*/uevent")
	if err != nil {
		return "", err
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		if slices.Contains(strings.Split(string(b), "\n"), "PARTNAME="+label) {
			found = append(found, "/dev/"+filepath.Base(filepath.Dir(name)))
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("one partition has to have this label, these have it: %q", found)
	}
	return found[0], nil
}

// Wipe implements Machine.
func (Host) Wipe(ctx context.Context, device string, t layout.Table) error {
	return write(device, func(d *disk.File) error { return disk.Wipe(ctx, d, disk.Ranges(t)) })
}

// WriteTable implements Machine.
func (Host) WriteTable(ctx context.Context, device string, t layout.Table) error {
	if err := write(device, func(d *disk.File) error { return disk.WriteGPT(ctx, d, t) }); err != nil {
		return err
	}
	return disk.Reread(ctx, device, t)
}

// write opens a device for itself alone.
func write(device string, f func(*disk.File) error) error {
	d, err := disk.Open(device, os.O_RDWR)
	if err != nil {
		return err
	}
	return errors.Join(f(d), d.Close())
}

// Mkfs implements Machine.
func (h Host) Mkfs(ctx context.Context, device string, e layout.Entry, sectorSize int) error {
	c, err := disk.MkfsCommand(e, device, sectorSize, time.Time{})
	if err != nil {
		return err
	}
	_, err = h.Tools.Run(ctx, c)
	return err
}

// MountImage implements Machine.
func (Host) MountImage(image, format, dir string) error { return disk.MountImage(image, format, dir) }

// Mount implements Machine.
func (Host) Mount(source, dir, fstype string, options []string) error {
	return disk.Mount(source, dir, fstype, options)
}

// Mounts implements Machine.
func (Host) Mounts(dir string) ([]string, error) {
	mounts, err := sysfs.Root(systemRoot).Mounts()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, m := range mounts {
		if m.Target == dir || strings.HasPrefix(m.Target, strings.TrimSuffix(dir, "/")+"/") {
			dirs = append(dirs, m.Target)
		}
	}
	return dirs, nil
}

// Open implements Machine.
func (Host) Open(path string) (Source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return hostSource{f}, nil
}

type hostSource struct{ *os.File }

// Size implements Source.
func (s hostSource) Size() (int64, bool, error) {
	st, err := s.Stat()
	if err != nil {
		return 0, false, err
	}
	if st.Mode().IsRegular() {
		return st.Size(), false, nil
	}
	n, err := s.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = s.Seek(0, io.SeekStart)
	}
	return n, true, err
}

// Forget implements Source. It is advice: the kernel may not take it.
func (s hostSource) Forget(end int64) {
	_ = unix.Fadvise(int(s.Fd()), 0, end, unix.FADV_DONTNEED)
}

// LookPath implements Machine.
func (h Host) LookPath(name string) (string, error) { return h.Programs.LookPath(name) }

// Flush implements Machine.
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

// busyFor is how long Unmount waits for a program that is about to end.
const busyFor = 5 * time.Second

// Unmount implements Machine.
func (Host) Unmount(ctx context.Context, dir string) error {
	for end := time.Now().Add(busyFor); ; {
		err := disk.Unmount(dir)
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

var _ Machine = Host{}
