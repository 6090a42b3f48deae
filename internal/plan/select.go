package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/request"
)

// ErrNoDisk is wrapped when no disk, or more than one, matches the selector.
var ErrNoDisk = errors.New("no single disk matches")

// selectDisk finds the one disk that the selector means.
func selectDisk(sel request.DiskSelector, disks []envscan.Disk) (Disk, error) {
	var found []envscan.Disk
	for _, d := range disks {
		if matches(sel, d) {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		return Disk{}, fmt.Errorf("%w %s: %d of %d do; this machine has %s",
			ErrNoDisk, describe(sel), len(found), len(disks), list(disks))
	}
	return identity(found[0]), nil
}

func matches(sel request.DiskSelector, d envscan.Disk) bool {
	return (sel.Device == "" || sel.Device == "/dev/"+d.Name || slices.Contains(d.Links, sel.Device)) &&
		(sel.Serial == "" || sel.Serial == d.Serial) &&
		(sel.WWN == "" || sel.WWN == d.WWN) &&
		(sel.Size == 0 || sel.Size == d.Size) &&
		(sel.SectorSize == 0 || sel.SectorSize == d.SectorSize)
}

func identity(d envscan.Disk) Disk {
	return Disk{
		Device: "/dev/" + d.Name, Path: d.Path, Serial: d.Serial, WWN: d.WWN,
		Model: d.Model, Size: d.Size, SectorSize: d.SectorSize,
	}
}

// Selector is the selector that finds this disk again on the machine where it
// was seen, whatever its name is by then. The device path is left out as soon
// as there is a serial number or a WWN.
func (d Disk) Selector() request.DiskSelector {
	sel := request.DiskSelector{Serial: d.Serial, WWN: d.WWN, Size: d.Size, SectorSize: d.SectorSize}
	if d.Serial == "" && d.WWN == "" {
		sel.Device = d.Device
	}
	return sel
}

// Select finds the disk that a selector means among the facts.
func Select(sel request.DiskSelector, facts envscan.Facts) (Disk, error) {
	return selectDisk(sel, facts.HW.Disk)
}

func describe(sel request.DiskSelector) string {
	var w []string
	add := func(name, value string) {
		if value != "" {
			w = append(w, name+" "+value)
		}
	}
	add("device", sel.Device)
	add("serial", sel.Serial)
	add("WWN", sel.WWN)
	if sel.Size != 0 {
		add("size", Bytes(sel.Size))
	}
	if sel.SectorSize != 0 {
		add("sector size", fmt.Sprint(sel.SectorSize))
	}
	if len(w) == 0 {
		return "(no disk was named)"
	}
	return strings.Join(w, ", ")
}

func list(disks []envscan.Disk) string {
	if len(disks) == 0 {
		return "no disk"
	}
	var w []string
	for _, d := range disks {
		w = append(w, identity(d).String())
	}
	return strings.Join(w, ", ")
}
