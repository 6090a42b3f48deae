package reinstall

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
)

// leastVariables is what the firmware has to have free: a boot entry, BootNext and
// BootOrder, twice, as it writes a new one before it frees the old one.
const leastVariables = 4 << 10

// refuse is everything that stands in the way whatever the room and the way.
func (t *target) refuse() error {
	var errs []error
	no := func(todo, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s", fmt.Errorf(format, args...), todo))
	}
	if a := t.Running.Attempt; a != "" {
		no("`vic status` tells of it, `vic undo --all` takes it back", "an attempt is under way already (%s)", a)
	}
	if c := t.Facts.OS.Container; c != "" {
		no("run vic on the machine itself", "this is a container (%s)", c)
	}
	t.refuseFirmware(no)
	t.refuseFilesystems(no)
	t.refuseStack(no)
	switch n := t.disk.SectorSize; {
	case n != 512 && n != 4096:
		no("install it from another medium", "%s has sectors of %d bytes: only those of 512 and 4096 are known", t.disk.Name, n)
	case n != 512 && t.bios():
		no("install it from another medium, by UEFI", "%s has sectors of %d bytes, and a BIOS starts nothing from those", t.disk.Name, n)
	}
	if t.table.Lost != "" || len(t.disk.TableDamage) > 0 {
		no("repair it first", "the partition table of %s is damaged: %s", t.disk.Name, strings.Join(append(t.disk.TableDamage, t.table.Lost), "; "))
	}
	if c, ok := t.Request.Layout.Disk[t.Disk]; ok && !isGPT(c) {
		no("use a layout of the type gpt", "the layout has no GPT on disk %q, which the stage needs", t.Disk)
	}
	return errors.Join(errs...)
}

func isGPT(d layout.Disk) bool {
	if d.Content == nil {
		return false
	}
	_, ok := d.Content.Spec.(*layout.GPT)
	return ok
}

type refusal func(todo, format string, args ...any)

func (t *target) refuseFirmware(no refusal) {
	f := t.Facts.HW.Firmware
	switch f.Type {
	case "bios":
		if arch := t.Facts.HW.Arch; arch != "amd64" {
			no("install it from another medium", "this machine boots without UEFI, and is %s", arch)
		}
		return
	case "uefi":
	default:
		no("flash its card or disk in another machine", "this machine boots by %s: only UEFI and BIOS are known", or(f.Type, "unknown firmware"))
		return
	}
	if t.table.Kind == layout.KindMBR {
		no("install it from another medium", "this machine boots by UEFI, and %s has an MBR", t.disk.Name)
	}
	switch {
	case f.VarsWrite == nil:
		no("mount efivarfs at /sys/firmware/efi/efivars", "the firmware's variables cannot be read")
	case !*f.VarsWrite:
		no("`mount -o remount,rw /sys/firmware/efi/efivars`", "efivarfs is mounted read-only: no boot entry can be made")
	case t.Running.VariableRoom >= 0 && t.Running.VariableRoom < leastVariables:
		no("remove old boot entries with efibootmgr(8), or /sys/firmware/efi/efivars/dump-*", "the firmware has %d bytes free for variables, and boot entries need %d", t.Running.VariableRoom, leastVariables)
	}
}

func (t *target) refuseFilesystems(no refusal) {
	for _, f := range t.Running.Filesystems {
		if f.Errors != "" {
			no("have it checked: fsck at the next boot", "the file system at %s has errors: %s", f.Mountpoint, f.Errors)
		}
	}
	switch {
	case t.root.Mountpoint == "":
		no("name the disk that the system runs from", "the root file system is not on %s", t.disk.Name)
	case t.root.ReadOnly:
		no("`mount -o remount,rw /`", "the root file system is read-only: what vic changes could not be recorded")
	}
}

// refuseStack names what reaches beyond the disk: the half of it would go.
func (t *target) refuseStack(no refusal) {
	for _, v := range t.Facts.HW.Volume {
		others := t.beside(v)
		if len(others) > 0 {
			no("take it apart first, or install it from another medium", "%s (%s) is on %s and on %s too", or(v.Title, v.Name), v.Kind, t.disk.Name, strings.Join(others, ", "))
		}
	}
	for _, f := range t.Running.Filesystems {
		if f.Devices > 1 {
			no("take it apart first, or install it from another medium", "the btrfs at %s is on %d devices", f.Mountpoint, f.Devices)
		}
	}
}

// beside are the disks other than this one that a volume stands on, when it stands
// on this one too.
func (t *target) beside(v envscan.Volume) []string {
	var here bool
	var others []string
	for _, from := range v.From {
		disk, ok := t.diskOf(from)
		switch {
		case ok && disk == t.disk.Name:
			here = true
		case ok:
			others = append(others, disk)
		}
	}
	if !here {
		return nil
	}
	return others
}

// diskOf is the disk that a kernel name is, or is a partition of.
func (t *target) diskOf(name string) (string, bool) {
	for _, d := range t.Facts.HW.Disk {
		if d.Name == name || slices.ContainsFunc(d.Partition, func(p envscan.Partition) bool { return p.Name == name }) {
			return d.Name, true
		}
	}
	return "", false
}

// warnings are what does not stand in the way.
func (t *target) warnings() []string {
	var list []string
	for name, b := range t.Facts.State.Battery {
		if b.Status == "discharging" {
			list = append(list, fmt.Sprintf("the machine runs on its battery (%s: %d %%): connect it to power", name, b.Percent))
		}
	}
	slices.Sort(list)
	for _, v := range t.Facts.HW.Volume {
		if v.Kind == "crypt" && slices.ContainsFunc(v.From, func(n string) bool { d, ok := t.diskOf(n); return ok && d == t.disk.Name }) {
			list = append(list, fmt.Sprintf("%s is encrypted, and the stage is not: it holds the SSH host keys and secrets of this machine until it is overwritten", or(v.Title, v.Name)))
		}
	}
	if t.disk.SMART != nil && t.disk.SMART.Verdict == "failing" {
		list = append(list, fmt.Sprintf("%s says that it is failing: %s", t.disk.Name, strings.Join(t.disk.SMART.Reasons, ", ")))
	}
	return list
}
