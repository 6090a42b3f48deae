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
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/template"
)

// Root is where the agent mounts the target's root file system.
const Root = "/run/vic/target"

// ScanPatience is how long each part of a machine has to answer a scan that a
// plan is made from: a disk that is slow is no empty one.
const ScanPatience = time.Minute

// Plan is what will happen, in order.
type Plan struct {
	Version int    `json:"version"` // 2
	Item    string `json:"item"`
	// Storage is how the disks are cut and formatted. Its steps are among
	// Steps; here it is for people, and for those who open the disks later.
	Storage Storage `json:"storage"`
	// Result is what the installed system will be known by, as far as it is
	// known before the install; the agent adds the host keys.
	Result event.Result `json:"result"`
	Steps  []Step       `json:"steps"`
	// Warnings are for people: what the plan does not do, and why.
	Warnings []string `json:"warnings,omitempty"`
	Finish   string   `json:"finish"` // request.Finish*
}

// What disks, steps and actions are is the same whether a whole system is
// installed or only disks are formatted.
type (
	Disk   = storage.Disk
	Step   = storage.Step
	Action = storage.Action
	Device = storage.Device
	// Storage is the part of a plan that is about disks.
	Storage = storage.Plan
	// UnmountAll and Close are the actions that end the work on the disks.
	UnmountAll = storage.Unmount
	Close      = storage.Close
)

// Bytes renders a number of bytes with a binary unit: 1536 is "1.5 KiB".
func Bytes(n int64) string { return storage.Bytes(n) }

// The verify phase: nothing is written.
type (
	// CheckPayload reads the whole payload and compares its hash. With a Path, it
	// is a file of the target, in the copy phase, and is removed if it is wrong.
	CheckPayload struct {
		Payload request.Payload `json:"payload"`
		Path    string          `json:"path,omitempty"`
	}
	// CheckDownload refuses when there is no file of that size at URL.
	CheckDownload struct {
		URL  string `json:"url"`
		Size int64  `json:"size"` // bytes
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
	// CheckHostKeys refuses when the SSH host keys of the system before cannot be
	// read.
	CheckHostKeys struct{}
)

// The copy phase.
type (
	// ReceivePayload waits for the client to send the payload, into a file of the
	// target that root alone can read. One that is left over is replaced.
	ReceivePayload struct {
		Path string `json:"path"` // see WriteFile
		Size int64  `json:"size"` // bytes
	}
	// DownloadPayload fetches the payload from URL into a file like ReceivePayload's.
	DownloadPayload struct {
		Path string `json:"path"`
		URL  string `json:"url"`
		Size int64  `json:"size"` // bytes
	}
	// CopyPayload mounts the payload read-only and copies its tree to Root. With a
	// Path, it is a file of the target.
	CopyPayload struct {
		Payload request.Payload `json:"payload"`
		Path    string          `json:"path,omitempty"`
	}
	// RemovePayload removes what has arrived.
	RemovePayload struct {
		Path string `json:"path"`
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
	// WriteSecret makes a file with the bytes of a key; see WriteFile.
	WriteSecret struct {
		Path string          `json:"path"`
		Mode uint32          `json:"mode"`
		Key  storage.KeyFile `json:"key"`
	}
	// PutFile makes a file of the item with exactly this mode and owner; see
	// WriteFile. The secrets in its content are only named here, and put in
	// their places when it is written.
	PutFile struct {
		Path    string             `json:"path"`
		Mode    uint32             `json:"mode"`            // permission bits; JSON decimal
		Owner   string             `json:"owner"`           // name or number
		Group   string             `json:"group,omitempty"` // empty: the owner's own
		Content []template.Segment `json:"content"`
	}
	// EnableUnit enables a systemd unit.
	EnableUnit struct {
		Name string `json:"name"`
	}
	// HostKeys makes the SSH host keys and reports their public halves.
	HostKeys struct {
		// AsBefore: those of the system before are taken over. Kinds of keys that
		// it did not have are made.
		AsBefore bool `json:"asBefore,omitempty"`
	}
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
	// kernel, by its own kernel hooks, so that kernel updates do the same. With
	// Keep, what the payload has is what they would make.
	Initramfs struct {
		Release string `json:"release"`
		Keep    bool   `json:"keep,omitempty"`
	}
	// GRUB installs GRUB for BIOS into the BIOS boot partition of each disk,
	// and has it installed there again when the package is updated.
	GRUB struct {
		Disks []Disk `json:"disks"`
	}
	// CheckBoot opens what the firmware will read and refuses to call the
	// install done if a piece is missing.
	CheckBoot struct {
		ESP     string `json:"esp"`
		Arch    string `json:"arch"`
		Release string `json:"release"`
		BIOS    bool   `json:"bios"`
		// Board: its firmware reads files of /boot/firmware, and neither ESP nor GRUB.
		Board *request.Board `json:"board,omitempty"`
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

// Kind implements Action.
func (CheckPayload) Kind() string    { return "check-payload" }
func (CheckMemory) Kind() string     { return "check-memory" }
func (CheckSecrets) Kind() string    { return "check-secrets" }
func (CheckTools) Kind() string      { return "check-tools" }
func (CheckHostKeys) Kind() string   { return "check-host-keys" }
func (ReceivePayload) Kind() string  { return "receive-payload" }
func (CheckDownload) Kind() string   { return "check-download" }
func (DownloadPayload) Kind() string { return "download-payload" }
func (CopyPayload) Kind() string     { return "copy-payload" }
func (RemovePayload) Kind() string   { return "remove-payload" }
func (WriteFile) Kind() string       { return "write-file" }
func (Symlink) Kind() string         { return "symlink" }
func (AddUser) Kind() string         { return "add-user" }
func (WriteSecret) Kind() string     { return "write-secret" }
func (PutFile) Kind() string         { return "put-file" }
func (EnableUnit) Kind() string      { return "enable-unit" }
func (HostKeys) Kind() string        { return "host-keys" }
func (Locale) Kind() string          { return "locale" }
func (SystemdBoot) Kind() string     { return "systemd-boot" }
func (Initramfs) Kind() string       { return "initramfs" }
func (GRUB) Kind() string            { return "grub" }
func (CheckBoot) Kind() string       { return "check-boot" }
func (BootEntry) Kind() string       { return "boot-entry" }

// rootID derives the seed of a plan's identifiers: the same request on the
// same disks gives the same GUIDs, other disks give others.
func rootID(req request.Request, disks map[string]storage.State) (uuid.UUID, error) {
	req.Disks = nil
	req.Payload.Source = request.Source{}
	type identity struct {
		Name, Serial, WWN, BusPath string
		Size                       int64
	}
	var list []identity
	for _, name := range slices.Sorted(maps.Keys(disks)) {
		d := disks[name]
		list = append(list, identity{name, d.Serial, d.WWN, d.Path, d.Size})
	}
	doc, err := json.Marshal(struct {
		Request request.Request
		Disks   []identity
	}{req, list})
	if err != nil {
		return uuid.UUID{}, fmt.Errorf("derive identifiers: %w", err)
	}
	return uuid.NewSHA1(namespace, doc), nil
}

// namespace is the version 5 UUID namespace of plans (RFC 9562 §5.5).
var namespace = uuid.MustParse("5d0f3c6e-6c0b-4c65-9d31-6b3f1c2a7e10")
