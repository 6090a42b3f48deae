package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
)

// ErrNoDisk is wrapped when no disk, or more than one, matches the selector.
var ErrNoDisk = errors.New("no single disk matches")

// ErrAbsent is wrapped, besides ErrNoDisk, when none does.
var ErrAbsent = errors.New("no disk matches")

type absent struct{ error }

func (a absent) Unwrap() []error { return []error{a.error, ErrAbsent} }

// selectDisk finds the one disk that the selector means.
func selectDisk(sel request.DiskSelector, disks []envscan.Disk) (Disk, error) {
	d, err := selectOne(layout.Disk{}, sel, disks)
	return identity(d), err
}

func matches(sel request.DiskSelector, d envscan.Disk) bool {
	return (sel.Device == "" || sel.Device == "/dev/"+d.Name || slices.Contains(d.Links, sel.Device)) &&
		(sel.Serial == "" || sel.Serial == d.Serial) &&
		(sel.WWN == "" || sel.WWN == d.WWN) &&
		(sel.Size == 0 || sel.Size == d.Size) &&
		(sel.SectorSize == 0 || sel.SectorSize == d.SectorSize) &&
		(sel.BusPath == "" || sel.BusPath == d.Path) &&
		(sel.Table == "" || sel.Table == d.TableGUID)
}

func identity(d envscan.Disk) Disk {
	return Disk{
		Device: "/dev/" + d.Name, Path: d.Path, Serial: d.Serial, WWN: d.WWN,
		Model: d.Model, Size: d.Size, SectorSize: d.SectorSize,
	}
}

// Selector is the one that finds a disk again on the machine where it
// was seen, whatever its name is by then. Without a serial number and a WWN it
// is known by where it is plugged in; the device path is for those that are
// plugged in nowhere.
func Selector(d Disk) request.DiskSelector {
	sel := request.DiskSelector{Serial: d.Serial, WWN: d.WWN, Size: d.Size, SectorSize: d.SectorSize}
	switch {
	case d.Serial != "" || d.WWN != "":
	case d.Path != "":
		sel.BusPath = d.Path
	default:
		sel.Device = d.Device
	}
	return sel
}

// Select finds the disk that a selector means among the facts.
func Select(sel request.DiskSelector, facts envscan.Facts) (Disk, error) {
	return selectDisk(sel, facts.HW.Disk)
}

// SelectDisks finds all disks of a layout: by what the request says, else by
// the layout's own match or device.
func SelectDisks(l layout.Layout, asked map[string]request.DiskSelector, facts envscan.Facts) (map[string]storage.State, error) {
	found := map[string]storage.State{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		if _, ok := l.Disk[name]; !ok {
			errs = append(errs, fmt.Errorf("layout has no disk %q, it has %s", name, strings.Join(slices.Sorted(maps.Keys(l.Disk)), ", ")))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.Disk)) {
		d, err := selectOne(l.Disk[name], asked[name], facts.HW.Disk)
		if err != nil {
			errs = append(errs, fmt.Errorf("disk %q of the layout: %w", name, err))
			continue
		}
		if why := unread(d, facts); why != "" {
			errs = append(errs, fmt.Errorf("disk %q of the layout: what is on %s could not be read: %s", name, identity(d), why))
			continue
		}
		found[name] = state(d)
	}
	return found, errors.Join(errs...)
}

// unread says why it is not known what is on a disk: one that did not answer is
// not an empty one.
func unread(d envscan.Disk, facts envscan.Facts) string {
	fact := "hw.disk[name=" + d.Name + "]"
	for _, g := range facts.Scan.Gaps {
		if g.Fact == fact || g.Fact == fact+".content" {
			return g.Why
		}
	}
	return ""
}

func selectOne(spec layout.Disk, asked request.DiskSelector, disks []envscan.Disk) (envscan.Disk, error) {
	var ok func(envscan.Disk) bool
	what := describe(asked)
	switch {
	case asked != request.DiskSelector{}:
		ok = func(d envscan.Disk) bool { return matches(asked, d) }
	case spec.Match != nil:
		what = "match " + spec.Match.String()
		ok = func(d envscan.Disk) bool { return spec.Match.Matches(properties(d)) }
	default:
		asked = request.DiskSelector{Device: spec.Device}
		what = describe(asked)
		ok = func(d envscan.Disk) bool { return spec.Device != "" && matches(asked, d) }
	}
	var found []envscan.Disk
	for _, d := range disks {
		if ok(d) {
			found = append(found, d)
		}
	}
	if len(found) == 0 {
		return envscan.Disk{}, absent{fmt.Errorf("%w %s: 0 of %d do; this machine has %s", ErrNoDisk, what, len(disks), list(disks))}
	}
	if len(found) > 1 {
		return envscan.Disk{}, fmt.Errorf("%w %s: %d of %d do; this machine has %s", ErrNoDisk, what, len(found), len(disks), list(disks))
	}
	return found[0], nil
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
	add("bus path", sel.BusPath)
	add("table", sel.Table)
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

// state is a disk with what the facts say is on it.
func state(d envscan.Disk) storage.State {
	s := storage.State{Disk: identity(d), Table: d.Table, Found: found(0, d.Content)}
	for _, p := range d.Partition {
		s.Found = append(s.Found, found(p.Number, p.Content)...)
	}
	return s
}

func found(partition int, list []probe.Result) []storage.Found {
	var all []storage.Found
	for _, r := range list {
		all = append(all, storage.Found{Partition: partition, Type: r.Type, UUID: r.UUID, Label: r.Label, Size: r.Size, MinSize: r.MinSize})
	}
	return all
}

// properties are what a layout's match looks at.
func properties(d envscan.Disk) layout.Properties {
	return layout.Properties{
		Serial: d.Serial, WWN: d.WWN, Model: d.Model, Size: d.Size, Transport: d.Transport,
		Rotational: d.Rotational, Removable: d.Removable, Table: d.TableGUID,
	}
}
