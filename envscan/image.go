package envscan

import (
	"fmt"
	"syscall"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
)

// ScanImage finds out what is in a disk image. Its Name is the path, its
// Transport "image", and its sector size the one that its GPT was made for.
func ScanImage(path string) (Disk, error) {
	d := Disk{Name: path, Transport: "image"}
	f, err := openDevice(path)
	if err != nil {
		return d, fmt.Errorf("scan image: %w", err)
	}
	defer f.Close()
	if d.Size, err = f.Size(); err != nil {
		return d, fmt.Errorf("scan image %s: %w", path, err)
	}
	d.SectorSize = probe.SectorSize(f, d.Size)
	d.Physical = d.SectorSize
	d.ReadOnly = syscall.Access(path, 2) != nil
	found, err := probe.ReadDisk(f, d.Size, d.SectorSize, nil)
	if err != nil {
		return d, fmt.Errorf("scan image %s: %w", path, err)
	}
	d.Content = found.Content
	if t := found.Table; t != nil {
		d.Table, d.TableDamage = &t.Table, t.Damage
		if t.Kind == layout.KindGPT {
			d.TableGUID = t.GUID.String()
		}
	}
	d.partitions(found, nil, nil)
	return d, nil
}
