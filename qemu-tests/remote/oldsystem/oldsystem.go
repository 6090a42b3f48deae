// Package oldsystem has the machines that the tests of `vic install --on` begin with:
// Debian systems that vic did not make, which somebody else administers, and which
// are reached by ssh(1) alone.
//
//	make.sh ──> base image ──copy──> disk + names, keys, network ──> machine
//	            (user's cache)       (one mount)                     answers by SSH
//
// Nothing here uses vic's own code for what a system is made of. Making and seeding
// disks needs root: file systems are mounted, out of sight of other processes.
package oldsystem

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/remote/network"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// Admin is a user who may do everything by sudo(8), with AdminPassword. Root logs in
// with the same key, and has no password.
const (
	Admin         = "admin"
	AdminPassword = "correct horse battery staple"
)

// Config says what a machine is like before vic comes.
type Config struct {
	Name     string // of the host, and in the SSH configuration; default "old"
	Release  string // "bookworm" (default; ifupdown) or "trixie" (systemd-networkd)
	Firmware string // "bios" (default) or "uefi"
	Loader   string // "grub" (default with BIOS) or "systemd-boot" (default with UEFI)
	FS       string // "ext4" (default), "xfs", "btrfs", or "lvm" (ext4 on it, with BIOS): of the root

	MemoryMiB int    // default 512
	DiskMiB   int64  // default (and least) 3072; what is more is not partitioned
	Sector    int    // the disk's logical one, in bytes: 512 (default), or 4096 with UEFI and systemd-boot
	Serial    string // of the disk; default "OLD0001"
	Cache     string // of the disk, as vm.Disk has it; default "unsafe"
	Disks     []vm.Disk
	Watchdog  string // as vm.Config has it

	// Network is the one that the machine is in; nil: QEMU's own (network.User).
	Network *network.Network

	// Files are further ones of the system (path without leading slash, content),
	// such as settings that its administrator made.
	Files map[string]string

	// Prepare changes the disk's image before the machine is switched on; nil:
	// nothing more. Vars are the machine's UEFI variables, as vm.Config has them.
	Prepare func(t *testing.T, image string)
	Vars    string
}

// System is a machine that runs an old system, or what came after it: the machine
// goes on through kexec and reboots.
type System struct {
	*vm.Machine
	Config

	// SSHConfig is a file for ssh -F. In it the machine is Config.Name, with its
	// host keys and no others; the user is root unless said otherwise.
	SSHConfig string
	Key       string          // path of the private key that root and Admin take
	HostKeys  []ssh.PublicKey // of the old system: ed25519, ECDSA, RSA
	MachineID string          // its content, 32 digits
	Disk      string          // path of the disk's image (raw)
	Began     time.Time
}

func (c Config) withDefaults() Config {
	for p, v := range map[*string]string{&c.Name: "old", &c.Release: "bookworm", &c.Firmware: "bios", &c.FS: "ext4", &c.Serial: "OLD0001", &c.Cache: "unsafe"} {
		if *p == "" {
			*p = v
		}
	}
	for p, v := range map[*int]int{&c.MemoryMiB: 512, &c.Sector: 512} {
		if *p == 0 {
			*p = v
		}
	}
	if c.Loader == "" {
		c.Loader = map[string]string{"bios": "grub", "uefi": "systemd-boot"}[c.Firmware]
	}
	return c
}

// maker is a program that its base image is made with.
func (c Config) maker() string {
	if c.FS == "lvm" {
		return "pvcreate"
	}
	return "mkfs." + c.FS
}

// Start makes a machine and switches it on; the test's end switches it off. The first
// of a kind on this computer takes minutes, for its base image.
func Start(t *testing.T, c Config) *System {
	t.Helper()
	tooltest.Root(t)
	tooltest.Need(t, "mmdebstrap", "sfdisk", "losetup", c.withDefaults().maker(), "mcopy", "unshare", "ssh", "qemu-system-x86_64")
	c = c.withDefaults()
	if c.Network == nil {
		c.Network = network.Start(t, network.User)
	}
	s := &System{Config: c}
	if err := s.prepare(t); err != nil {
		t.Fatalf("make old system %s: %v", c.Name, err)
	}
	if c.Prepare != nil {
		c.Prepare(t, s.Disk)
	}
	s.switchOn(t)
	return s
}

// Again is the same machine with another disk and another variable store (as vm.Config
// has it): what is left of them after a power cut, say.
func (s *System) Again(t *testing.T, image, vars string) *System {
	t.Helper()
	next := *s
	next.Disk, next.Vars = image, vars
	next.SSHConfig = filepath.Join(t.TempDir(), "ssh_config")
	next.switchOn(t)
	return &next
}

// switchOn starts the machine.
func (s *System) switchOn(t *testing.T) {
	t.Helper()
	cards, err := s.Network.NICs()
	if err != nil {
		t.Fatal(err)
	}
	s.Began = time.Now()
	s.Machine = vm.Start(t, vm.Config{
		Name: s.Name, Firmware: s.Firmware, MemoryMiB: s.MemoryMiB, Watchdog: s.Watchdog, Vars: s.Vars,
		Disks: append([]vm.Disk{{Path: s.Disk, Format: "raw", Serial: s.Serial, Cache: s.Cache, SectorSize: s.Sector}}, s.Disks...),
		NICs:  cards, Dir: filepath.Join(t.TempDir(), "run"),
	})
	if err := s.writeSSHConfig(); err != nil {
		t.Fatal(err)
	}
}

// Digest is the SHA-256 of the disk's content, seen from outside while the machine
// stands still.
func (s *System) Digest(ctx context.Context, t *testing.T) string {
	t.Helper()
	if err := s.Pause(ctx); err != nil {
		t.Fatal(err)
	}
	digest := lab.Digest(t, s.Disk)
	if err := s.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	return digest
}

// Pause lets the machine stand still.
func (s *System) Pause(ctx context.Context) error {
	_, err := s.QMP(ctx, "stop", nil)
	return err
}

// Resume lets it go on.
func (s *System) Resume(ctx context.Context) error {
	_, err := s.QMP(ctx, "cont", nil)
	return err
}

// Writes counts what the machine has asked of disk i since it was switched on that
// changes it: writes and discards.
func (s *System) Writes(ctx context.Context, i int) (int64, error) {
	raw, err := s.QMP(ctx, "query-blockstats", nil)
	if err != nil {
		return 0, err
	}
	var all []struct {
		QDev  string
		Stats struct {
			Writes   int64 `json:"wr_operations"`
			Discards int64 `json:"unmap_operations"`
		}
	}
	if err := json.Unmarshal(raw, &all); err != nil {
		return 0, fmt.Errorf("read block statistics: %w", err)
	}
	id := fmt.Sprintf("disk%d", i)
	for _, d := range all {
		// The device's path, as virtio puts a device of its own below it.
		if d.QDev == id || filepath.Base(filepath.Dir(d.QDev)) == id {
			return d.Stats.Writes + d.Stats.Discards, nil
		}
	}
	return 0, fmt.Errorf("find %s in block statistics %s", id, raw)
}
