package diskimage

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/image/fat"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/plan/storage"
)

// fill makes a file system in its partition, with its files.
func (b *build) fill(ctx context.Context, a storage.Mkfs) error {
	e := b.partition(a.Device)
	part := area{int64(e.FirstLBA) * 512, e.Size(512)}
	dir, _ := b.mountpoint(a.Device)
	switch a.Format {
	case "swap":
		return b.swap(a, part)
	case "vfat":
		return b.vfat(a, part, dir, b.filesOn(a.Device))
	}
	return b.ext(ctx, a, part, dir, b.filesOn(a.Device))
}

// area is a part of the image, in bytes.
type area struct{ start, size int64 }

func (b *build) partition(d storage.Device) layout.Entry {
	for _, e := range b.plan.Storage.Disks[0].After.Entries {
		if e.Number == d.Partition {
			return e
		}
	}
	return layout.Entry{}
}

// mountpoint is where a device is mounted, as a name in the tree.
func (b *build) mountpoint(d storage.Device) (dir string, ok bool) {
	for _, f := range b.plan.Storage.Filesystems {
		if f.Device == d {
			return clean(f.Mountpoint), true
		}
	}
	return "", false
}

// filesOn are the names of the tree that are on a device: those below its mount
// point and on no other file system. The folder that another is mounted on is on
// both.
func (b *build) filesOn(d storage.Device) []string {
	dir, ok := b.mountpoint(d)
	if !ok {
		return nil
	}
	var names []string
	for _, name := range b.tree.below(dir) {
		if b.deviceOf(name) == d || name == dir {
			names = append(names, name)
		}
	}
	return names
}

// deviceOf is what a name is on; a mount point counts to what it is mounted on.
func (b *build) deviceOf(name string) storage.Device {
	best, length := storage.Device{}, -1
	for _, f := range b.plan.Storage.Filesystems {
		at := clean(f.Mountpoint)
		inside := at == "" || strings.HasPrefix(name, at+"/")
		if f.Device != (storage.Device{}) && inside && len(at) > length {
			best, length = f.Device, len(at)
		}
	}
	return best
}

// mountpoints makes the folders that something is mounted on.
func (b *build) mountpoints() error {
	for _, f := range b.plan.Storage.Filesystems {
		if err := b.tree.mkdir(f.Mountpoint, owner{mode: 0o755}); err != nil {
			return err
		}
	}
	return nil
}

// ext has mke2fs make and fill a file system, in the image, from a tar that it
// is fed.
func (b *build) ext(ctx context.Context, a storage.Mkfs, part area, dir string, names []string) error {
	// It takes libarchive for tars when it is there (dlopen(3)).
	tools, err := b.programs(ctx, "", "e2fsprogs", "libarchive13t64")
	if err != nil {
		return err
	}
	fs := disk.Filesystem{Format: a.Format, UUID: a.UUID, Label: a.Label, Args: append([]string{"-E", "offset=" + strconv.FormatInt(part.start, 10)}, a.Args...)}
	if len(names) > 0 {
		fs.Args = append(fs.Args, "-d", "-")
	}
	c, err := disk.MkfsCommand(fs, b.path, b.time)
	if err != nil {
		return err
	}
	c.Args = append(c.Args, strconv.FormatInt(part.size/4096, 10)) // of the blocks that MkfsCommand sets
	c.Env = append(c.Env, "MKE2FS_CONFIG="+tools.Path("etc/mke2fs.conf"))
	in, out := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := b.tree.writeTar(out, dir, names)
		out.CloseWithError(err)
		written <- err
	}()
	c.Stdin = in
	_, err = tools.Run(ctx, c)
	in.CloseWithError(errors.New("mke2fs has ended"))
	return errors.Join(err, unlessPiped(<-written, err))
}

// unlessPiped leaves out that a program does not read on which has ended.
func unlessPiped(write, run error) error {
	if run != nil {
		return nil
	}
	return write
}

// vfat writes a FAT32 with everything that is a file.
func (b *build) vfat(a storage.Mkfs, part area, dir string, names []string) error {
	if len(a.Args) > 0 && strings.Join(a.Args, "") != "-F32" {
		return fmt.Errorf("arguments %q for mkfs.vfat: an image has a plain FAT32", a.Args)
	}
	id, err := strconv.ParseUint(strings.ReplaceAll(a.UUID, "-", ""), 16, 32)
	if err != nil {
		return fmt.Errorf("volume id %q: %w", a.UUID, err)
	}
	c := fat.Config{Size: part.size, Label: a.Label, VolumeID: uint32(id), Time: b.time, Hidden: uint32(part.start / 512)}
	for _, name := range names {
		e := b.tree.entries[name]
		switch e.Typeflag {
		case tar.TypeDir:
		case tar.TypeReg, tar.TypeLink:
			c.Files = append(c.Files, fat.File{Path: strings.TrimPrefix(relative(dir, name), "./"), Source: b.tree.open(e)})
		default:
			return fmt.Errorf("/%s: a FAT can have files and folders only", name)
		}
	}
	v, err := fat.New(c)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(b.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(v.WriteAt(f, part.start), f.Close())
}

// swap writes the header of a swap area, version 1 (mkswap(8)), for pages of
// 4 KiB: include/linux/swap.h, union swap_header.
//
//	0x400  u32 version 1, last page, bad pages; UUID [16]; label [16]
//	0xff6  "SWAPSPACE2"
func (b *build) swap(a storage.Mkfs, part area) error {
	const page = 4096
	if len(a.Args) > 0 {
		return fmt.Errorf("arguments %q for mkswap: an image has none", a.Args)
	}
	id, err := uuid.Parse(a.UUID)
	if err != nil {
		return fmt.Errorf("UUID %q: %w", a.UUID, err)
	}
	if len(a.Label) > 16 {
		return fmt.Errorf("label %q: it has more than 16 bytes", a.Label)
	}
	if part.size < 10*page {
		return fmt.Errorf("%d bytes are too few for swap", part.size)
	}
	var head bytes.Buffer
	binary.Write(&head, binary.LittleEndian, []uint32{1, uint32(part.size/page - 1), 0})
	head.Write(id[:])
	head.WriteString(a.Label)
	f, err := os.OpenFile(b.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	_, errHead := f.WriteAt(head.Bytes(), part.start+1024)
	_, errEnd := f.WriteAt([]byte("SWAPSPACE2"), part.start+page-10)
	return errors.Join(errHead, errEnd, f.Close())
}
