package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/tool"
)

// What a program inside the target needs to see. All are mounts of their own,
// no binds: on a host with shared mounts a bind of /dev would carry what is
// mounted below it back to the host. efivarfs is not among them: only
// BootEntry changes the firmware's variables, no package script does.
var chrootMounts = []struct{ dir, fstype, options string }{
	{"/proc", "proc", "nosuid,nodev,noexec"},
	{"/sys", "sysfs", "nosuid,nodev,noexec"},
	{"/dev", "devtmpfs", "nosuid"},
	{"/dev/pts", "devpts", "nosuid,noexec,gid=5,mode=620"},
	{"/dev/disk", "tmpfs", "nosuid,nodev,noexec,mode=755"},
	{"/run", "tmpfs", "nosuid,nodev,mode=755"},
}

// inside runs f while programs can be run in the target, and removes every
// trace of that afterwards, also when ctx has ended.
func (t target) inside(ctx context.Context, f func() error) (err error) {
	defer func() { err = errors.Join(err, t.leave(context.WithoutCancel(ctx))) }()
	for _, m := range chrootMounts {
		dir, err := t.root.MountPoint(m.dir)
		if err != nil {
			return fmt.Errorf("prepare %s for programs: %w", t.root, err)
		}
		if err := t.disks.Mount(ctx, m.fstype, dir, m.fstype, strings.Split(m.options, ",")); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.fstype, dir, err)
		}
	}
	if err := t.nameDisks(); err != nil {
		return fmt.Errorf("name the disks in %s/dev/disk: %w", t.root, err)
	}
	return f()
}

// leave unmounts what inside has mounted. A program that was killed may hold
// on to it for a moment; Unmount waits for that.
func (t target) leave(ctx context.Context) error {
	var errs []error
	for i := len(chrootMounts) - 1; i >= 0; i-- {
		dir := filepath.Join(string(t.root), chrootMounts[i].dir)
		mounted, err := t.disks.Mounts(dir)
		if err != nil {
			errs = append(errs, err)
		}
		for j := len(mounted) - 1; j >= 0; j-- {
			if err := t.disks.Unmount(ctx, mounted[j].Target); err != nil {
				errs = append(errs, fmt.Errorf("unmount %s: %w", mounted[j].Target, err))
			}
		}
	}
	return errors.Join(errs...)
}

// nameDisks makes the links in /dev/disk that udev would make: update-grub
// writes root=UUID=... only where it sees them, and else root=/dev/vda3.
func (t target) nameDisks() error {
	links := map[string]string{}
	for _, p := range t.storage.Disks {
		d, err := t.findDisk(p.Disk)
		if err != nil {
			return err
		}
		if id := stableName(d); id != "" {
			links[strings.TrimPrefix(id, "/dev/disk/")] = d.Device
		}
		if p.After == nil {
			continue
		}
		for _, e := range p.After.Entries {
			links["by-partuuid/"+e.GUID.String()] = t.disks.Partition(d.Device, e.Number)
		}
	}
	for _, f := range t.storage.Filesystems {
		if f.UUID == "" || f.Device == (plan.Device{}) {
			continue
		}
		dev, err := t.node(f.Device)
		if err != nil {
			return err
		}
		links["by-uuid/"+f.UUID] = dev
	}
	for name, dev := range links {
		path := filepath.Join(string(t.root), "dev/disk", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(dev, path); err != nil {
			return err
		}
	}
	return nil
}

// run runs a program inside the target. Temporary files go to the target's
// disk, not to memory.
func (t target) run(ctx context.Context, c tool.Cmd) (tool.Output, error) {
	c.Root = string(t.root)
	c.Env = append([]string{"TMPDIR=/var/tmp", "DEBIAN_FRONTEND=noninteractive"}, c.Env...)
	return t.tools.Run(ctx, c)
}
