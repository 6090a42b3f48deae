package builder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/disk/image"
	"github.com/victorinix/vic/efi"
)

// The files of the other formats of a bundle.
const (
	InitrdFile = "initrd"
	ScriptFile = "boot.ipxe"
	UKIFile    = "vic.efi"
	USBFile    = "vic-usb.img"
)

// consoles has the RAM system talk on the serial line and on the screen; the
// last one is /dev/console. Where the user cannot change the command line,
// both have to be there.
func consoles(arch string) string {
	if arch == "arm64" {
		return "console=ttyAMA0 console=tty0"
	}
	return "console=ttyS0,115200 console=tty0"
}

// WriteNetboot writes kernel, one initrd and an iPXE script into dir.
func (b *Bundle) WriteNetboot(dir string) (files []File, err error) {
	err = staged(dir, func(out output) error {
		if err := out.copyFile(KernelFile, b.Path(KernelFile)); err != nil {
			return err
		}
		if err := out.write(InitrdFile, func(f *os.File) error { return b.Initrd(f) }); err != nil {
			return err
		}
		if err := out.write(ScriptFile, func(f *os.File) error { return writeString(f, b.netbootScript()) }); err != nil {
			return err
		}
		files, err = out.describe(KernelFile, InitrdFile, ScriptFile)
		return err
	})
	return files, err
}

func writeString(w io.Writer, s string) error {
	_, err := io.WriteString(w, s)
	return err
}

// netbootScript is for iPXE. initrd= is for the EFI stub of the kernel:
// https://ipxe.org/cmd/initrd.
func (b *Bundle) netbootScript() string {
	return fmt.Sprintf("#!ipxe\nkernel %s initrd=%s %s %s\ninitrd %s\nboot\n",
		KernelFile, InitrdFile, b.Cmdline, consoles(b.Arch), InitrdFile)
}

// describe hashes finished files.
func (o output) describe(names ...string) ([]File, error) {
	var files []File
	for _, name := range names {
		f, err := o.file(name, nil)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// stubName is systemd's EFI stub for an architecture, as in systemd-boot-efi.
func stubName(arch string) string {
	return "usr/lib/systemd/boot/efi/linux" + efiArch(arch) + ".efi.stub"
}

// efiArch is the architecture's name in UEFI file names (UEFI 2.10 §3.5.1.1,
// in lower case as systemd writes it).
func efiArch(arch string) string {
	if arch == "arm64" {
		return "aa64"
	}
	return "x64"
}

// WriteUKI writes the bundle as one EFI executable into dir.
func (b *Bundle) WriteUKI(ctx context.Context, env Env, dir string) (files []File, err error) {
	err = staged(dir, func(out output) error {
		if err := b.writeUKI(ctx, env, out); err != nil {
			return err
		}
		files, err = out.describe(UKIFile)
		return err
	})
	return files, err
}

func (b *Bundle) writeUKI(ctx context.Context, env Env, out output) error {
	stub, err := efiStub(ctx, env, b.Arch)
	if err != nil {
		return err
	}
	return b.writeUKIWith(out, stub, b.Cmdline+" "+consoles(b.Arch), nil)
}

// efiStub is systemd's.
func efiStub(ctx context.Context, env Env, arch string) ([]byte, error) {
	tree, err := targetFiles(ctx, env, arch, "systemd-boot-efi")
	if err != nil {
		return nil, err
	}
	return contentOf(tree, stubName(arch))
}

// writeUKIWith has another command line, and more behind the initrd.
func (b *Bundle) writeUKIWith(out output, stub []byte, cmdline string, more []byte) error {
	var open opener
	defer open.close()
	var segment bytes.Buffer
	if err := b.Segments(&segment); err != nil {
		return err
	}
	segment.Write(more)
	uki := efi.UKI{
		Stub:      bytes.NewReader(stub),
		Kernel:    open.file(b.Path(KernelFile)),
		Initrd:    []efi.Source{open.file(b.Path(InitramfsFile)), bytes.NewReader(segment.Bytes())},
		Cmdline:   cmdline,
		OSRelease: osRelease,
		Uname:     b.Kernel,
	}
	if open.err != nil {
		return open.err
	}
	return out.write(UKIFile, func(f *os.File) error { return efi.WriteUKI(f, uki) })
}

// osRelease has systemd-boot list the image (os-release(5)).
const osRelease = "ID=vic\nNAME=vic\nPRETTY_NAME=\"vic installer\"\n"

// opener opens several files for reading and keeps the first error.
type opener struct {
	files []*os.File
	err   error
}

func (o *opener) file(path string) *io.SectionReader {
	f, err := os.Open(path)
	if err != nil {
		o.err = errors.Join(o.err, err)
		return nil
	}
	o.files = append(o.files, f)
	st, err := f.Stat()
	if err != nil {
		o.err = errors.Join(o.err, err)
		return nil
	}
	return io.NewSectionReader(f, 0, st.Size())
}

func (o *opener) close() {
	for _, f := range o.files {
		f.Close()
	}
}

// WriteUSB writes an image for a USB stick into dir: it boots on UEFI, and on
// amd64 on BIOS too.
func (b *Bundle) WriteUSB(ctx context.Context, env Env, dir string) (files []File, err error) {
	err = staged(dir, func(out output) error {
		tmp, err := os.MkdirTemp(env.Cache, "usb-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		if err := b.writeUSB(ctx, env, tmp, out); err != nil {
			return err
		}
		files, err = out.describe(USBFile)
		return err
	})
	return files, err
}

// writeUSB keeps the UKI and GRUB in tmp while it needs them.
func (b *Bundle) writeUSB(ctx context.Context, env Env, tmp string, out output) error {
	if err := b.writeUKI(ctx, env, output{tmp}); err != nil {
		return err
	}
	var open opener
	defer open.close()
	uki := open.file(filepath.Join(tmp, UKIFile))
	if open.err != nil {
		return open.err
	}
	boot := "EFI/BOOT/BOOT" + strings.ToUpper(efiArch(b.Arch)) + ".EFI"
	usb := image.USB{Time: env.Time, Label: "VIC", Files: []image.File{{Path: boot, Source: uki}}}
	if b.Arch == "amd64" {
		var err error
		if usb.BIOS, err = b.grub(ctx, env, filepath.Join(tmp, "grub"), boot, uki); err != nil {
			return err
		}
	}
	return out.write(USBFile, func(f *os.File) error {
		_, err := image.WriteUSB(f, usb)
		return err
	})
}

// grub starts the kernel and the initrd out of the UKI at path, so that the
// stick has them once. dir is a folder to unpack GRUB into.
func (b *Bundle) grub(ctx context.Context, env Env, dir, path string, uki efi.Source) (*image.BIOS, error) {
	tools, err := hostTools(ctx, env, "grub-common")
	if err != nil {
		return nil, err
	}
	modules, err := targetFiles(ctx, env, b.Arch, "grub-pc-bin")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(dir, grubFiles(modules)); err != nil {
		return nil, fmt.Errorf("unpack GRUB: %w", err)
	}
	boot, err := os.ReadFile(filepath.Join(dir, "boot.img"))
	if err != nil {
		return nil, err
	}
	core, err := image.BuildCore(ctx, tools, image.Core{Dir: dir, Prefix: image.USBPrefix, Modules: image.USBModules()})
	if err != nil {
		return nil, err
	}
	img, err := efi.ReadUKI(uki)
	if err != nil {
		return nil, err
	}
	return &image.BIOS{Boot: boot, Core: core, Config: func(blocks image.Blocklist) (string, error) {
		return b.grubConfig(path, img, blocks)
	}}, nil
}

// grubFiles is GRUB's folder of modules for BIOS.
func grubFiles(tree *deb.Tree) fs.FS {
	sub, err := fs.Sub(tree.FS(), "usr/lib/grub/i386-pc")
	if err != nil {
		panic(err) // the name is a constant, and valid
	}
	return sub
}

func (b *Bundle) grubConfig(path string, img *efi.Image, blocks image.Blocklist) (string, error) {
	where := func(name string) (string, error) {
		s := img.Section(name)
		if s == nil {
			return "", fmt.Errorf("UKI has no section %s", name)
		}
		return blocks(path, s.Offset, int64(s.VirtualSize))
	}
	linux, err := where(".linux")
	if err != nil {
		return "", err
	}
	initrd, err := where(".initrd")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`set timeout=2
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
menuentry "vic installer" {
	linux %s %s %s
	initrd %s
}
`, linux, b.Cmdline, consoles(b.Arch), initrd), nil
}

// targetFiles unpacks one package, without what it depends on, for the
// architecture of the artefact: files that are not run here.
func targetFiles(ctx context.Context, env Env, arch, name string) (*deb.Tree, error) {
	a, err := env.Tools(ctx, toolSuite, arch)
	if err != nil {
		return nil, err
	}
	packages, err := a.Resolve(ctx, deb.Request{Packages: []string{name}})
	if err != nil {
		return nil, err
	}
	packages = slices.DeleteFunc(packages, func(p deb.Package) bool { return p.Name != name })
	paths, err := a.Fetch(ctx, packages)
	if err != nil {
		return nil, err
	}
	tree := deb.NewTree()
	return tree, tree.AddDebs(ctx, paths, packages, nil)
}

// contentOf is the content of a file of a tree.
func contentOf(tree *deb.Tree, name string) ([]byte, error) {
	_, e, err := tree.Resolve(name)
	if err != nil {
		return nil, err
	}
	return e.Data, nil
}
