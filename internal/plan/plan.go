// Package plan computes the ordered list of steps of an install from a request
// and the facts of the machine.
//
// It is pure: no file is opened and nothing is run, so the same plan is
// printed by --dry-run, compared in golden tests, and handed to the agent,
// which executes exactly these steps and no others.
//
//	Request + Facts --New--> Plan{Steps} --agent--> effects, events
package plan

import (
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
)

// Root is where the agent mounts the target's root file system.
const Root = "/run/vic/target"

// Plan is what will happen, in order.
type Plan struct {
	Version int          `json:"version"` // 1
	Item    string       `json:"item"`
	Disk    Disk         `json:"disk"`
	Table   layout.Table `json:"table"`
	// Result is what the installed system will be known by, as far as it is
	// known before the install; the agent adds the host keys.
	Result event.Result `json:"result"`
	Steps  []Step       `json:"steps"`
	// Warnings are for people: what the plan does not do, and why.
	Warnings []string `json:"warnings,omitempty"`
	Finish   string   `json:"finish"` // request.Finish*
}

// Disk is a disk by identity. Device is the path it had when the facts were
// scanned; the agent finds the disk again by the rest, and reads the identity
// once more immediately before it writes.
type Disk struct {
	Device     string `json:"device"`
	Path       string `json:"path"` // bus path, in the style of udev's ID_PATH
	Serial     string `json:"serial,omitempty"`
	WWN        string `json:"wwn,omitempty"`
	Model      string `json:"model,omitempty"`
	Size       int64  `json:"size"`       // bytes
	SectorSize int    `json:"sectorSize"` // logical, bytes
}

// String names the disk for people: "/dev/vda (serial QM0001, 8.0 GiB)".
func (d Disk) String() string {
	id := "bus path " + d.Path
	switch {
	case d.Serial != "":
		id = "serial " + d.Serial
	case d.WWN != "":
		id = "WWN " + d.WWN
	}
	return fmt.Sprintf("%s (%s, %s)", d.Device, id, Bytes(d.Size))
}

// Bytes renders a number of bytes with a binary unit: 1536 is "1.5 KiB".
func Bytes(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for v >= 1023.95 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", v, units[i])
}

// Step is one thing to do. In JSON the action's fields stand beside its kind:
//
//	{"phase":"format","name":"mkfs.ext4 root","kind":"mkfs","action":{...}}
type Step struct {
	Phase  event.Phase
	Name   string // unique within the phase, for people and for the journal
	Action Action
}

// Action is what a step does: one of the types in this package whose name is
// in kinds. A step is executed wholly from the values in it.
type Action interface {
	// Kind is the action's name in JSON.
	Kind() string
}

// The verify phase: nothing is written.
type (
	// CheckDisk reads the disk's identity, and that nothing uses it.
	CheckDisk struct {
		Disk Disk `json:"disk"`
	}
	// CheckPayload reads the whole payload and compares its hash.
	CheckPayload struct {
		Payload request.Payload `json:"payload"`
	}
	// CheckMemory refuses when less than Need bytes are available.
	CheckMemory struct {
		Need int64 `json:"need"`
	}
	// CheckSecrets refuses when a secret was not delivered.
	CheckSecrets struct {
		Names []string `json:"names"`
	}
	// CheckTools refuses when a program that later steps run is missing.
	CheckTools struct {
		Programs []string `json:"programs"`
	}
)

// The partition and format phases.
type (
	// WipeDisk clears the old table and all signatures of file systems, RAID,
	// LVM, LUKS in it and in the ranges of the new table. First write.
	WipeDisk struct {
		Disk  Disk         `json:"disk"`
		Table layout.Table `json:"table"` // the table to come
	}
	// WriteTable writes the GPT and has the kernel read it.
	WriteTable struct {
		Disk  Disk         `json:"disk"`
		Table layout.Table `json:"table"`
	}
	// Mkfs makes a file system in a partition.
	Mkfs struct {
		Disk  Disk         `json:"disk"`
		Entry layout.Entry `json:"entry"`
	}
)

// The copy phase.
type (
	// Mount mounts a partition at Root + Entry.Filesystem.Mountpoint.
	Mount struct {
		Disk  Disk         `json:"disk"`
		Entry layout.Entry `json:"entry"`
	}
	// CopyPayload mounts the payload read-only and copies its tree to Root.
	CopyPayload struct {
		Payload request.Payload `json:"payload"`
	}
)

// The inject phase: what makes the payload this machine's system. Paths are
// absolute as seen from inside the target.
type (
	// WriteFile makes a file (and its folders, 0755) with this content,
	// replacing what was there, also if that was a link.
	WriteFile struct {
		Path    string `json:"path"`
		Mode    uint32 `json:"mode"` // permission bits; JSON decimal
		Content string `json:"content"`
	}
	// Symlink makes a symbolic link, replacing what was there.
	Symlink struct {
		Path   string `json:"path"`
		Target string `json:"target"`
	}
	// AddUser makes or changes an account, with its keys and its password.
	AddUser struct {
		User request.User `json:"user"`
	}
	// HostKeys makes the SSH host keys and reports their public halves.
	HostKeys struct{}
	// Locale generates a locale, when the payload can.
	Locale struct {
		Name string `json:"name"`
	}
)

// The boot phase.
type (
	// SystemdBoot puts systemd-boot on the ESP, at its own path and at the
	// fallback path.
	SystemdBoot struct {
		ESP  string `json:"esp"`  // its mount point in the target: /boot/efi
		Arch string `json:"arch"` // GOARCH
	}
	// Initramfs has the target make its initramfs and boot entries for the
	// kernel, by its own kernel hooks, so that kernel updates do the same.
	Initramfs struct {
		Release string `json:"release"`
	}
	// GRUB installs GRUB for BIOS into the BIOS boot partition, and has it
	// installed there again when the package is updated.
	GRUB struct {
		Disk Disk `json:"disk"`
	}
	// CheckBoot opens what the firmware will read and refuses to call the
	// install done if a piece is missing.
	CheckBoot struct {
		ESP     string `json:"esp"`
		Arch    string `json:"arch"`
		Release string `json:"release"`
		BIOS    bool   `json:"bios"`
	}
	// BootEntry adds an EFI boot entry and puts it first. A firmware that
	// refuses is a warning: the fallback path boots too.
	BootEntry struct {
		Label     string       `json:"label"`
		Partition layout.Entry `json:"partition"`
		// SectorSize is the disk's, for the entry's LBAs.
		SectorSize int    `json:"sectorSize"`
		Loader     string `json:"loader"` // \EFI\systemd\systemd-bootx64.efi
	}
)

// The finish phase.
type (
	// Unmount unmounts everything below Root, and flushes the disk.
	Unmount struct {
		Disk Disk `json:"disk"`
	}
)

// Kind implements Action.
func (CheckDisk) Kind() string    { return "check-disk" }
func (CheckPayload) Kind() string { return "check-payload" }
func (CheckMemory) Kind() string  { return "check-memory" }
func (CheckSecrets) Kind() string { return "check-secrets" }
func (CheckTools) Kind() string   { return "check-tools" }
func (WipeDisk) Kind() string     { return "wipe-disk" }
func (WriteTable) Kind() string   { return "write-table" }
func (Mkfs) Kind() string         { return "mkfs" }
func (Mount) Kind() string        { return "mount" }
func (CopyPayload) Kind() string  { return "copy-payload" }
func (WriteFile) Kind() string    { return "write-file" }
func (Symlink) Kind() string      { return "symlink" }
func (AddUser) Kind() string      { return "add-user" }
func (HostKeys) Kind() string     { return "host-keys" }
func (Locale) Kind() string       { return "locale" }
func (SystemdBoot) Kind() string  { return "systemd-boot" }
func (Initramfs) Kind() string    { return "initramfs" }
func (GRUB) Kind() string         { return "grub" }
func (CheckBoot) Kind() string    { return "check-boot" }
func (BootEntry) Kind() string    { return "boot-entry" }
func (Unmount) Kind() string      { return "unmount" }

// MarshalJSON implements json.Marshaler.
func (s Step) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Phase  event.Phase `json:"phase"`
		Name   string      `json:"name"`
		Kind   string      `json:"kind"`
		Action Action      `json:"action"`
	}{s.Phase, s.Name, s.Action.Kind(), s.Action})
}

// rootID derives the seed of a plan's identifiers: the same request on the
// same disk gives the same GUIDs, another disk gives others.
func rootID(req request.Request, d Disk) (uuid.UUID, error) {
	req.Disk = request.DiskSelector{}
	req.Payload.Source = request.Source{}
	doc, err := json.Marshal(struct {
		Request              request.Request
		Serial, WWN, BusPath string
		Size                 int64
	}{req, d.Serial, d.WWN, d.Path, d.Size})
	if err != nil {
		return uuid.UUID{}, fmt.Errorf("derive identifiers: %w", err)
	}
	return uuid.NewSHA1(namespace, doc), nil
}

// namespace is the version 5 UUID namespace of plans (RFC 9562 §5.5).
var namespace = uuid.MustParse("5d0f3c6e-6c0b-4c65-9d31-6b3f1c2a7e10")
