package storage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"syscall"
	"time"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/btrfs"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/luks"
	"github.com/victorinix/vic/disk/lvm"
	"github.com/victorinix/vic/disk/md"
	"github.com/victorinix/vic/disk/resize"
	"github.com/victorinix/vic/disk/udev"
	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/tool"
)

// Mkfs implements Contents.
func (h Host) Mkfs(ctx context.Context, f disk.Filesystem, device string) error {
	return disk.Mkfs(ctx, h.Tools, f, device, time.Time{})
}

// Subvolumes implements Contents.
func (h Host) Subvolumes(ctx context.Context, device string, list []plan.Subvolume, files []plan.SwapFile) error {
	var subvolumes []btrfs.Subvolume
	for _, v := range list {
		subvolumes = append(subvolumes, btrfs.Subvolume(v))
	}
	var swaps []btrfs.SwapFile
	for _, f := range files {
		size, err := layout.ParseSize(f.Size)
		if err != nil {
			return fmt.Errorf("swap file %s: %w", f.Path, err)
		}
		swaps = append(swaps, btrfs.SwapFile{Path: f.Path, Size: size})
	}
	return btrfs.Make(ctx, h.Tools, device, subvolumes, swaps)
}

// HasSubvolumes implements Contents.
func (h Host) HasSubvolumes(ctx context.Context, device string, list []plan.Subvolume, files []plan.SwapFile) (all bool, err error) {
	err = btrfs.WithTop(ctx, h.Tools, device, []string{"ro"}, func(dir string) error {
		all = true
		for _, v := range list {
			st, err := os.Lstat(filepath.Join(dir, path.Clean("/"+v.Path)))
			all = all && err == nil && topOfSubvolume(st)
		}
		for _, f := range files {
			size, err := layout.ParseSize(f.Size)
			if err != nil {
				return err
			}
			all = all && swapFile(filepath.Join(dir, path.Clean("/"+f.Path)), size)
		}
		return nil
	})
	return all, err
}

// topOfSubvolume: its inode is BTRFS_FIRST_FREE_OBJECTID.
func topOfSubvolume(st os.FileInfo) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && st.IsDir() && sys.Ino == 256
}

// swapFile says whether there is a swap file: its signature is written last.
func swapFile(name string, size int64) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	page := int64(os.Getpagesize())
	magic := make([]byte, 10)
	_, err = f.ReadAt(magic, page-10)
	st, statErr := f.Stat()
	return err == nil && statErr == nil && string(magic) == "SWAPSPACE2" && st.Size() == size-size%page
}

// LUKSFormat implements Stacks.
func (h Host) LUKSFormat(ctx context.Context, c luks.Container, uuid string, args []string, keys ...[]byte) error {
	return luks.Format(ctx, h.Tools, c, uuid, args, keys...)
}

// LUKSOpen implements Stacks.
func (h Host) LUKSOpen(ctx context.Context, c luks.Container, name string, key []byte, o luks.Options) error {
	_, err := luks.Open(ctx, h.Tools, c, name, key, o)
	return err
}

// LUKSClose implements Stacks.
func (h Host) LUKSClose(ctx context.Context, name string) error {
	return luks.Close(ctx, h.Tools, name)
}

// LUKSData implements Stacks.
func (h Host) LUKSData(ctx context.Context, c luks.Container) (offset, sector int64, err error) {
	l, err := luks.ReadLayout(ctx, h.Tools, c)
	return l.Offset, l.SectorSize, err
}

// ContentSize implements Contents.
func (Host) ContentSize(typ, device string) (int64, error) { return resize.Size(typ, device) }

// ResizeContent implements Contents.
func (h Host) ResizeContent(ctx context.Context, typ, device string, size int64, resumed bool) (int64, error) {
	return resize.Resize(ctx, h.Tools, typ, device, size, resize.Options{Resumed: resumed})
}

func (h Host) lvm() lvm.LVM { return lvm.LVM{Udev: udev.Running()} }

// lvmRun runs one of LVM's programs, and waits for what udev makes of it.
func (h Host) lvmRun(ctx context.Context, c tool.Cmd) error {
	if _, err := h.Tools.Run(ctx, c); err != nil {
		return err
	}
	return udev.Settle(ctx, h.Tools)
}

// CreateVG implements Stacks.
func (h Host) CreateVG(ctx context.Context, vg string, pvs []string) error {
	if err := h.lvmRun(ctx, h.lvm().CreatePVs(pvs...)); err != nil {
		return err
	}
	return h.lvmRun(ctx, h.lvm().CreateVG(vg, pvs...))
}

// HasLV implements Stacks.
func (h Host) HasLV(ctx context.Context, vg, lv string) (bool, error) {
	_, found, err := h.lvm().FindLV(ctx, h.Tools, vg, lv)
	return found, err
}

// CreateLV implements Stacks.
func (h Host) CreateLV(ctx context.Context, a plan.CreateLV) error {
	c, err := h.lvm().CreateLV(lvm.Volume{VG: a.VG, Name: a.LV, Size: a.Size, Type: a.Type, Pool: a.Pool, Args: a.Args})
	if err != nil {
		return err
	}
	there, err := h.HasLV(ctx, a.VG, a.LV)
	if err != nil {
		return err
	}
	if there {
		if err := h.lvmRun(ctx, h.lvm().Command("lvremove", "--yes", a.VG+"/"+a.LV)); err != nil {
			return err
		}
	}
	return h.lvmRun(ctx, c)
}

// ActivateVG implements Stacks.
func (h Host) ActivateVG(ctx context.Context, vg string) error {
	return h.lvmRun(ctx, h.lvm().Activate(vg))
}

// ShrinkPV implements Stacks.
func (h Host) ShrinkPV(ctx context.Context, f lvm.Fit) error { return h.lvm().Shrink(ctx, h.Tools, f) }

// GrowPV implements Stacks.
func (h Host) GrowPV(ctx context.Context, f lvm.Fit) error { return h.lvm().Grow(ctx, h.Tools, f) }

// DeactivateVG implements Stacks.
func (h Host) DeactivateVG(ctx context.Context, vg string) error {
	if _, err := h.LookPath("vgs"); err != nil {
		return nil // nobody can have activated it
	}
	_, there, err := h.lvm().FindVG(ctx, h.Tools, vg)
	if err != nil || !there {
		return err
	}
	return h.lvmRun(ctx, h.lvm().Deactivate(vg))
}

// CreateArray implements Stacks.
func (h Host) CreateArray(ctx context.Context, a plan.CreateArray, members []string) error {
	_, err := md.Create(ctx, h.Tools, md.Array{Name: a.Array, Level: a.Level, Metadata: a.Metadata, UUID: a.UUID, Members: members, Args: a.Args})
	return err
}

// AssembleArray implements Stacks.
func (h Host) AssembleArray(ctx context.Context, name, uuid string, members []string) (missing int, err error) {
	node, err := md.Assemble(ctx, h.Tools, name, uuid, members)
	if err != nil {
		return 0, err
	}
	return md.Missing(system, system.KernelName(node))
}

// StopArray implements Stacks.
func (h Host) StopArray(ctx context.Context, name, uuid string) error {
	node, err := h.array(name, uuid)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return md.Stop(ctx, h.Tools, node)
}
