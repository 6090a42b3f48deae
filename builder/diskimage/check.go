package diskimage

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/victorinix/vic/disk/layout"
)

// ErrLayout is wrapped by the error of Check.
var ErrLayout = errors.New("a disk image cannot have it: vic install --vm makes any layout")

// Check refuses what only a machine can make, and names it.
func Check(l layout.Layout) error {
	var errs []error
	for _, kind := range []struct {
		name string
		n    int
	}{{"mdadm", len(l.MDADM)}, {"lvm_vg", len(l.LVMVG)}, {"zpool", len(l.Zpool)}, {"bcachefs_filesystems", len(l.Bcachefs)}} {
		if kind.n > 0 {
			errs = append(errs, refuse(kind.name, kind.name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Disk)) {
		errs = append(errs, checkDisk("disk."+name, l.Disk[name]))
	}
	return errors.Join(errs...)
}

func refuse(at, what string) error { return fmt.Errorf("%s: %s: %w", at, what, ErrLayout) }

func checkDisk(at string, d layout.Disk) error {
	if d.Content == nil {
		return refuse(at, "nothing on the disk")
	}
	errs := []error{checkHooks(at, d.Hooks)}
	switch t := d.Content.Spec.(type) {
	case *layout.GPT:
		errs = append(errs, checkHooks(at+".content", t.Hooks))
		for _, name := range slices.Sorted(maps.Keys(t.Partitions)) {
			p, at := t.Partitions[name], at+".content.partitions."+name
			if p.Keep {
				errs = append(errs, refuse(at, "a partition that is kept"))
			}
			errs = append(errs, checkContent(at+".content", p.Content))
		}
	case *layout.MBR:
		errs = append(errs, checkHooks(at+".content", t.Hooks))
		for i, p := range t.Partitions {
			errs = append(errs, checkContent(fmt.Sprintf("%s.content.partitions.%d.content", at, i), p.Content))
		}
	default:
		errs = append(errs, refuse(at, "content of type "+d.Content.ContentType()))
	}
	return errors.Join(errs...)
}

func checkHooks(at string, h layout.Hooks) error {
	if h != (layout.Hooks{}) {
		return refuse(at, "hooks")
	}
	return nil
}

// made are the file systems that fill knows.
var made = []string{"ext2", "ext3", "ext4", "vfat"}

// why some file systems are not among them.
var why = map[string]string{
	"btrfs": ", whose mkfs does not make the same twice",
	"xfs":   ", whose mkfs loses hard links and extended attributes, and does not make the same twice",
}

func checkContent(at string, c *layout.Content) error {
	if c == nil {
		return nil
	}
	switch s := c.Spec.(type) {
	case *layout.Filesystem:
		if !slices.Contains(made, s.Format) {
			return refuse(at, "format "+s.Format+why[s.Format])
		}
		return checkHooks(at, s.Hooks)
	case *layout.Swap:
		return checkHooks(at, s.Hooks)
	}
	return refuse(at, "content of type "+c.ContentType()+why[c.ContentType()])
}

// RootFS is the format of what the layout mounts at /; ext4 when there is none.
func RootFS(l layout.Layout) string {
	for _, d := range l.Disk {
		for _, c := range contents(d) {
			if c == nil {
				continue
			}
			if fs, ok := c.Spec.(*layout.Filesystem); ok && fs.Mountpoint == "/" {
				return fs.Format
			}
		}
	}
	return "ext4"
}

// contents are those of the partitions of a disk.
func contents(d layout.Disk) (list []*layout.Content) {
	if d.Content == nil {
		return nil
	}
	switch t := d.Content.Spec.(type) {
	case *layout.GPT:
		for _, p := range t.Partitions {
			list = append(list, p.Content)
		}
	case *layout.MBR:
		for _, p := range t.Partitions {
			list = append(list, p.Content)
		}
	}
	return list
}

// Packages are what the first boot needs beyond what every tree has: an MBR is
// enlarged by sfdisk(8).
func Packages(l layout.Layout) []string {
	for _, d := range l.Disk {
		if d.Content == nil {
			continue
		}
		if _, ok := d.Content.Spec.(*layout.MBR); ok {
			return []string{"fdisk"}
		}
	}
	return nil
}
