package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/spf13/cobra"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/diskimage"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/flash"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool"
)

// diskFormat is the value of --format for a disk image.
const diskFormat = "disk"

// diskName is the name of the image in a folder.
const diskName = "disk.img"

// imageFlags say what a disk image is to be, beside its item and its layout.
type imageFlags struct {
	size     string
	compress string
	secrets  bool
}

func (f *imageFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.size, "size", "", "`SIZE` of a disk image, such as 8G (default: what the system needs)")
	flags.StringVar(&f.compress, "compress", "", "`FORMAT` that a disk image is packed in: zst or qcow2 (default: none, with holes)")
	flags.BoolVar(&f.secrets, "with-secrets", false, "allow secrets in a disk image, which is then not to be shared")
}

// check refuses flags that go with --format disk alone, or have a wrong value.
func (f *imageFlags) check(format string) error {
	if format != diskFormat && (f.size != "" || f.compress != "" || f.secrets) {
		return usage("", "--size, --compress and --with-secrets go with --format disk")
	}
	if !slices.Contains([]string{"", "zst", "qcow2"}, f.compress) {
		return usage("", "--compress %s: expected zst or qcow2", f.compress)
	}
	if _, err := f.bytes(); err != nil {
		return fail(exitUsage, fmt.Errorf("--size: %w", err), "")
	}
	if _, err := (tool.Exec{}).LookPath("qemu-img"); f.compress == "qcow2" && err != nil {
		return fail(exitRefused, fmt.Errorf("--compress qcow2: %w", err), "install the Debian package qemu-utils, or take --compress zst")
	}
	return nil
}

// bytes is the size, 0 when it is left open.
func (f *imageFlags) bytes() (int64, error) {
	if f.size == "" {
		return 0, nil
	}
	return config.ParseSize(f.size)
}

// diskImageOf says which image: an item with its options and secrets, on a
// layout.
type diskImageOf struct {
	name    string // of the item, or its file
	item    itemFlags
	archive archiveFlags
	layout  layoutFlags
	size    int64 // bytes of the disk; 0: what the system needs
	// secrets may be in it: nobody is meant to get the image but the machine.
	secrets bool
}

// diskImage is a raw image of a disk, in a folder that nobody else can read.
// Close removes it.
type diskImage struct {
	Path     string
	Size     int64 // bytes
	Warnings []string
	// Lock is the path of its lock.json; empty: the item has none.
	Lock string
	// Manifest is the path of its description; empty: it has none.
	Manifest string
	overlays []flash.Overlay // secrets that are not in the image
	dir      string
}

// Close removes the image.
func (d *diskImage) Close() error { return os.RemoveAll(d.dir) }

// makeDiskImage builds the disk image of an item into a temporary file. What
// takes long is in the cache afterwards: the root file system, or the RAM system.
func (a *app) makeDiskImage(ctx context.Context, of diskImageOf, sink event.Sink) (*diskImage, error) {
	l, err := of.layout.load(ctx, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	of.item.options = append(slices.Clone(of.item.options), toolsOption(l)...)
	c, secrets, err := of.item.load(a, of.name)
	if err == nil && (c.Is(cardType) || boardOf(c) != nil) && c.String("arch") != "arm64" {
		of.item.options = append([]string{cardArch}, of.item.options...)
		c, err = of.item.config(a, of.name)
	}
	if err != nil {
		return nil, err
	}
	if err := of.check(c, l, secrets); err != nil {
		return nil, err
	}
	env, err := of.archive.buildEnv(sink, origin(c))
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(env.Cache, "image-") // 0700
	if err != nil {
		return nil, err
	}
	d := &diskImage{dir: tmp, Path: filepath.Join(tmp, diskName)}
	switch {
	case c.Is("provision"):
		err = d.installer(ctx, env, c)
	case c.Is(cardType):
		err = d.card(ctx, env, c, secrets)
	default:
		err = d.distro(ctx, env, c, l, secrets, of)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// check refuses what cannot be made, before any slow work.
func (of diskImageOf) check(c *config.Config, l layout.Layout, secrets secret.Set) error {
	item := c.Item().Name
	if names := secrets.Names(); len(names) > 0 && !of.secrets {
		return usage("leave it out, or add --with-secrets and share the image with nobody; vic install takes secrets",
			"-s %s: the image would hold it, and whoever gets the image could read it", strings.Join(names, ","))
	}
	switch {
	case (c.Is("provision") || c.Is(cardType)) && (of.size > 0 || of.layout.file != ""):
		return usage("", "--size and --layout: the disk image of item %s has its own partitions, and the size that it needs", item)
	case c.Is("provision"):
		return nil
	case c.Is(cardType):
		return of.checkCard(c, secrets)
	case !c.Is("linux-distro"):
		return usage("`vic items` shows the types of each item", "item %s is of no type that a disk image can be made of", item)
	}
	if err := checkSettings(installSource{config: c, secrets: secrets}); err != nil {
		return err
	}
	if err := checkBoard(c); err != nil {
		return err
	}
	return fail(exitRefused, diskimage.Check(l), "docs/disk-images.md says what an image can have; nothing was built")
}

// installer is the image for a USB stick: it boots from any disk.
func (d *diskImage) installer(ctx context.Context, env builder.Env, c *config.Config) error {
	spec, err := installerSpec(c)
	if err != nil {
		return err
	}
	bundle, err := builder.CacheInstaller(ctx, env, spec)
	if err != nil {
		return err
	}
	files, err := bundle.WriteUSB(ctx, env, d.dir)
	if err != nil {
		return err
	}
	d.Size, d.Lock = files[0].Size, bundle.Path(builder.LockFile)
	return os.Rename(filepath.Join(d.dir, builder.USBFile), d.Path)
}

// distro is the image of a system that gets installed.
func (d *diskImage) distro(ctx context.Context, env builder.Env, c *config.Config, l layout.Layout, secrets secret.Set, of diskImageOf) (err error) {
	if of.layout.file == "" { // its root has the type of the architecture
		if l, err = imageLayout(c); err != nil {
			return err
		}
	}
	if secrets, err = hashPassword(secrets); err != nil {
		return err
	}
	spec, err := payloadSpec(c, secrets, env.APT)
	if err != nil {
		return err
	}
	spec.Packages = append(spec.Packages, diskimage.Packages(l)...)
	if err := announceBoard(ctx, env, c, spec.Packages); err != nil {
		return err
	}
	tree, err := builder.CacheTree(ctx, env, spec, diskimage.RootFS(l))
	if err != nil {
		return err
	}
	image := diskimage.Config{
		Tree: tree, Item: spec.Item, Layout: l, System: spec.System, Size: of.size, Names: secrets.Names(),
		Secret: func(name string) (string, bool) {
			v, ok := secrets.Get(name)
			if !ok {
				return "", false
			}
			return v.Reveal(), true
		},
	}
	res, err := diskimage.Write(ctx, env, image, d.Path)
	d.Size, d.Warnings, d.Lock = res.Size, res.Warnings, tree.Path(builder.LockFile)
	return err
}

// disk builds a disk image into --out.
func (f *buildFlags) disk(ctx context.Context, a *app, item string, sink event.Sink) error {
	if f.machine != "" {
		return usage("", "--for goes with the formats of items that run in RAM, not with --format disk")
	}
	size, err := f.image.bytes()
	if err != nil {
		return err
	}
	if err := checkOut(f.out); err != nil {
		return err
	}
	d, err := a.makeDiskImage(ctx, diskImageOf{name: item, item: f.item, archive: f.archive, layout: f.layout, size: size, secrets: f.image.secrets}, sink)
	if err != nil {
		return err
	}
	defer d.Close()
	for _, w := range d.Warnings {
		sink.Emit(event.Event{Phase: event.Build, Step: "disk image", State: event.Done, Message: "warning: " + w})
	}
	return f.deliver(ctx, d, sink)
}

// deliver packs the image into --out, and lock.json beside it.
func (f *buildFlags) deliver(ctx context.Context, d *diskImage, sink event.Sink) error {
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(f.out, ".vic-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := d.putOverlays(); err != nil {
		return err
	}
	name, pack := f.image.packer(ctx)
	step := event.Event{Phase: event.Build, Step: name, State: event.Start}
	sink.Emit(step)
	if err := pack(d.Path, filepath.Join(tmp, name)); err != nil {
		return err
	}
	step.State = event.Done
	sink.Emit(step)
	mode := os.FileMode(0o644)
	if f.image.secrets {
		mode = 0o600
	}
	if err := errors.Join(os.Chmod(filepath.Join(tmp, name), mode), copyFile(d.Lock, filepath.Join(tmp, builder.LockFile))); err != nil {
		return err
	}
	files := []string{builder.LockFile, name}
	if d.Manifest != "" && name == diskName && len(d.overlays) == 0 { // it describes these bytes
		if err := copyFile(d.Manifest, filepath.Join(tmp, builder.CardFile)); err != nil {
			return err
		}
		files = append(files, builder.CardFile)
	}
	for _, file := range files {
		if err := os.Rename(filepath.Join(tmp, file), filepath.Join(f.out, file)); err != nil {
			return err
		}
	}
	return nil
}

// packer is the name of the file that people get, and how it is made of the raw
// image.
func (f *imageFlags) packer(ctx context.Context) (name string, pack func(from, to string) error) {
	switch f.compress {
	case "zst":
		return diskName + ".zst", packZstd
	case "qcow2":
		return "disk.qcow2", func(from, to string) error {
			_, err := (tool.Exec{}).Run(ctx, tool.Cmd{Name: "qemu-img", Args: []string{"convert", "-f", "raw", "-O", "qcow2", from, to}})
			return err
		}
	}
	return diskName, moveSparse
}

// moveSparse moves a file; onto another file system it is copied, without its
// holes.
func moveSparse(from, to string) error {
	if os.Rename(from, to) == nil {
		return nil
	}
	return writeNew(to, func(out *os.File) error {
		in, err := os.Open(from)
		if err != nil {
			return err
		}
		defer in.Close()
		return copySparse(out, in)
	})
}

// copySparse leaves out blocks of zeros.
func copySparse(out *os.File, in *os.File) error {
	buf, zero := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := io.ReadFull(in, buf)
		if n > 0 && string(buf[:n]) != string(zero[:n]) {
			if _, err := out.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return out.Truncate(at)
		case err != nil:
			return err
		}
	}
}

func packZstd(from, to string) error {
	return writeNew(to, func(out *os.File) error {
		in, err := os.Open(from)
		if err != nil {
			return err
		}
		defer in.Close()
		zw, err := zstd.NewWriter(out)
		if err != nil {
			return err
		}
		if _, err := zw.ReadFrom(in); err != nil {
			return err
		}
		return zw.Close()
	})
}

func copyFile(from, to string) error {
	return writeNew(to, func(out *os.File) error {
		in, err := os.Open(from)
		if err != nil {
			return err
		}
		defer in.Close()
		_, err = io.Copy(out, in)
		return err
	})
}

func writeNew(path string, write func(*os.File) error) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(write(out), out.Close())
}
