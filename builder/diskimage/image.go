// Package diskimage makes raw disk images that boot, on UEFI and on BIOS, of
// systems that vic install would install: without root, loop devices or a
// virtual machine, and with the same bytes every time.
//
//	builder.Tree ──unpack──> index of a tar
//	plan.NewImage ──steps──> what is changed in it: files, users, boot loaders
//	               └─disk──> table; each file system filled from its part of the tree
//
// It executes the same steps as internal/agent/install, but on an index of files
// in place of a mounted disk: nothing of the target is run. File systems are
// made by the mkfs of Debian's archive, which reads a tar (mke2fs -d), by disk's
// own FAT writer, and of swap only the header is written. What a layout has
// beyond that is refused by Check.
package diskimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/tool"
)

// Config is one image.
type Config struct {
	Tree   *builder.Tree
	Item   string
	Layout layout.Layout
	System request.System
	// Size of the disk in bytes; 0: the least that has room for the system.
	Size int64
	// Secret reveals a secret. Names are all that there are: an image made with
	// one is not to be shared.
	Secret func(name string) (string, bool)
	Names  []string
}

// Result is what was made.
type Result struct {
	Size     int64    `json:"size"` // bytes of the disk
	Warnings []string `json:"warnings,omitempty"`
}

// mib is what the size of an image is a multiple of.
const mib = 1 << 20

// Plan computes how the image is made. Its Storage.Disks[0].Disk.Size is the
// size of the image.
func (c Config) Plan() (plan.Plan, error) {
	if err := Check(c.Layout); err != nil {
		return plan.Plan{}, err
	}
	if c.Size > 0 {
		return c.plan(c.Size / mib * mib)
	}
	return c.smallest()
}

func (c Config) plan(size int64) (plan.Plan, error) {
	t := c.Tree
	return plan.NewImage(request.Request{
		Version: request.Version, Item: c.Item, Layout: c.Layout, System: c.System,
		Payload: request.Payload{SHA256: t.SHA256(), TreeSize: t.TreeSize, Arch: t.Arch, Kernel: t.Kernel, RootFS: t.RootFS, Udev: t.Udev},
	}, size, c.Names)
}

// most is the size of a disk on which everything has room, and that an MBR can
// describe.
const most = 1<<41 - 64*mib

// smallest is the plan for the smallest disk, in steps of 64 MiB.
func (c Config) smallest() (plan.Plan, error) {
	const step = 64 * mib
	best, err := c.plan(most)
	if err != nil {
		return best, err // not for lack of room
	}
	low, high := int64(0), int64(most/step) // low does not fit
	for high-low > 1 {
		at := (low + high) / 2
		if p, err := c.plan(at * step); err == nil {
			best, high = p, at
		} else {
			low = at
		}
	}
	return best, nil
}

// Write makes the image: path must not exist, or is replaced. Nothing is left
// there after an error.
func Write(ctx context.Context, env builder.Env, c Config, path string) (res Result, err error) {
	p, err := c.Plan()
	if err != nil {
		return res, &builder.RefusedError{Err: err}
	}
	tmp, err := os.MkdirTemp(env.Cache, "disk-")
	if err != nil {
		return res, err
	}
	defer os.RemoveAll(tmp)
	b := build{env: env, config: c, plan: p, tmp: tmp, path: path, time: env.Time}
	b.programs = func(ctx context.Context, suite string, packages ...string) (programs, error) {
		return builder.Programs(ctx, env, suite, packages...)
	}
	defer b.close()
	if err := b.run(ctx); err != nil {
		return res, fmt.Errorf("make disk image of %s: %w", c.Item, errors.Join(err, remove(path)))
	}
	return Result{Size: p.Storage.Disks[0].Disk.Size, Warnings: p.Warnings}, nil
}

func remove(path string) error {
	if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// programs are those of unpacked packages: *deb.Tools.
type programs interface {
	tool.Runner
	Path(name string) string // of a file of the packages
}

// build is one image that is being made.
type build struct {
	env    builder.Env
	config Config
	plan   plan.Plan
	tmp    string // private
	path   string // of the image
	time   time.Time
	// programs finds those of packages of a suite; see builder.Programs.
	programs func(ctx context.Context, suite string, packages ...string) (programs, error)

	tree *tree
	esp  string // its mount point; empty: there is none
	mbr  []byte // GRUB's boot code, and its core image
	core []byte
}

func (b *build) close() {
	if b.tree != nil {
		b.tree.file.Close()
	}
}

func (b *build) run(ctx context.Context) error {
	for _, s := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"unpack the root file system", b.unpack},
		{"configure", b.configure},
		{"file systems", b.format},
		{"partition table", b.table},
	} {
		b.env.Sink.Emit(event.Event{Phase: event.Build, Step: s.name, State: event.Start})
		if err := s.run(ctx); err != nil {
			return err
		}
		b.env.Sink.Emit(event.Event{Phase: event.Build, Step: s.name, State: event.Done})
	}
	return nil
}

// unpack writes the tar into a file, whose parts are the contents of files.
func (b *build) unpack(context.Context) error {
	f, err := os.OpenFile(filepath.Join(b.tmp, "tree.tar"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	b.tree = newTree(f, b.time)
	if err := b.config.Tree.Unpack(f); err != nil {
		return err
	}
	return b.tree.index()
}

// configure executes the steps that change files.
func (b *build) configure(ctx context.Context) error {
	for _, s := range b.plan.Steps {
		if s.Phase != event.Inject && s.Phase != event.Boot {
			continue
		}
		if err := b.do(ctx, s.Action); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return b.mountpoints()
}

// format makes the file, and what is in its partitions.
func (b *build) format(ctx context.Context) error {
	size := b.plan.Storage.Disks[0].Disk.Size
	// It may be of a system with secrets: who may read it is for the caller.
	f, err := os.OpenFile(b.path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return err
	}
	for _, s := range b.plan.Steps {
		a, ok := s.Action.(storage.Mkfs)
		if !ok {
			continue
		}
		if err := b.fill(ctx, a); err != nil {
			return fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return nil
}

// table writes the partition table last: without it the image is no disk.
func (b *build) table(ctx context.Context) error {
	d, err := disk.OpenImage(b.path, os.O_RDWR, 512)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, s := range b.plan.Steps {
		if a, ok := s.Action.(storage.WriteTable); ok {
			if err := disk.WriteTable(ctx, d, a.Table, !a.EFIFirst); err != nil {
				return err
			}
		}
	}
	if b.mbr != nil {
		if _, err := d.WriteAt(b.mbr, 0); err != nil {
			return fmt.Errorf("write GRUB: %w", err)
		}
		start := b.biosBoot().FirstLBA
		if _, err := d.WriteAt(b.core, int64(start)*512); err != nil {
			return fmt.Errorf("write GRUB: %w", err)
		}
	}
	return d.Sync()
}

// biosBoot is the partition for GRUB's core image.
func (b *build) biosBoot() layout.Entry {
	list := b.plan.Storage.Disks[0].After.Entries
	return list[slices.IndexFunc(list, func(e layout.Entry) bool { return e.Type == layout.TypeBIOSBoot })]
}
