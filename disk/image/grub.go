package image

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/victorinix/vic/internal/tool"
)

// Where GRUB keeps what an installer patches, from its headers
// include/grub/i386/pc/boot.h and include/grub/offsets.h:
//
//	boot.img, LBA 0
//	0x05c  u64  GRUB_BOOT_MACHINE_KERNEL_SECTOR  LBA of the core image
//	0x064  u8   GRUB_BOOT_MACHINE_BOOT_DRIVE     0xff: the drive that the BIOS named
//	0x066  u16  GRUB_BOOT_MACHINE_DRIVE_CHECK    jump over, or do, a check of that
//	0x1b8       disk signature and partition table: not GRUB's
//
//	core image, its first sector (diskboot.img)
//	0x1f4  u64  start   LBA of the core image's second sector
//	0x1fc  u16  len     in sectors
//	0x1fe  u16  segment to load it to: 0x820
//
// The list of blocks grows down from 0x1f4; an entry with len 0 ends it.
const (
	bootCoreLBA    = 0x5c
	bootDrive      = 0x64
	bootDriveCheck = 0x66
	bootCodeEnd    = 0x1b8
	coreBlocks     = 0x1f4
	coreSegment    = 0x820
	diskbootStart  = 2 // what diskboot.img says before it is patched
)

// EmbedGRUB prepares GRUB for a BIOS boot partition, as grub-bios-setup(8)
// does: boot is the code for the first bytes of the disk's MBR, core goes to
// the start of the partition. start and sectors are the partition's, in
// 512-byte sectors. It adds no Reed-Solomon code, which protects a core image
// in the gap behind an MBR from other software; this one has a partition.
func EmbedGRUB(bootImage, coreImage []byte, start, sectors int64) (boot [bootCodeEnd]byte, core []byte, err error) {
	if err := checkBootImage(bootImage); err != nil {
		return boot, nil, fmt.Errorf("GRUB boot image: %w", err)
	}
	n := (int64(len(coreImage)) + sectorSize - 1) / sectorSize
	if err := checkCoreImage(coreImage, n, sectors); err != nil {
		return boot, nil, fmt.Errorf("GRUB core image: %w", err)
	}
	le := binary.LittleEndian
	copy(boot[:], bootImage)
	le.PutUint64(boot[bootCoreLBA:], uint64(start))
	boot[bootDrive] = 0xff
	boot[bootDriveCheck], boot[bootDriveCheck+1] = 0x90, 0x90 // nop: do the check
	core = make([]byte, n*sectorSize)
	copy(core, coreImage)
	le.PutUint64(core[coreBlocks:], uint64(start+1))
	le.PutUint16(core[coreBlocks+8:], uint16(n-1))
	le.PutUint16(core[coreBlocks+10:], coreSegment)
	return boot, core, nil
}

func checkBootImage(b []byte) error {
	if len(b) != sectorSize || b[510] != 0x55 || b[511] != 0xaa {
		return fmt.Errorf("%d bytes are not a boot sector", len(b))
	}
	// As it comes, the image says: core at LBA 1, any drive, a short jump.
	if binary.LittleEndian.Uint64(b[bootCoreLBA:]) != 1 || b[bootDrive] != 0xff || b[bootDriveCheck] != 0xeb {
		return errors.New("is not an unpatched i386-pc/boot.img")
	}
	return nil
}

func checkCoreImage(b []byte, n, sectors int64) error {
	if n < 2 {
		return fmt.Errorf("has only %d bytes", len(b))
	}
	le := binary.LittleEndian
	list := b[coreBlocks:sectorSize]
	if le.Uint64(list) != diskbootStart || le.Uint16(list[10:]) != coreSegment || int64(le.Uint16(list[8:])) != n-1 {
		return errors.New("does not start with an unpatched diskboot.img: make it with grub-mkimage -O i386-pc")
	}
	if n > sectors {
		return fmt.Errorf("has %d sectors, the BIOS boot partition %d", n, sectors)
	}
	return nil
}

// Core describes a core image to build.
type Core struct {
	Dir     string   // of GRUB's i386-pc modules, *.mod and *.img
	Prefix  string   // where GRUB finds its files: (,gpt2)/grub on the drive it started from
	Config  string   // run first; empty: none
	Modules []string // without .mod; their dependencies are added
}

// USBPrefix is the Core.Prefix of a USB image with BIOS.
const USBPrefix = "(,gpt2)/grub"

// GRUBConfigFile is where GRUB, with USBPrefix, looks for its configuration.
const GRUBConfigFile = "grub/grub.cfg"

// USBModules are enough to start Linux from a USB image, with a menu on screen
// and serial line.
func USBModules() []string {
	return []string{"biosdisk", "part_gpt", "fat", "normal", "configfile", "linux", "echo", "test", "serial", "terminal", "sleep", "reboot", "halt"}
}

// BuildCore runs grub-mkimage. The same modules and config give the same bytes.
func BuildCore(ctx context.Context, run tool.Runner, c Core) ([]byte, error) {
	tmp, err := os.MkdirTemp("", "vic-grub-")
	if err != nil {
		return nil, fmt.Errorf("build GRUB core image: %w", err)
	}
	defer os.RemoveAll(tmp)
	cmd := c.command(tmp)
	if c.Config != "" {
		if err := os.WriteFile(filepath.Join(tmp, "embedded.cfg"), []byte(c.Config), 0o600); err != nil {
			return nil, fmt.Errorf("build GRUB core image: %w", err)
		}
	}
	if _, err := run.Run(ctx, cmd); err != nil {
		return nil, fmt.Errorf("build GRUB core image: %w", err)
	}
	core, err := os.ReadFile(filepath.Join(tmp, "core.img"))
	if err != nil {
		return nil, fmt.Errorf("build GRUB core image: %w", err)
	}
	return core, nil
}

// command is the grub-mkimage(1) that works in the folder tmp.
func (c Core) command(tmp string) tool.Cmd {
	args := []string{"-O", "i386-pc", "-d", c.Dir, "-p", c.Prefix, "-o", filepath.Join(tmp, "core.img")}
	if c.Config != "" {
		args = append(args, "-c", filepath.Join(tmp, "embedded.cfg"))
	}
	return tool.Cmd{Name: "grub-mkimage", Args: append(args, c.Modules...)}
}

// Blocklist returns GRUB's name, such as 4096+200, for a piece of a file on the
// ESP: size bytes from offset on, rounded up to whole sectors, as seen from
// $root, which USBPrefix makes the ESP. So GRUB can load the kernel and the
// initrd out of a UKI, and the image has them only once. The name holds until
// somebody changes the file on the stick.
type Blocklist func(path string, offset, size int64) (string, error)

// configSize is what grub.cfg is padded to, so that its text, which depends on
// where the other files are, does not move them.
const configSize = 4096

// withConfig returns the files, with GRUB's configuration as the last one.
func (u USB) withConfig(start int64) ([]File, error) {
	if u.BIOS == nil || u.BIOS.Config == nil {
		return u.Files, nil
	}
	blank := bytes.NewReader(make([]byte, configSize))
	files := append(append([]File(nil), u.Files...), File{Path: GRUBConfigFile, Source: blank})
	v, err := u.newVolume(files, start, 0)
	if err != nil {
		return nil, err
	}
	text, err := u.BIOS.Config(func(path string, offset, size int64) (string, error) {
		at, have, ok := v.Extent(path)
		if !ok || offset < 0 || size <= 0 || offset+size > have || offset%sectorSize != 0 {
			return "", fmt.Errorf("blocks of %q: %d bytes from %d are not whole sectors of its %d bytes", path, size, offset, have)
		}
		return fmt.Sprintf("%d+%d", (at+offset)/sectorSize, (size+sectorSize-1)/sectorSize), nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", GRUBConfigFile, err)
	}
	if len(text) > configSize {
		return nil, fmt.Errorf("%s: has %d bytes, the limit is %d", GRUBConfigFile, len(text), configSize)
	}
	padded := append([]byte(text), bytes.Repeat([]byte{'\n'}, configSize-len(text))...)
	files[len(files)-1].Source = bytes.NewReader(padded)
	return files, nil
}
