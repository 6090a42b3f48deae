package reinstall

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/tool"
)

// booter is how a firmware is told what to start. What prepare and complete do
// may be cut off anywhere; commit and switchOver end in one write, before which
// the machine boots as before. All can be done again.
type booter interface {
	// tools are the programs of the RAM system, kept from what is not theirs.
	tools(disk plan.Disk) tool.Runner
	// prepare makes what the stage is started by; commit makes it the default.
	prepare(ctx context.Context, r *run) error
	commit(ctx context.Context, r *run, p prepared) error
	// collect takes what complete needs from the new system, which is mounted at
	// root.
	collect(root string) error
	// complete makes what the new system is started by, and returns what
	// switchOver needs, in this run or another.
	complete(ctx context.Context, r *run, p prepared) (data []byte, err error)
	switchOver(ctx context.Context, r *run, p prepared, data []byte) error
	// hold makes the system that runs now, before there is a stage, the default;
	// closed is false when this firmware has no way to. release takes it back.
	hold() (closed bool, err error)
	release() error
}

func newBooter(c Config) (booter, error) {
	if c.Document.Firmware == "bios" {
		return &bios{inner: c.Tools}, nil
	}
	if c.Variables == nil {
		return nil, errors.New("this stage is for UEFI, and there are no EFI variables: was the machine started by BIOS?")
	}
	u := uefi{vars: c.Variables, inner: c.Tools}
	if c.Document.Hop != nil {
		u.loader = c.Document.Hop.Loader
	}
	return u, nil
}

// uefi boots by the order of the firmware's entries.
type uefi struct {
	vars   efi.Variables
	inner  tool.Runner
	loader string // see stage.Hop
}

func (u uefi) tools(plan.Disk) tool.Runner { return u.inner }

// stageEntry is the boot entry of the stage.
func (r *run) stageEntry() (efi.Entry, error) {
	p := r.Document.Stage
	guid, err := efi.ParseGUID(p.GUID.String())
	if p.GUID == uuid.Nil {
		err = errors.New("the stage's partition has no GUID, by which UEFI would find it")
	}
	unit := uint64(r.disk.SectorSize)
	name := stage.UKI(runtime.GOARCH)
	if _, ok := r.Document.File(name); !ok {
		err = errors.Join(err, fmt.Errorf("the stage has no %s", name))
	}
	return efi.Entry{
		Label:     stage.EntryLabel,
		Partition: efi.HardDrive{Number: uint32(p.Number), Start: uint64(p.Offset) / unit, Size: uint64(p.Size) / unit, Partition: guid},
		Path:      strings.ReplaceAll(name, "/", `\`),
	}, err
}

// prepare makes the stage's boot entry where the firmware has lost it. Its place
// in the order stays, or is the last.
func (u uefi) prepare(_ context.Context, r *run) error {
	e, err := r.stageEntry()
	if err != nil {
		return err
	}
	_, err = efi.AddBootEntry(u.vars, e, false)
	return err
}

// commit puts the stage's entry first: one variable is set. Where the stage has no
// partition yet, the firmware passes that entry over until the table is written.
func (u uefi) commit(ctx context.Context, r *run, p prepared) error {
	e, err := r.stageEntry()
	if err != nil {
		return err
	}
	if err := first(u.vars, e); err != nil || r.Document.Extent == nil {
		return err
	}
	return p.disks.become(ctx)
}

// first puts an entry first, and sees that the firmware has taken it.
func first(v efi.Variables, e efi.Entry) error {
	num, err := efi.AddBootEntry(v, e, true)
	if err != nil {
		return err
	}
	order, err := efi.BootOrder(v)
	if err == nil && (len(order) == 0 || order[0] != num) {
		err = fmt.Errorf("the firmware does not keep Boot%04X first in its boot order", num)
	}
	return err
}

func (uefi) collect(string) error { return nil }

func (uefi) complete(context.Context, *run, prepared) ([]byte, error) { return nil, nil }

// switchOver puts the new system's entry first. The stage's stays behind it until
// the new system removes it.
func (u uefi) switchOver(_ context.Context, _ *run, p prepared, _ []byte) error {
	if len(p.entries) == 0 {
		return errors.New("the plan has no boot entry")
	}
	for _, a := range p.entries {
		guid, err := efi.ParseGUID(a.Partition.GUID.String())
		if err != nil {
			return err
		}
		part := a.Partition
		err = first(u.vars, efi.Entry{Label: a.Label, Path: a.Loader, Partition: efi.HardDrive{
			Number: uint32(part.Number), Start: part.FirstLBA, Size: part.LastLBA - part.FirstLBA + 1, Partition: guid,
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// current is the entry that this boot came from, if that starts the RAM system
// without a boot loader in between.
func (u uefi) current() (num uint16, ok bool, err error) {
	num, ok, err = efi.BootCurrent(u.vars)
	if err != nil || !ok || u.loader == "" {
		return num, false, err
	}
	list, err := efi.ListBootEntries(u.vars)
	if err != nil {
		return num, false, err
	}
	for _, b := range list {
		if b.Number != num || b.Err != nil || len(b.Path) == 0 {
			continue
		}
		file, isFile := b.Path[len(b.Path)-1].File()
		return num, isFile && strings.EqualFold(file, u.loader), nil
	}
	return num, false, nil
}

// hold puts that entry first.
func (u uefi) hold() (closed bool, err error) {
	num, ok, err := u.current()
	if err != nil || !ok {
		return false, err
	}
	order, err := efi.BootOrder(u.vars)
	if err != nil {
		return false, err
	}
	rest := slices.DeleteFunc(order, func(n uint16) bool { return n == num })
	return true, efi.SetBootOrder(u.vars, append([]uint16{num}, rest...))
}

// release puts it behind all others.
func (u uefi) release() error {
	num, ok, err := u.current()
	if err != nil || !ok {
		return err
	}
	order, err := efi.BootOrder(u.vars)
	if err != nil || len(order) < 2 || order[0] != num {
		return err
	}
	return efi.SetBootOrder(u.vars, append(order[1:], num))
}
