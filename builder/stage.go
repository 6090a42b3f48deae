package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk/image"
	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/internal/tool"
)

// StageBoot is what makes a bundle the RAM system of one attempt to reinstall a
// machine (package stage).
type StageBoot struct {
	// Cmdline is added to the bundle's: the consoles of the machine. Empty: those of
	// the architecture.
	Cmdline string
	// Segment follows the initrd: the documents of the attempt.
	Segment []byte
	// Stub is systemd's EFI stub, and GRUB the folder of GRUB's modules for BIOS, of
	// the running system, whose grub-mkimage is run then. Empty: they come from the
	// archive.
	Stub, GRUB string
}

func (s StageBoot) cmdline(b *Bundle) string {
	words := s.Cmdline
	if !strings.Contains(words, "console=") {
		words = strings.TrimSpace(consoles(b.Arch) + " " + words)
	}
	return b.Cmdline + " " + words
}

// StageCmdline is the kernel's command line in an attempt.
func (b *Bundle) StageCmdline(s StageBoot) string { return s.cmdline(b) }

// StageSegment is a segment with documents that root alone may read, by their
// absolute paths in the RAM system.
func StageSegment(w io.Writer, documents map[string][]byte) error {
	var files []initramfs.File
	for _, path := range slices.Sorted(maps.Keys(documents)) {
		files = append(files, initramfs.Regular(strings.TrimPrefix(path, "/"), 0o600, documents[path]))
	}
	if err := initramfs.WriteSegment(w, files, DefaultTime); err != nil {
		return fmt.Errorf("write segment of the stage: %w", err)
	}
	return nil
}

// StageInitrd writes the whole initrd of an attempt.
func (b *Bundle) StageInitrd(w io.Writer, s StageBoot) error {
	if err := b.Initrd(w); err != nil {
		return err
	}
	if _, err := w.Write(s.Segment); err != nil {
		return fmt.Errorf("write initrd: %w", err)
	}
	return nil
}

// StageUKI writes the RAM system of an attempt as one EFI executable.
func (b *Bundle) StageUKI(ctx context.Context, env Env, s StageBoot, path string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".vic-uki-")
	if err != nil {
		return err
	}
	var stub []byte
	if s.Stub != "" {
		stub, err = os.ReadFile(s.Stub)
	} else {
		stub, err = efiStub(ctx, env, b.Arch)
	}
	if err == nil {
		err = b.writeUKIWith(output{tmp}, stub, s.cmdline(b), s.Segment)
	}
	if err == nil {
		err = os.Rename(filepath.Join(tmp, UKIFile), path)
	}
	return errors.Join(err, os.RemoveAll(tmp))
}

// Range is a part of a disk, in bytes.
type Range struct{ Offset, Size int64 }

// StageCore makes GRUB for the stage of a machine that boots by BIOS: boot are the
// first bytes of the disk, which load core from its range. Core finds the stage by
// its place on the disk that the BIOS booted from, not by a partition table: that may
// be half-written at a power cut.
func (b *Bundle) StageCore(ctx context.Context, env Env, s StageBoot, stage, core Range, kernel, initrd string) (boot, img []byte, err error) {
	dir, err := os.MkdirTemp(env.Cache, "grub-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	tools, modules, err := s.grubTools(ctx, env, b.Arch, filepath.Join(dir, "grub"))
	if err != nil {
		return nil, nil, err
	}
	raw, err := os.ReadFile(filepath.Join(modules, "boot.img"))
	if err != nil {
		return nil, nil, err
	}
	img, err = image.BuildCore(ctx, tools, image.Core{
		Dir: modules, Prefix: "/" + stageGRUBFolder, Config: s.grubConfig(b, stage, kernel, initrd),
		Modules: []string{"biosdisk", "loopback", "fat", "linux", "echo", "sleep", "reboot"},
	})
	if err != nil {
		return nil, nil, err
	}
	head, img, err := image.EmbedGRUB(raw, img, core.Offset/512, core.Size/512)
	return head[:], img, err
}

// grubTools are GRUB's programs and its modules, unpacked into dir unless they are
// there.
func (s StageBoot) grubTools(ctx context.Context, env Env, arch, dir string) (tool.Runner, string, error) {
	if s.GRUB != "" {
		return tool.Exec{}, s.GRUB, nil
	}
	tools, err := hostTools(ctx, env, "grub-common")
	if err != nil {
		return nil, "", err
	}
	modules, err := targetFiles(ctx, env, arch, "grub-pc-bin")
	if err != nil {
		return nil, "", err
	}
	if err := os.CopyFS(dir, grubFiles(modules)); err != nil {
		return nil, "", fmt.Errorf("unpack GRUB: %w", err)
	}
	return tools, dir, nil
}

// stageGRUBFolder is the prefix of the core image: without a device, so that $root
// is the whole disk that the BIOS booted from. Nothing is read from it.
const stageGRUBFolder = "vic"

// grubConfig starts the RAM system, and the machine again where that fails: the disk
// may answer the next time. It is for GRUB's rescue parser, which knows no
// conditions, and goes on after an error: without a kernel, boot fails.
func (s StageBoot) grubConfig(b *Bundle, stage Range, kernel, initrd string) string {
	return fmt.Sprintf(`loopback vic %d+%d
linux (vic)/%s %s
initrd (vic)/%s
boot
echo the installer on this disk cannot be read: trying again in a minute
sleep 60
reboot
`, stage.Offset/512, stage.Size/512, kernel, s.cmdline(b), initrd)
}
