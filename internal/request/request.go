// Package request is the contract from the host to the target: the one
// versioned document that says what to install, on which disk, with which
// network. It carries no secrets: those travel beside it (internal/secret).
//
// In the RAM system it is the file Path, put there by a segment appended to
// the initramfs.
package request

import (
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/netconf"
)

// Version is the version that this package writes and reads.
const Version = 2

// Where a request and its secrets are in the RAM system.
const (
	Path        = "/vic/request.json"
	SecretsPath = "/vic/secrets.json"
)

// Request is the whole document.
type Request struct {
	Version int    `json:"version"`
	Item    string `json:"item"` // for people
	// Payload is what gets installed, and where the target finds it.
	Payload Payload `json:"payload"`
	// Layout is how the disks are cut.
	Layout layout.Layout `json:"layout"`
	// Disks chooses the disks of the layout by identity, by their names in it.
	// One that is missing is chosen by the layout itself (match, device).
	Disks  map[string]DiskSelector `json:"disks,omitempty"`
	System System                  `json:"system"`
	// Phases limits the run; empty means all.
	Phases []string `json:"phases,omitempty"`
	// Finish is what the target does after success: FinishPoweroff,
	// FinishReboot or FinishStay.
	Finish string `json:"finish"`
}

// The values of Request.Finish.
const (
	FinishPoweroff = "poweroff"
	FinishReboot   = "reboot"
	FinishStay     = "stay"
)

// Payload is a root file system as one image.
type Payload struct {
	Format string `json:"format"` // "erofs" or "squashfs"
	Size   int64  `json:"size"`   // bytes
	SHA256 string `json:"sha256"` // of the image, lower-case hex
	// TreeSize is what the tree needs on the target, in bytes: content
	// rounded up to 4 KiB a file, plus inodes.
	TreeSize int64  `json:"treeSize"`
	Arch     string `json:"arch"`
	// Kernel is the release of the kernel in the payload (uname -r).
	Kernel string `json:"kernel"`
	// RootFS is the format (ext4) of the root file system, on a partition, that
	// the payload's initramfs is for; empty: it has none.
	RootFS string `json:"rootFS,omitempty"`
	// Udev is the version of the package udev in the payload: it decides how
	// network interfaces are called. Empty: not known.
	Udev   string `json:"udev,omitempty"`
	Source Source `json:"source"`
}

// Source says where the image is, as seen from the target. Exactly one field
// is set. A device may be larger than the image.
type Source struct {
	// Serial of a block device that holds the image from its first byte.
	Serial string `json:"serial,omitempty"`
	// Path of a file.
	Path string `json:"path,omitempty"`
	// PartLabel of a GPT partition that holds the image from its first byte.
	PartLabel string `json:"partLabel,omitempty"`
	// Stream: the client sends it once the target's file systems are mounted. It
	// is kept there as a file until it is verified and copied, never in memory.
	Stream bool `json:"stream,omitempty"`
	// URL (http or https) that the target fetches it from, then. It is kept alike.
	// Nothing in it is secret.
	URL string `json:"url,omitempty"`
}

// Arrives says whether the image is not there before the target's file systems
// are mounted.
func (s Source) Arrives() bool { return s.Stream || s.URL != "" }

// DiskSelector chooses one disk; every field that is set has to match. None or
// several matches is an error that lists the candidates.
type DiskSelector struct {
	// Device is a path: /dev/sda, /dev/disk/by-id/.... By itself it is only
	// trusted on the machine it was typed on.
	Device     string `json:"device,omitempty"`
	Serial     string `json:"serial,omitempty"`
	WWN        string `json:"wwn,omitempty"`
	Size       int64  `json:"size,omitempty"`       // bytes, exact
	SectorSize int    `json:"sectorSize,omitempty"` // logical, bytes
	// BusPath is where it is plugged in, as udev's ID_PATH, and Table the GUID of
	// its GPT: for disks without a serial number.
	BusPath string `json:"busPath,omitempty"`
	Table   string `json:"table,omitempty"`
}

// System is what the installed system is to be. Host name, time zone, user
// names, mirrors and kernel parameters may be templates that depend on the
// machine (see package template): Map finds them.
type System struct {
	Hostname string   `json:"hostname"`
	Timezone string   `json:"timezone"` // "Europe/Berlin"; empty: UTC
	Locale   string   `json:"locale"`   // "C.UTF-8"
	Keymap   string   `json:"keymap"`   // "us"
	Users    []User   `json:"users"`
	Network  Network  `json:"network"`
	APT      APT      `json:"apt"`
	Cmdline  []string `json:"cmdline,omitempty"` // added to the kernel command line
	// Requires are facts that the machine has to have.
	Requires []Requirement `json:"requires,omitempty"`
	// Options are those that templates ask for.
	Options []Option `json:"options,omitempty"`
	Files   []File   `json:"files,omitempty"`
	Units   []Unit   `json:"units,omitempty"`
	// Board is what the system boots on when that is no PC; only images are made
	// for one.
	Board *Board `json:"board,omitempty"`
	// Identity is what makes it the machine that it was before; nil: it is a new
	// one.
	Identity *Identity `json:"identity,omitempty"`
}

// Board is a Raspberry Pi, and what its firmware is told.
type Board struct {
	Name string `json:"name"` // "pi4"; see builder/raspberry.Boards
	// Console is the serial console, as the kernel's console= has it:
	// "ttyS1,115200"; empty: none.
	Console  string   `json:"console,omitempty"`
	Config   []string `json:"config,omitempty"`   // lines of config.txt
	Overlays []string `json:"overlays,omitempty"` // NAME, or NAME,PARAMETER=VALUE
}

// Identity is what others know a machine by.
type Identity struct {
	MachineID string `json:"machineId"` // machine-id(5); empty: the first boot makes one
	// HostKeys: the SSH host keys are those that the RAM system was handed
	// (package handover).
	HostKeys bool `json:"hostKeys"`
}

// User is an account; "root" changes root's.
type User struct {
	Name    string   `json:"name"`
	SSHKeys []string `json:"sshKeys,omitempty"`
	// PasswordSecret names the secret that holds the password; empty locks it.
	PasswordSecret string `json:"passwordSecret,omitempty"`
	Sudo           bool   `json:"sudo,omitempty"`
}

// APT says where the installed system gets packages from.
type APT struct {
	Suite string `json:"suite,omitempty"` // "trixie"
	// Mirror and Security are URLs of the archive and of the archive of
	// security updates; empty leaves the entry out.
	Mirror   string `json:"mirror,omitempty"`
	Security string `json:"security,omitempty"`
}

// Network is how the installed system gets on the network.
type Network struct {
	// Mode is NetworkDHCP: DHCP and router advertisements on every physical NIC
	// found on the target, matched by its permanent MAC; or NetworkAsBefore: as
	// Config says.
	Mode   string          `json:"mode"`
	Config *netconf.Config `json:"config,omitempty"`
	// NICs are names for interfaces; all others keep those that udev gives them.
	NICs []NICName `json:"nics,omitempty"`
}
