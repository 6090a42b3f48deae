package storage

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	plan "github.com/victorinix/vic/internal/plan/storage"
)

// Exit codes of a run that did not succeed; see the design.
const (
	ExitRefused = 3 // refused before anything was touched
	ExitIntact  = 4 // failed, and nothing was written to a disk
	ExitPartial = 5 // failed after the first write
)

// refusal is an error that says that this machine is not what the plan was
// made for, as opposed to something that broke.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// Refuse makes an error for which ExitCode is ExitRefused.
func Refuse(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// ExitCode is the exit code of a run that ended with err; written says whether
// something may have been written to a disk before.
func ExitCode(err error, written bool) int {
	var no refusal
	switch {
	case written:
		return ExitPartial
	case errors.As(err, &no):
		return ExitRefused
	}
	return ExitIntact
}

// Describe names a disk for people: "/dev/vda (serial QM0001)".
func Describe(d plan.Disk) string {
	switch {
	case d.Serial != "":
		return d.Device + " (serial " + d.Serial + ")"
	case d.WWN != "":
		return d.Device + " (WWN " + d.WWN + ")"
	case d.Path != "":
		return d.Device + " (at " + d.Path + ")"
	}
	return d.Device
}

// SameDisk compares serial and WWN where the disk has one, else its place on
// the bus. It does not compare sizes.
func SameDisk(want, got plan.Disk) bool {
	switch {
	case want.Serial != "" && want.WWN != "":
		return want.Serial == got.Serial && want.WWN == got.WWN
	case want.Serial != "":
		return want.Serial == got.Serial
	case want.WWN != "":
		return want.WWN == got.WWN
	}
	return want.Path == got.Path
}

// FindDisk finds a disk again among those that are there now; size and sector
// size have to agree in every case.
func FindDisk(want plan.Disk, disks []plan.Disk) (plan.Disk, error) {
	same := slices.DeleteFunc(slices.Clone(disks), func(d plan.Disk) bool { return !SameDisk(want, d) })
	switch len(same) {
	case 1:
	case 0:
		return plan.Disk{}, Refuse("find disk %s: not there; there is %s", Describe(want), list(disks))
	default:
		return plan.Disk{}, Refuse("find disk %s: there are several: %s", Describe(want), list(same))
	}
	got := same[0]
	if got.Size != want.Size || got.SectorSize != want.SectorSize {
		return plan.Disk{}, Refuse("disk %s: expected %d bytes in sectors of %d, found %d bytes in sectors of %d",
			Describe(got), want.Size, want.SectorSize, got.Size, got.SectorSize)
	}
	return got, nil
}

func list(disks []plan.Disk) string {
	if len(disks) == 0 {
		return "no disk at all"
	}
	names := make([]string, len(disks))
	for i, d := range disks {
		names[i] = Describe(d)
	}
	return strings.Join(names, ", ")
}

// disk finds a disk of the layout by its identity.
func (e *Executor) disk(name string) (plan.Disk, error) {
	want, ok := e.Disks[name]
	if !ok {
		return plan.Disk{}, fmt.Errorf("the plan names a disk %q and does not say which one that is", name)
	}
	return e.findDisk(want)
}

// findDisk reads the identities of all disks once in a step, and again before the
// step writes (see writable), and after.
func (e *Executor) findDisk(want plan.Disk) (plan.Disk, error) {
	if e.seen == nil {
		var err error
		if e.seen, err = e.Machine.Disks(); err != nil {
			return plan.Disk{}, fmt.Errorf("find disk %s: %w", Describe(want), err)
		}
	}
	return FindDisk(want, e.seen)
}

// writable finds a disk that is about to be written to, by the identities that the
// disks have now.
func (e *Executor) writable(want plan.Disk) (plan.Disk, error) {
	e.seen = nil
	d, err := e.findDisk(want)
	if err != nil {
		return d, err
	}
	ro, err := e.Machine.ReadOnly(d.Device)
	if err != nil {
		return d, fmt.Errorf("see if %s is writable: %w", Describe(d), err)
	}
	if ro {
		return d, Refuse("disk %s is read-only", Describe(d))
	}
	return d, nil
}
