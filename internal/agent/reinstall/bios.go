package reinstall

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/image"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/agent/within"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/direct"
	"github.com/victorinix/vic/internal/stage/volume"
	"github.com/victorinix/vic/internal/tool"
)

// bootCodeSize is how much of the first sector is code; the rest is the disk's
// signature and the partition table.
const bootCodeSize = 440

// bios boots by the code in the disk's first sector, which knows by sector where
// GRUB's core image is.
type bios struct {
	inner      tool.Runner
	boot, core []byte // of the new system, as GRUB has made them
}

// tools keep grub-install from the boot sector: it writes that and the core image
// in one go and in any order.
func (b *bios) tools(disk plan.Disk) tool.Runner { return noBootSector{b.inner, disk.Device} }

type noBootSector struct {
	tool.Runner
	device string
}

// Run implements tool.Runner.
func (n noBootSector) Run(ctx context.Context, c tool.Cmd) (tool.Output, error) {
	if c.Name == "grub-install" && slices.Contains(c.Args, n.device) {
		c.Args = append([]string{"--no-bootsector"}, c.Args...)
	}
	return n.Runner.Run(ctx, c)
}

// prepare writes GRUB's core image for the stage to its place, which belongs to
// nobody else.
func (b *bios) prepare(_ context.Context, r *run) error {
	if err := r.placed(*r.Document.Core, stage.BootLabel); err != nil {
		return err
	}
	if _, err := r.bootCode(r.Document.OldBootCode); err != nil {
		return err
	}
	v, err := volume.Open(r.dev)
	if err != nil {
		return err
	}
	core, err := v.ReadFile(stage.InVolume(stage.CoreImage))
	if err != nil {
		return err
	}
	return put(r.disk.Device, r.Document.Core.Offset, r.Document.Core.Size, core)
}

// put writes bytes to the beginning of a range, and reads them back from the
// disk.
func put(device string, offset, size int64, b []byte) (err error) {
	if int64(len(b)) > size {
		return fmt.Errorf("write %d bytes to %s: there is room for %d", len(b), device, size)
	}
	d, err := direct.Open(device, os.O_RDWR|unix.O_DSYNC, offset, size)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	if _, err := d.WriteAt(b, 0); err != nil {
		return err
	}
	got := make([]byte, len(b))
	if _, err := d.ReadAt(got, 0); err != nil {
		return err
	}
	if !bytes.Equal(got, b) {
		return fmt.Errorf("write %s: it does not hold at byte %d what was written", device, offset)
	}
	return nil
}

// bootCode reads the disk's first sector, and refuses one whose code is neither
// the stage's nor one of those that are given.
func (r *run) bootCode(known ...[]byte) (sector []byte, err error) {
	d, err := direct.Open(r.disk.Device, os.O_RDONLY, 0, 512)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	sector = make([]byte, 512)
	if _, err := d.ReadAt(sector, 0); err != nil {
		return nil, err
	}
	known = append(known, r.Document.BootCode)
	if !slices.ContainsFunc(known, func(k []byte) bool { return bytes.Equal(k, sector[:bootCodeSize]) }) {
		return nil, fmt.Errorf("the boot code of %s is not what it was when the stage was made", r.disk.Device)
	}
	return sector, nil
}

// setBootCode writes the first sector with other code: one write.
func (r *run) setBootCode(code []byte, known ...[]byte) error {
	sector, err := r.bootCode(append(known, code)...)
	if err != nil {
		return err
	}
	copy(sector[:bootCodeSize], code)
	return put(r.disk.Device, 0, 512, sector)
}

// commit: the code finds the stage by its place on the disk, whatever the table has.
func (b *bios) commit(_ context.Context, r *run, _ prepared) error {
	return r.setBootCode(r.Document.BootCode, r.Document.OldBootCode)
}

// grubDir is where GRUB keeps its images in the new system.
const grubDir = "/boot/grub/i386-pc"

func (b *bios) collect(root string) error {
	var err1, err2 error
	b.boot, err1 = readWithin(root, filepath.Join(grubDir, "boot.img"))
	b.core, err2 = readWithin(root, filepath.Join(grubDir, "core.img"))
	return errors.Join(err1, err2)
}

func readWithin(root, name string) ([]byte, error) {
	path, err := within.Root(root).Plain(name)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// complete writes the new system's core image to its partition, and returns the
// boot code that loads it.
func (b *bios) complete(_ context.Context, r *run, p prepared) ([]byte, error) {
	e, unit, err := biosBoot(r, p)
	if err != nil {
		return nil, err
	}
	boot, core, err := image.EmbedGRUB(b.boot, b.core, int64(e.FirstLBA), int64(e.LastLBA-e.FirstLBA+1))
	if err != nil {
		return nil, err
	}
	if err := put(r.disk.Device, int64(e.FirstLBA)*unit, e.Size(int(unit)), core); err != nil {
		return nil, err
	}
	return boot[:], nil
}

// biosBoot finds the partition for GRUB's core image of the new system.
func biosBoot(r *run, p prepared) (layout.Entry, int64, error) {
	for _, d := range p.plan.Storage.Disks {
		if d.Disk.Device != r.disk.Device || d.After == nil {
			continue
		}
		for _, e := range d.After.Entries {
			if e.Type == layout.TypeBIOSBoot && !e.Kept {
				return e, int64(d.After.SectorSize), nil
			}
		}
	}
	return layout.Entry{}, 0, fmt.Errorf("%s has no BIOS boot partition of the new system", r.disk.Device)
}

func (b *bios) switchOver(_ context.Context, r *run, _ prepared, code []byte) error {
	if len(code) != bootCodeSize {
		return fmt.Errorf("the journal has boot code of %d bytes", len(code))
	}
	return r.setBootCode(code)
}

func (*bios) hold() (bool, error) { return false, nil }

func (*bios) release() error { return nil }
