package plan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
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
	d, err := selectDisk(req.Disk, facts.HW.Disk)
	if err != nil {
		return Plan{}, err
	}
	seed, err := rootID(req, d)
	if err != nil {
		return Plan{}, err
	}
	table, err := resolve(req.Layout, d, seed)
	if err != nil {
		return Plan{}, err
	}
	t := target{req: req, facts: facts, disk: d, table: table}
	if err := t.check(secrets); err != nil {
		return Plan{}, err
	}
	p := Plan{
		Version:  1,
		Item:     req.Item,
		Disk:     d,
		Table:    table,
		Steps:    t.steps(),
		Warnings: t.warnings(),
		Finish:   req.Finish,
	}
	p.Result = event.Result{Hostname: req.System.Hostname, Kernel: req.Payload.Kernel, Disk: d.String(), RootUUID: t.root().Filesystem.UUID}
	return p, nil
}

// target is what all steps are computed from.
type target struct {
	req   request.Request
	facts envscan.Facts
	disk  Disk
	table layout.Table
}

func resolve(l layout.Layout, d Disk, seed uuid.UUID) (layout.Table, error) {
	if len(l.Disk) != 1 {
		return layout.Table{}, fmt.Errorf("layout has %d disks, one is needed", len(l.Disk))
	}
	geometry := map[string]layout.Geometry{}
	for name := range l.Disk {
		geometry[name] = layout.Geometry{Size: d.Size, SectorSize: d.SectorSize}
	}
	tables, err := layout.Resolve(l, geometry, seed)
	if err != nil {
		return layout.Table{}, fmt.Errorf("lay out %s: %w", d, err)
	}
	return tables[0], nil
}

// entry finds the partition that is mounted at one of the mount points.
func (t target) entry(mountpoints ...string) *layout.Entry {
	for i, e := range t.table.Entries {
		if e.Filesystem != nil && slices.Contains(mountpoints, e.Filesystem.Mountpoint) {
			return &t.table.Entries[i]
		}
	}
	return nil
}

// root is the root partition; check has made sure that there is one.
func (t target) root() *layout.Entry { return t.entry("/") }

// esp is the EFI system partition, if it is mounted where systemd-boot's hooks
// look for it (bootctl(1), "--esp-path=").
func (t target) esp() *layout.Entry {
	if e := t.entry("/efi", "/boot/efi", "/boot"); e != nil && e.Type == layout.TypeESP {
		return e
	}
	return nil
}

// biosBoot says whether GRUB for BIOS can be installed.
func (t target) biosBoot() bool {
	return t.req.Payload.Arch == "amd64" && t.table.SectorSize == 512 && t.hasType(layout.TypeBIOSBoot)
}

func (t target) hasType(id uuid.UUID) bool {
	return slices.ContainsFunc(t.table.Entries, func(e layout.Entry) bool { return e.Type == id })
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
	for _, d := range t.facts.HW.Disk {
		if "/dev/"+d.Name != t.disk.Device {
			continue
		}
		if d.ReadOnly {
			errs = append(errs, fmt.Errorf("%s is read-only", t.disk))
		}
		for _, use := range d.InUse {
			errs = append(errs, fmt.Errorf("%s is in use: %s", t.disk, use))
		}
	}
	if s := t.req.Payload.Source.Serial; s != "" && s == t.disk.Serial {
		errs = append(errs, fmt.Errorf("%s holds the payload: it cannot be the target too", t.disk))
	}
	root := t.root()
	if root == nil {
		return errors.Join(append(errs, errors.New("layout mounts nothing at /"))...)
	}
	need := t.req.Payload.TreeSize + rootHeadroom
	if have := usable(root.Size(t.table.SectorSize)); have < need {
		errs = append(errs, fmt.Errorf("%s is too small: the root file system would hold %s, the payload needs %s",
			t.disk, Bytes(have), Bytes(need)))
	}
	return errors.Join(errs...)
}

// usable is a careful estimate of what an ext4 of this size holds: inode
// tables take 1/64 (256 bytes for every 16 KiB), the reserve 5 %, the journal
// and group descriptors at most 80 MiB on the small disks where it matters.
func usable(size int64) int64 {
	return max(0, size-size/64-size/20-80<<20)
}

func (t target) checkBootable() error {
	switch {
	case t.uefi() && t.esp() == nil:
		return errors.New("this machine boots by UEFI, and the layout has no EFI system partition (type EF00, vfat) mounted at /efi, /boot/efi or /boot")
	case !t.uefi() && !t.biosBoot() && t.table.SectorSize != 512:
		return fmt.Errorf("this machine boots by BIOS, which cannot boot from %s: it has %d-byte sectors", t.disk, t.table.SectorSize)
	case !t.uefi() && !t.biosBoot():
		return errors.New("this machine boots by BIOS, and the layout has no BIOS boot partition (type EF02)")
	}
	return nil
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
	slices.Sort(names)
	return slices.Compact(names)
}

func (t target) warnings() []string {
	var w []string
	if t.req.Payload.Arch == "amd64" && !t.biosBoot() {
		why := "the layout has no BIOS boot partition"
		if t.table.SectorSize != 512 {
			why = fmt.Sprintf("it has %d-byte sectors", t.table.SectorSize)
		}
		w = append(w, "the disk will boot by UEFI only: "+why)
	}
	if t.esp() == nil {
		w = append(w, "the disk will boot by BIOS only: the layout has no EFI system partition")
	}
	if len(t.facts.HW.NIC) == 0 {
		w = append(w, "this machine has no network card: the installed system has no network configured")
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
