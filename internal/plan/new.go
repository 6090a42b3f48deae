package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/netconf"
	"github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/template"
)

// The least memory that has to be available (MemAvailable) when the agent
// starts. Installs are tested on machines with 256 MiB, where it is 148 MiB;
// with less than half of that nothing is promised.
const minMemory = 64 << 20

// Room that the root file system needs beyond the payload's tree: two
// initramfs images while one replaces the other, package lists, logs.
const rootHeadroom = 256 << 20

// New computes the plan. secrets are the names of the secrets that were
// delivered. Everything that is wrong is reported at once, joined.
func New(req request.Request, facts envscan.Facts, secrets []string) (Plan, error) {
	if err := req.Validate(); err != nil {
		return Plan{}, err
	}
	if err := Unmet(req.System.Requires, facts); err != nil {
		return Plan{}, err
	}
	l := newLate(req.System, facts)
	system, settingsErr := l.system(req.System)
	files, filesErr := l.injected(req.System)
	if err := errors.Join(settingsErr, filesErr); err != nil {
		return Plan{}, err
	}
	disks, err := SelectDisks(req.Layout, req.Disks, facts)
	if err != nil {
		return Plan{}, err
	}
	seed, err := rootID(req, disks)
	if err != nil {
		return Plan{}, err
	}
	onDisks, err := storage.New(storage.Config{Layout: req.Layout, Disks: disks, Seed: seed, Anew: true})
	if err != nil {
		return Plan{}, err
	}
	req.System = system
	t := target{req: req, facts: facts, storage: onDisks, injected: files}
	if t.nics, err = t.interfaces(); err != nil {
		return Plan{}, err
	}
	if t.before, err = t.asBefore(); err != nil {
		return Plan{}, err
	}
	if err := t.check(secrets); err != nil {
		return Plan{}, err
	}
	p := Plan{
		Version:  2,
		Item:     req.Item,
		Storage:  onDisks,
		Steps:    t.steps(),
		Warnings: t.warnings(),
		Finish:   req.Finish,
	}
	p.Result = event.Result{Hostname: req.System.Hostname, Kernel: req.Payload.Kernel, Disk: p.Disks(), RootUUID: t.root().UUID, NICs: t.known()}
	return p, nil
}

// target is what all steps are computed from.
type target struct {
	req     request.Request
	facts   envscan.Facts
	storage storage.Plan
	// nics are the names of the interfaces, one for each of hw.nic; empty: not
	// known.
	nics []event.NIC
	// before is the network of the system before, if it is to be the same.
	before netconf.Config
	// injected are the item's files and units.
	injected []injected
	// anywhere: it is an image for any machine, see NewImage. grows is the
	// partition that grows there.
	anywhere bool
	grows    string
}

// at finds the file system that is mounted at one of the mount points.
func (t target) at(mountpoints ...string) *storage.Filesystem {
	for i, f := range t.storage.Filesystems {
		if slices.Contains(mountpoints, f.Mountpoint) {
			return &t.storage.Filesystems[i]
		}
	}
	return nil
}

// root is the root file system; check has made sure that there is one.
func (t target) root() *storage.Filesystem { return t.at("/") }

// esp is the EFI system partition, if it is mounted where systemd-boot's hooks
// look for it (bootctl(1), "--esp-path="). It may be an array whose members are
// ESPs.
func (t target) esp() *storage.Filesystem {
	for _, mountpoint := range []string{"/efi", "/boot/efi", "/boot"} {
		f := t.at(mountpoint)
		if f != nil && len(f.Parts) > 0 && !slices.ContainsFunc(f.Parts, func(p storage.Part) bool { return p.Entry.Type != layout.TypeESP }) {
			return f
		}
	}
	return nil
}

// biosDisks are the disks that GRUB for BIOS can be installed on.
func (t target) biosDisks() []Disk {
	if t.req.Payload.Arch != "amd64" {
		return nil
	}
	var list []Disk
	for _, d := range t.storage.Disks {
		if d.After != nil && d.Disk.SectorSize == 512 && hasType(*d.After, layout.TypeBIOSBoot) {
			list = append(list, d.Disk)
		}
	}
	return list
}

func hasType(t layout.Table, id uuid.UUID) bool {
	return slices.ContainsFunc(t.Entries, func(e layout.Entry) bool { return e.Type == id })
}

func (t target) uefi() bool { return t.facts.HW.Firmware.Type == "uefi" }

// check refuses what could not end in a system that boots.
func (t target) check(secrets []string) error {
	return errors.Join(t.checkMachine(), t.checkDisk(), t.checkBootable(), t.checkSecrets(secrets))
}

func (t target) checkMachine() error {
	var errs []error
	if want, have := t.req.Payload.Arch, t.facts.HW.Arch; want != have {
		errs = append(errs, fmt.Errorf("payload is for %s, this machine is %s", want, have))
	}
	if c := t.facts.OS.Container; c != "" {
		errs = append(errs, fmt.Errorf("this is a container (%s): disks cannot be partitioned from here", c))
	}
	return errors.Join(errs...)
}

func (t target) checkDisk() error {
	var errs []error
	for _, p := range t.storage.Disks {
		errs = append(errs, t.checkOne(p.Disk))
	}
	root := t.root()
	if root == nil {
		return errors.Join(append(errs, errors.New("layout mounts nothing at /"))...)
	}
	need, why := t.need()
	if have := usable(root.Size); have < need {
		errs = append(errs, fmt.Errorf("%s is too small: the root file system would hold %s, the payload needs %s%s",
			disksUnder(*root), Bytes(have), Bytes(need), why))
	}
	return errors.Join(errs...)
}

// need is how much the root file system has to hold, in bytes, and of what.
func (t target) need() (n int64, why string) {
	p := t.req.Payload
	n = p.TreeSize + rootHeadroom
	if !p.Source.Arrives() {
		return n, ""
	}
	return n + p.Size, fmt.Sprintf(": %s installed, and %s for itself as it is received", Bytes(n), Bytes(p.Size))
}

// disksUnder names the disks that a file system stands on.
func disksUnder(f storage.Filesystem) string {
	var names []string
	for _, p := range f.Parts {
		if name := p.Disk.String(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, " and ")
}

func (t target) checkOne(disk Disk) error {
	var errs []error
	for _, d := range t.facts.HW.Disk {
		if "/dev/"+d.Name != disk.Device {
			continue
		}
		if d.ReadOnly {
			errs = append(errs, fmt.Errorf("%s is read-only", disk))
		}
		for _, use := range Busy(d) {
			errs = append(errs, fmt.Errorf("%s is in use: %s", disk, use))
		}
	}
	if s := t.req.Payload.Source.Serial; s != "" && s == disk.Serial {
		errs = append(errs, fmt.Errorf("%s holds the payload: it cannot be the target too", disk))
	}
	return errors.Join(errs...)
}

// Busy is what uses a disk and cannot be ended by vic. Arrays, volume groups
// and containers that nothing uses are stopped: what only holds the disk does
// not count.
func Busy(d envscan.Disk) []string {
	return slices.DeleteFunc(slices.Clone(d.InUse), func(use string) bool { return strings.Contains(use, " held by ") })
}

// usable is a careful estimate of what an ext4 of this size holds: inode
// tables take 1/64 (256 bytes for every 16 KiB), the reserve 5 %, the journal
// and group descriptors at most 80 MiB on the small disks where it matters.
func usable(size int64) int64 {
	return max(0, size-size/64-size/20-80<<20)
}

func (t target) checkBootable() error {
	switch {
	case t.req.System.Board != nil:
		return t.checkBoard()
	case t.anywhere && t.esp() == nil && len(t.biosDisks()) == 0:
		return errors.New("the layout has neither an EFI system partition (type EF00, vfat) mounted at /efi, /boot/efi or /boot, nor, for amd64, a BIOS boot partition (type EF02)")
	case t.anywhere:
		return nil
	case t.uefi() && t.esp() == nil:
		return errors.New("this machine boots by UEFI, and the layout has no EFI system partition (type EF00, vfat) mounted at /efi, /boot/efi or /boot")
	case t.uefi() || len(t.biosDisks()) > 0:
		return nil
	}
	for _, d := range t.storage.Disks {
		if d.Disk.SectorSize != 512 {
			return fmt.Errorf("this machine boots by BIOS, which cannot boot from %s: it has %d-byte sectors", d.Disk, d.Disk.SectorSize)
		}
	}
	return errors.New("this machine boots by BIOS, and the layout has no BIOS boot partition (type EF02)")
}

func (t target) checkSecrets(given []string) error {
	var errs []error
	for _, name := range t.secrets() {
		if !slices.Contains(given, name) {
			errs = append(errs, fmt.Errorf("secret %q is missing", name))
		}
	}
	return errors.Join(errs...)
}

// secrets are the names of the secrets that the steps use.
func (t target) secrets() []string {
	var names []string
	for _, u := range t.req.System.Users {
		if u.PasswordSecret != "" {
			names = append(names, u.PasswordSecret)
		}
	}
	for _, in := range t.injected {
		names = append(names, template.Secrets(in.Content)...)
	}
	for _, k := range t.storage.Secrets {
		names = append(names, k.Secret)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (t target) warnings() []string {
	var w []string
	if t.req.Payload.Arch == "amd64" && len(t.biosDisks()) == 0 {
		why := "the layout has no BIOS boot partition"
		for _, d := range t.storage.Disks {
			if d.Disk.SectorSize != 512 {
				why = fmt.Sprintf("%s has %d-byte sectors", d.Disk.Device, d.Disk.SectorSize)
			}
		}
		w = append(w, "the disk will boot by UEFI only: "+why)
	}
	if t.esp() == nil && t.req.System.Board == nil {
		w = append(w, "the disk will boot by BIOS only: the layout has no EFI system partition")
	}
	w = append(w, t.unhealthy()...)
	w = append(w, t.absentCards()...)
	if len(t.facts.HW.NIC) == 0 && !t.anywhere {
		w = append(w, "this machine has no network card: the installed system has no network configured")
	}
	if t.anywhere {
		w = append(w, t.imageWarnings()...)
	}
	if t.noLogin() {
		w = append(w, "nobody can log in: give -o sshkey=... or -s password=...")
	}
	return w
}

func (t target) noLogin() bool {
	return !slices.ContainsFunc(t.req.System.Users, func(u request.User) bool {
		return len(u.SSHKeys) > 0 || u.PasswordSecret != ""
	})
}
