// Package stage is the contract between the system that is to be replaced and
// the RAM system that replaces it, on one machine and one disk: what `vic
// install` leaves behind for the next boot. Other than a request from another
// machine it has to survive without help: a power cut at any moment ends in a
// boot of the system before, of the RAM system, or of the new system.
//
// The stage is one partition with a FAT32 file system:
//
//	/EFI/BOOT/BOOTX64.EFI   the RAM system, for UEFI (a UKI)
//	/vic/vmlinuz, initrd    the same, for GRUB, whose core image is /vic/core.img
//	/vic/payload.erofs      what gets installed
//	/vic/request.json       how (package request); its payload is on the stage
//	/vic/secrets.json       what it needs of secrets; overwritten at the end
//	/vic/journal            what was done (Journal), allocated in one piece
//	/vic/registrations      the copy of the host's registrations, likewise
//	/vic/stage.json         this document
//
// The document is also in every initrd of the attempt, as Path. So the RAM
// system knows what to look for, and trusts the disk only as far as the hashes
// in it reach: it was verified with the kernel that was started. Of the one file
// that holds it, the UKI or the initrd, it cannot know the hash: that one is only in
// the stage's own document, which Completed compares with it.
//
//	old system                       RAM system                          new system
//	plan, registrations,      ──>    verify, make what is missing  ──>   grow over the stage
//	stage or its files, one-shot     commit, install from the stage      and forget it
//
// Up to Commit a reset brings back the old system, which is as it was. Commit is
// one write: of the firmware's boot order, or of the sector with the boot code, or
// of the partition table (see Extent).
// From there on a reset brings the RAM system from the stage, which goes on; and
// from the end of the phase boot on the new system.
package stage

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/request"
)

// Version is the version that this package writes and reads.
const Version = 1

// Path is where the document is in the initramfs of the RAM system.
const Path = "/vic/stage.json"

// Folder is the folder of the stage's file system that holds its files, but for
// the UKI.
const Folder = "vic"

// The names of the stage's files, in Folder unless they begin with a slash.
const (
	Kernel    = "vmlinuz"
	Initrd    = "initrd"
	Payload   = "payload.erofs"
	Request   = "request.json"
	Secrets   = "secrets.json"
	Journal   = "journal"
	Self      = "stage.json"
	CoreImage = "core.img" // of GRUB; also at Document.Core
	UKIx64    = "/EFI/BOOT/BOOTX64.EFI"
	UKIarm64  = "/EFI/BOOT/BOOTAA64.EFI"
	// Registrations is written by package mirror.
	Registrations = "registrations"
	// Outcome is not on the stage: see Hop.Folder. It is an Ended.
	Outcome = "outcome.json"
)

// Label is the stage's label, of its partition and (in capitals) of its file
// system; BootLabel is that of the partition with GRUB's core image.
const (
	Label     = "vic-stage"
	BootLabel = "vic-stage-boot"
)

// JournalSize is the size of the file Journal, in bytes.
const JournalSize = 1 << 20

// RegistrationsSize is the size of the file Registrations, in bytes.
const RegistrationsSize = 4 << 20

// Document is stage.json.
type Document struct {
	Version int `json:"version"`
	// ID is the attempt's. The stage's file system has its first four bytes as
	// volume ID.
	ID      uuid.UUID `json:"id"`
	Created time.Time `json:"created"`
	// Firmware is "uefi" or "bios".
	Firmware string `json:"firmware"`
	// Disk is the disk that has the stage, and that is installed onto.
	Disk request.DiskSelector `json:"disk"`
	// Stage is where the stage is, or is to be made.
	Stage Place `json:"stage"`
	// Core is where GRUB's core image is that starts the RAM system from the
	// stage; nil on UEFI.
	Core *Place `json:"core,omitempty"`
	// BootCode are the first 440 bytes of the disk from Commit on (BIOS): GRUB's
	// boot image, which loads Core. OldBootCode are those that are there before:
	// others are refused.
	BootCode    []byte `json:"bootCode,omitempty"`
	OldBootCode []byte `json:"oldBootCode,omitempty"`
	// Hop is set when the running system could not make room for the stage: the
	// RAM system does it.
	Hop *Hop `json:"hop,omitempty"`
	// Extent is set when the stage (and Core) is in a file of the system before until
	// Commit.
	Extent *Extent `json:"extent,omitempty"`
	// Files are all files of the stage but the journal, the registrations and the
	// document itself.
	Files []File `json:"files"`
	// Grow names what grows over the stage at the end; empty: its room stays free.
	Grow *Grow `json:"grow,omitempty"`
}

// Place is a partition.
type Place struct {
	// Number in the table, and its GUID there (zero on an MBR).
	Number int       `json:"number"`
	GUID   uuid.UUID `json:"guid"`
	Offset int64     `json:"offset"` // bytes from the start of the disk
	Size   int64     `json:"size"`   // bytes
}

// Hop says how the RAM system comes by the stage: it takes the files from where
// the running system has left them, once it has made room by Layout.
type Hop struct {
	// Filesystem that holds the files, by UUID (as blkid shows it), and its type.
	Filesystem string `json:"filesystem"`
	Format     string `json:"format"`
	// Folder in it, from the file system's root (of a btrfs: of its top level). In
	// it each file is at InVolume of its name, as on the stage. A failure before
	// there is a stage is told by the file Outcome in it.
	Folder string `json:"folder"`
	// Loader is the UKI that a boot entry of the firmware starts by itself, as in
	// that entry: \EFI\vic\reinstall.efi. While a file system is being shrunk that
	// entry comes first, so that a power cut is followed by the RAM system. Empty:
	// a boot loader of the system before starts the RAM system once, and in that
	// time a power cut leaves nothing that boots by itself.
	Loader string `json:"loader,omitempty"`
	// Layout keeps every partition of the disk, shrinks one, and makes the stage
	// (and Core).
	Layout layout.Layout `json:"layout,omitzero"`
	// Table is the same for a disk with an MBR, of which no layout keeps partitions:
	// the table as it will be. Layout is empty then.
	Table *layout.Table `json:"table,omitempty"`
}

// Extent says that a file of the system before keeps the places of the stage and of
// Core: its blocks are in one piece, and no entry of the table has them. Commit makes
// Before into After.
type Extent struct {
	// Before is the disk's table of the system before. After has the stage and Core,
	// and not the partition with the file; it is a GPT.
	Before layout.Table `json:"before"`
	After  layout.Table `json:"after"`
}

// has says whether the table will have a partition.
func (e Extent) has(p Place) bool {
	return slices.ContainsFunc(e.After.Entries, func(x layout.Entry) bool {
		unit := int64(e.After.SectorSize)
		return x.Number == p.Number && x.GUID == p.GUID && int64(x.FirstLBA)*unit == p.Offset && x.Size(e.After.SectorSize) == p.Size
	})
}

// Ended is what the file Outcome tells: why there is no stage.
type Ended struct {
	ID    uuid.UUID `json:"id"`
	Time  time.Time `json:"time"`
	Error string    `json:"error"`
}

// Grow says which file system takes the room of the stage at the end: the one
// that is mounted at Mountpoint in the new system, in the partition before.
type Grow struct {
	Mountpoint string `json:"mountpoint"`
}

// File is a file of the stage.
type File struct {
	// Name as above.
	Name   string `json:"name"`
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // lower-case hex
}

// VolumeID is the volume ID of the stage's file system.
func (d Document) VolumeID() uint32 {
	return uint32(d.ID[0])<<24 | uint32(d.ID[1])<<16 | uint32(d.ID[2])<<8 | uint32(d.ID[3])
}

// FilesystemUUID is the same as blkid and /dev/disk/by-uuid show it.
func (d Document) FilesystemUUID() string {
	return fmt.Sprintf("%04X-%04X", d.VolumeID()>>16, d.VolumeID()&0xffff)
}

// File finds a file by its name.
func (d Document) File(name string) (File, bool) {
	i := slices.IndexFunc(d.Files, func(f File) bool { return f.Name == name })
	if i < 0 {
		return File{}, false
	}
	return d.Files[i], true
}

// Completed is a document from an initrd, with the file that holds that initrd, which
// it cannot list, as the stage's (or the hop's) own document lists it. In all else
// the two have to be equal.
func (d Document) Completed(own Document) (Document, error) {
	whole := own
	for _, f := range d.Files {
		if o, ok := own.File(f.Name); !ok || o != f {
			return d, fmt.Errorf("%s: it says of %s: %d bytes, %s; with the kernel came: %d bytes, %s", Self, f.Name, o.Size, o.SHA256, f.Size, f.SHA256)
		}
	}
	holders := []string{Initrd, UKIx64, UKIarm64}
	for _, f := range own.Files {
		if _, ok := d.File(f.Name); !ok && !slices.Contains(holders, f.Name) {
			return d, fmt.Errorf("%s: it has a file %s that did not come with the kernel", Self, f.Name)
		}
	}
	own.Files, d.Files = nil, nil
	var a, b bytes.Buffer
	if err := errors.Join(d.Encode(&a), own.Encode(&b)); err != nil {
		return d, err
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		return d, fmt.Errorf("%s: it is not the one that came with the kernel", Self)
	}
	return whole, nil
}

// EntryLabel is what the menu of the firmware shows for the RAM system.
const EntryLabel = "vic: reinstall this machine"

// UKI is the name of the executable for machines of an architecture.
func UKI(arch string) string {
	if arch == "arm64" {
		return UKIarm64
	}
	return UKIx64
}

// InVolume is the path of a file in the stage's file system, without a slash at
// its beginning.
func InVolume(name string) string {
	if path.IsAbs(name) {
		return name[1:]
	}
	return Folder + "/" + name
}

// Encode writes the document.
func (d Document) Encode(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(d)
}

// Decode reads a document, and refuses one that is not whole.
func Decode(r io.Reader) (Document, error) {
	var d Document
	dec := json.NewDecoder(r)
	if err := dec.Decode(&d); err != nil {
		return d, fmt.Errorf("decode %s: %w", Self, err)
	}
	if d.Version != Version {
		return d, fmt.Errorf("%s has version %d, this vic reads %d", Self, d.Version, Version)
	}
	if err := d.Validate(); err != nil {
		return d, fmt.Errorf("%s: %w", Self, err)
	}
	return d, nil
}

// Validate says everything that is wrong with a document.
func (d Document) Validate() error {
	var errs []error
	must := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	must(d.ID != uuid.UUID{}, "no id")
	must(d.Disk != request.DiskSelector{}, "no disk")
	must(d.Stage.Offset > 0 && d.Stage.Size > 0, "no place for the stage")
	switch d.Firmware {
	case "uefi":
		must(d.Core == nil && d.BootCode == nil && d.OldBootCode == nil, "uefi needs no boot code")
	case "bios":
		must(d.Core != nil, "no place for GRUB's core image")
		must(len(d.BootCode) == 440 && len(d.OldBootCode) == 440, "boot code of %d and %d bytes instead of 440", len(d.BootCode), len(d.OldBootCode))
	default:
		must(false, "firmware %q is neither uefi nor bios", d.Firmware)
	}
	for _, name := range []string{Payload, Request} {
		_, ok := d.File(name)
		must(ok, "no file %s", name)
	}
	for _, f := range d.Files {
		must(len(f.SHA256) == 64 && f.Size >= 0, "file %s has no size or hash", f.Name)
	}
	if h := d.Hop; h != nil {
		must(h.Filesystem != "" && h.Format != "" && path.IsAbs(h.Folder), "the files of the hop are nowhere")
	}
	if e := d.Extent; e != nil {
		must(d.Hop == nil, "the stage is in a file, and made of files")
		must(e.After.Kind == layout.KindGPT && e.has(d.Stage) && (d.Core == nil || e.has(*d.Core)), "the table of the commit has no stage")
	}
	return errors.Join(errs...)
}
