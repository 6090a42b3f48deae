// Package image writes raw disk images, as functions of their inputs: without
// root, without loop devices, and with the same bytes every time.
//
// A USB image starts the installer on UEFI (EFI/BOOT/BOOTX64.EFI) and on BIOS
// (GRUB):
//
//	LBA 0      GRUB's boot.img around the protective MBR
//	LBA 1      GPT
//	1 MiB      partition 1, BIOS boot: GRUB's core image   (only with BIOS)
//	2 MiB      partition 2, ESP: FAT32 with the files
//	end-1 MiB  free, then the backup GPT
//
// Without BIOS the ESP is partition 1 and starts at 1 MiB. Sectors have 512
// bytes. The package makes no payload and installs onto no disk.
package image

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/image/fat"
)

// Source is the content of a file: *bytes.Reader, *strings.Reader,
// *io.SectionReader over an open file.
type Source = fat.Source

// File is a file on the ESP; see fat.File.
type File = fat.File

// USB describes an image.
type USB struct {
	Size  int64     // in bytes, a multiple of 1 MiB; 0: as small as the files allow
	Time  time.Time // of all files (SOURCE_DATE_EPOCH)
	Label string    // of the ESP: up to 11 characters, upper case
	Files []File    // stored in this order
	BIOS  *BIOS     // nil: UEFI only, as for arm64
}

// BIOS is what makes an image boot on a BIOS.
type BIOS struct {
	Boot []byte // GRUB's i386-pc/boot.img
	Core []byte // GRUB's core image, from BuildCore
	// Config returns GRUBConfigFile, for which it can ask where the content of
	// other files is; nil writes none.
	Config func(blocks Blocklist) (string, error)
}

// Target is where an image goes: an *os.File.
type Target interface {
	io.WriterAt
	Truncate(size int64) error
}

// Result says what has been written.
type Result struct {
	Size       int64       `json:"size"` // bytes
	DiskGUID   string      `json:"diskGUID"`
	Partitions []Partition `json:"partitions"`
	VolumeID   string      `json:"volumeID"` // of the ESP, as blkid shows it: XXXX-XXXX
}

const (
	sectorSize = 512
	mib        = 1 << 20
	biosSize   = mib
)

// ErrTooSmall is wrapped when the files do not fit USB.Size.
var ErrTooSmall = fat.ErrTooSmall

// WriteUSB writes the image to w, which is truncated first, so that what is
// not written is zero. Every source is read twice: the identifiers derive from
// the content. An error leaves w half written.
func WriteUSB(w Target, u USB) (*Result, error) {
	l, err := layOut(u)
	if err != nil {
		return nil, fmt.Errorf("lay out USB image: %w", err)
	}
	if err := errors.Join(w.Truncate(0), w.Truncate(l.size)); err != nil {
		return nil, fmt.Errorf("write USB image: %w", err)
	}
	if err := l.volume.WriteAt(w, l.espStart()); err != nil {
		return nil, fmt.Errorf("write USB image: %w", err)
	}
	if err := l.writeBoot(w, u.BIOS); err != nil {
		return nil, fmt.Errorf("write USB image: %w", err)
	}
	if err := writeGPT(w, l.size, l.diskGUID, l.partitions); err != nil {
		return nil, fmt.Errorf("write USB image: %w", err)
	}
	id := l.volumeID
	return &Result{Size: l.size, DiskGUID: l.diskGUID, Partitions: l.partitions,
		VolumeID: fmt.Sprintf("%04X-%04X", id>>16, id&0xffff)}, nil
}

// usbLayout is an image that has been laid out but not written.
type usbLayout struct {
	size       int64
	volume     *fat.Volume
	partitions []Partition // the ESP is the last
	diskGUID   string
	volumeID   uint32
}

func (l *usbLayout) esp() *Partition { return &l.partitions[len(l.partitions)-1] }
func (l *usbLayout) espStart() int64 { return l.esp().Start * sectorSize }

func layOut(u USB) (*usbLayout, error) {
	if u.Size%mib != 0 || u.Size < 0 {
		return nil, fmt.Errorf("size of %d bytes is not a multiple of 1 MiB", u.Size)
	}
	start := int64(mib)
	if u.BIOS != nil {
		start += biosSize
	}
	files, err := u.withConfig(start)
	if err != nil {
		return nil, err
	}
	ids, err := deriveIDs(u, files)
	if err != nil {
		return nil, err
	}
	volume, err := u.newVolume(files, start, ids.volume())
	if err != nil {
		return nil, err
	}
	l := &usbLayout{volume: volume, size: start + volume.Size() + mib, diskGUID: ids.guid("disk"), volumeID: ids.volume()}
	if u.BIOS != nil {
		l.partitions = append(l.partitions, Partition{Type: typeBIOSBoot, Name: "BIOS boot", GUID: ids.guid("bios"), Start: mib / sectorSize, Sectors: biosSize / sectorSize})
	}
	l.partitions = append(l.partitions, Partition{Type: typeESP, Name: "EFI system", GUID: ids.guid("esp"), Start: start / sectorSize, Sectors: volume.Size() / sectorSize})
	return l, nil
}

// newVolume lays out the ESP, which starts at start and takes what the image
// has; without a size it is the smallest one in whole MiB.
func (u USB) newVolume(files []File, start int64, id uint32) (*fat.Volume, error) {
	c := fat.Config{Label: u.Label, VolumeID: id, Time: u.Time, Hidden: uint32(start / sectorSize), Files: files}
	if u.Size > 0 {
		c.Size = max(u.Size-start-mib, sectorSize)
		v, err := fat.New(c)
		if err != nil {
			return nil, fmt.Errorf("image of %d MiB, ESP of %d MiB: %w", u.Size/mib, c.Size/mib, err)
		}
		return v, nil
	}
	v, err := fat.New(c)
	if err != nil || v.Size()%mib == 0 {
		return v, err
	}
	c.Size = (v.Size() + mib - 1) / mib * mib
	return fat.New(c)
}

// writeBoot writes what a BIOS starts: the MBR and GRUB's core image.
func (l *usbLayout) writeBoot(w io.WriterAt, b *BIOS) error {
	mbr := protectiveMBR(l.size, b != nil)
	if b != nil {
		p := l.partitions[0]
		boot, core, err := EmbedGRUB(b.Boot, b.Core, p.Start, p.Sectors)
		if err != nil {
			return err
		}
		copy(mbr[:], boot[:])
		if _, err := w.WriteAt(core, p.Start*sectorSize); err != nil {
			return fmt.Errorf("GRUB core image: %w", err)
		}
	}
	if _, err := w.WriteAt(mbr[:], 0); err != nil {
		return fmt.Errorf("MBR: %w", err)
	}
	return nil
}

// seed is a digest of everything that goes into an image.
type seed [sha256.Size]byte

func deriveIDs(u USB, files []File) (seed, error) {
	h := sha256.New()
	fmt.Fprintf(h, "vic usb 1\n%q %d %d\n", u.Label, u.Size, u.Time.Unix())
	if u.BIOS != nil {
		fmt.Fprintf(h, "bios %x %x\n", sha256.Sum256(u.BIOS.Boot), sha256.Sum256(u.BIOS.Core))
	}
	for _, f := range files {
		if f.Source == nil {
			return seed{}, fmt.Errorf("file %q: has no source", f.Path)
		}
		fmt.Fprintf(h, "%q %d\n", f.Path, f.Source.Size())
		if _, err := io.Copy(h, io.NewSectionReader(f.Source, 0, f.Source.Size())); err != nil {
			return seed{}, fmt.Errorf("read %q: %w", f.Path, err)
		}
	}
	return seed(h.Sum(nil)), nil
}

// guid derives a GUID for one purpose (RFC 9562, version 8).
func (s seed) guid(purpose string) string {
	return uuid.NewHash(sha256.New(), uuid.UUID(s[:16]), append(s[16:], purpose...), 8).String()
}

func (s seed) volume() uint32 { return binary.LittleEndian.Uint32(s[:]) }
