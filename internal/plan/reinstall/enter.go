package reinstall

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan"
)

// enter chooses the way for a plan that has its room.
func (t *target) enter(p *Plan) error {
	var passed []string
	var causes []error
	for _, w := range waysFor(p.Room.Kind) {
		if t.Way != "" && t.Way != w {
			continue
		}
		esp, err := t.by(w, p.Room.Kind == Files || p.Room.Kind == Extent)
		if err == nil {
			p.Enter = EnterPlan{Way: w, ESP: esp, Passed: passed}
			if w == GRUB && p.Room.Kind == Extent { // which reads no piece of a disk that is in no partition
				p.Room.Folder = path.Join(strings.TrimSuffix(p.Room.File, ".img"), t.ID.String())
			}
			return nil
		}
		causes = append(causes, fmt.Errorf("%s: %w", w, err))
		passed = append(passed, fmt.Sprintf("%s: %s", w, oneLine(err)))
	}
	return fmt.Errorf("no way into the RAM system: %w", errors.Join(causes...))
}

// waysFor are the ways in the order of their merits. When the RAM system has to shrink
// a file system, a boot entry of the firmware comes first: a power cut then leads back
// into the RAM system.
func waysFor(room Room) []Way {
	if room != Files {
		return ways
	}
	rest := slices.DeleteFunc(slices.Clone(ways), func(w Way) bool { return w == BootNext })
	return append([]Way{BootNext}, rest...)
}

// by says whether a way works, and which ESP holds the RAM system then. hop: there
// is no partition of the stage yet to start it from.
func (t *target) by(w Way, hop bool) (esp string, err error) {
	switch w {
	case Kexec:
		return "", t.kexec
	case BootNext:
		return t.bootNext(hop)
	case SystemdBoot:
		return t.systemdBoot()
	case GRUB:
		return "", t.grub()
	}
	return "", fmt.Errorf("there is no such way")
}

// unsigned: with Secure Boot, no firmware starts what nobody has signed for it.
func (t *target) unsigned() error {
	if on := t.Facts.HW.Firmware.SecureBoot; on != nil && *on {
		return errors.New("the firmware has Secure Boot on, and the RAM system is not signed: turn it off in the firmware")
	}
	return nil
}

func (t *target) bootNext(hop bool) (string, error) {
	if t.bios() {
		return "", errors.New("the machine boots by BIOS")
	}
	if err := t.unsigned(); err != nil || !hop {
		return "", err
	}
	return t.espRoom()
}

// systemdBoot: it starts nothing but what is on the ESP that it came from.
func (t *target) systemdBoot() (string, error) {
	if !strings.HasPrefix(strings.ToLower(t.Facts.OS.Loader), "systemd-boot") {
		return "", fmt.Errorf("this machine was started by %s", or(t.Facts.OS.Loader, "another boot loader"))
	}
	if err := t.unsigned(); err != nil {
		return "", err
	}
	return t.espRoom()
}

// espRoom finds the ESP that the RAM system fits on, as an EFI executable.
func (t *target) espRoom() (string, error) {
	need := t.Sizes.Kernel + t.Sizes.Initrd + mib
	var tight []string
	for _, f := range t.Running.Filesystems {
		if f.Type != "vfat" || !t.isESP(f.Device) || f.ReadOnly {
			continue
		}
		if f.Free >= need {
			return f.Mountpoint, nil
		}
		tight = append(tight, fmt.Sprintf("%s has %s free, and the RAM system is %s", f.Mountpoint, plan.Bytes(f.Free), plan.Bytes(need)))
	}
	if len(tight) == 0 {
		return "", errors.New("no EFI system partition is mounted for writing: mount it at /boot/efi")
	}
	return "", errors.New(strings.Join(tight, "; "))
}

func (t *target) isESP(device string) bool {
	for _, p := range t.disk.Partition {
		if p.Name == device {
			return slices.ContainsFunc(t.table.Entries, func(e layout.Entry) bool { return e.Number == p.Number && e.Type == layout.TypeESP })
		}
	}
	return false
}

// grubWrites are the file systems in which GRUB can clear next_entry: it writes
// blocks of a file in place, and refuses where these are copied on write, have
// checksums, or are on a volume (grub-core/commands/loadenv.c).
var grubWrites = []string{"ext2", "ext3", "ext4", "vfat", "xfs"}

func (t *target) grub() error {
	g := t.Running.GRUB
	if g == nil {
		return errors.New("there is no GRUB on this system")
	}
	if err := t.unsigned(); err != nil {
		return err
	}
	if !g.OneShot {
		return fmt.Errorf("GRUB's configuration is not one that starts an entry once: %s", g.Why)
	}
	i := slices.IndexFunc(t.Running.Filesystems, func(f Filesystem) bool { return f.Mountpoint == g.Mountpoint })
	switch {
	case i < 0:
		return fmt.Errorf("%s is not on this disk", g.Folder)
	case !slices.Contains(grubWrites, t.Running.Filesystems[i].Type):
		return fmt.Errorf("GRUB cannot write to %s, where %s is: it would start the entry again and again", t.Running.Filesystems[i].Type, g.Folder)
	case volume(t.Facts, t.Running.Filesystems[i].Device) != nil:
		return fmt.Errorf("GRUB cannot write to a volume (%s), where %s is: it would start the entry again and again", volume(t.Facts, t.Running.Filesystems[i].Device).Kind, g.Folder)
	}
	return nil
}

// volume is the one of that kernel name; nil: it is a partition.
func volume(f envscan.Facts, name string) *envscan.Volume {
	for i, v := range f.HW.Volume {
		if v.Name == name {
			return &f.HW.Volume[i]
		}
	}
	return nil
}
