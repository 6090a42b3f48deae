// Package boot has the kinds of changes that decide what starts next: a boot
// entry of the firmware with its place in BootOrder, a variable of the firmware
// (BootNext, systemd-boot's one-shot entry), and a variable in GRUB's
// environment block.
//
// One-shot variables are deleted by who acts on them: when one is gone, all is
// as before.
package boot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/registration"
)

// The kinds, and their versions.
const (
	EntryKind    = "efi-boot-entry"
	VariableKind = "efi-variable"
	GrubKind     = "grub-variable"

	Version = 1
)

// The places that an Entry can have in BootOrder.
const (
	First = "first"
	Last  = "last"
	None  = "none" // only BootNext starts it
)

// Entry is a boot entry of the firmware. It never takes the place of one that
// is there.
type Entry struct {
	Label     string        `json:"label"`
	Partition efi.HardDrive `json:"partition"`
	Path      string        `json:"path"` // \EFI\BOOT\BOOTX64.EFI
	Place     string        `json:"place"`
	// Floating: whoever makes it gives it a number. It is found by what it starts.
	Floating bool `json:"floating,omitempty"`
	// Number of the entry, 3 for Boot0003, and its bytes.
	Number uint16 `json:"number"`
	Option []byte `json:"option"`
	// Order is BootOrder as it was; nil: there was none.
	Order []uint16 `json:"order"`
}

var errNoVariables = errors.New("the firmware has no variables (not started by UEFI, or efivarfs is not mounted)")

func bootVariable(name string) efi.VariableName {
	return efi.VariableName{Name: name, Vendor: efi.Global}
}

const bootAttributes = efi.NonVolatile | efi.BootServiceAccess | efi.RuntimeAccess

func (e *Entry) name() efi.VariableName { return bootVariable(fmt.Sprintf("Boot%04X", e.Number)) }

// Kind implements registration.Change.
func (e *Entry) Kind() string { return EntryKind }

func (e *Entry) String() string {
	in := e.Place + " in BootOrder"
	if e.Place == None {
		in = "not in BootOrder"
	}
	if e.Floating {
		return fmt.Sprintf("boot entry %q added, %s", e.Label, in)
	}
	return fmt.Sprintf("boot entry Boot%04X %q added, %s", e.Number, e.Label, in)
}

// Prepare implements registration.Change.
func (e *Entry) Prepare(_ context.Context, env *registration.Env) (err error) {
	if env.Variables == nil {
		return errNoVariables
	}
	if e.Place != First && e.Place != Last && e.Place != None {
		return fmt.Errorf("place %q is neither %s, %s nor %s", e.Place, First, Last, None)
	}
	file, err := efi.FileNode(e.Path)
	if err != nil {
		return err
	}
	option := efi.LoadOption{Attributes: efi.LoadActive, Description: e.Label, Path: efi.DevicePath{e.Partition.Node(), file}}
	if e.Option, err = option.Encode(); err != nil {
		return err
	}
	if e.Order, err = efi.BootOrder(env.Variables); err != nil {
		return err
	}
	if e.Number, err = freeNumber(env.Variables, e.Order); err != nil || !e.Floating {
		return err
	}
	there, err := e.find(env.Variables)
	if err == nil && there {
		err = fmt.Errorf("there is a boot entry Boot%04X %q already", e.Number, e.Label)
	}
	return err
}

// find looks for a floating entry, whose number is known then.
func (e *Entry) find(v efi.Variables) (there bool, err error) {
	list, err := efi.ListBootEntries(v)
	if err != nil {
		return false, err
	}
	for _, b := range list {
		data, _, err := v.Get(bootVariable(fmt.Sprintf("Boot%04X", b.Number)))
		if err != nil {
			return false, err
		}
		if e.is(data) {
			e.Number = b.Number
			return true, nil
		}
	}
	return false, nil
}

// freeNumber is the lowest that no entry has, and that BootOrder does not name:
// firmware leaves numbers of entries that are gone.
func freeNumber(v efi.Variables, order []uint16) (uint16, error) {
	entries, err := efi.ListBootEntries(v)
	if err != nil {
		return 0, err
	}
	for n := range 1 << 16 {
		taken := slices.ContainsFunc(entries, func(b efi.BootEntry) bool { return b.Number == uint16(n) })
		if !taken && !slices.Contains(order, uint16(n)) {
			return uint16(n), nil
		}
	}
	return 0, errors.New("all 65536 boot entries are in use")
}

// after is the boot order with the entry.
func (e *Entry) after() []uint16 {
	switch e.Place {
	case First:
		return append([]uint16{e.Number}, e.Order...)
	case Last:
		return append(slices.Clone(e.Order), e.Number)
	}
	return e.Order
}

// Apply implements registration.Change.
func (e *Entry) Apply(_ context.Context, env *registration.Env) error {
	env.Note("set " + e.name().Name)
	if err := env.Variables.Set(e.name(), e.Option, bootAttributes); err != nil {
		return err
	}
	if e.Place == None {
		return nil
	}
	env.Note("set BootOrder")
	return efi.SetBootOrder(env.Variables, e.after())
}

// Check implements registration.Change.
func (e *Entry) Check(_ context.Context, env *registration.Env) (registration.Standing, error) {
	if env.Variables == nil {
		return registration.Standing{}, errNoVariables
	}
	if e.Floating {
		if there, err := e.find(env.Variables); err != nil || !there {
			return registration.Standing{Is: registration.Before}, err
		}
	}
	data, _, err := env.Variables.Get(e.name())
	there := err == nil
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return registration.Standing{}, err
	}
	order, err := efi.BootOrder(env.Variables)
	if err != nil {
		return registration.Standing{}, err
	}
	named := slices.Contains(order, e.Number)
	switch {
	case there && !e.is(data):
		return registration.Standingf(registration.Changed, "Boot%04X is another entry now%s", e.Number, labelOf(data)), nil
	case there && e.Place != None && !named:
		return registration.Standingf(registration.Partly, "it is not in BootOrder"), nil
	case there:
		return registration.Standing{Is: registration.Stands}, nil
	case named:
		return registration.Standingf(registration.Partly, "BootOrder names it, and it is not there"), nil
	}
	return registration.Standing{Is: registration.Before}, nil
}

// is says whether a load option starts what the entry starts: firmware may
// change its attributes, and add data.
func (e *Entry) is(data []byte) bool {
	if bytes.Equal(data, e.Option) {
		return true
	}
	got, err := efi.ParseLoadOption(data)
	want, err2 := efi.ParseLoadOption(e.Option)
	if err != nil || err2 != nil {
		return false
	}
	a, err := got.Path.Encode()
	b, err2 := want.Path.Encode()
	return err == nil && err2 == nil && got.Description == want.Description && bytes.Equal(a, b)
}

func labelOf(data []byte) string {
	o, err := efi.ParseLoadOption(data)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (%q)", o.Description)
}

// Revert implements registration.Change. The order goes first, so that it never
// names an entry that is not there.
func (e *Entry) Revert(_ context.Context, env *registration.Env) error {
	v := env.Variables
	if e.Floating {
		if there, err := e.find(v); err != nil || !there {
			return err
		}
	}
	order, err := efi.BootOrder(v)
	if err != nil {
		return err
	}
	rest := slices.DeleteFunc(slices.Clone(order), func(n uint16) bool { return n == e.Number })
	if slices.Equal(order, e.after()) {
		rest = e.Order
	}
	if !slices.Equal(order, rest) {
		env.Note("set BootOrder")
		if err := efi.SetBootOrder(v, rest); err != nil {
			return err
		}
	}
	next, ok, err := efi.BootNext(v)
	if err != nil {
		return err
	}
	if ok && next == e.Number {
		env.Note("delete BootNext")
		if err := v.Delete(bootVariable("BootNext")); err != nil {
			return err
		}
	}
	env.Note("delete " + e.name().Name)
	if err := v.Delete(e.name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// number encodes that of a boot entry.
func number(n uint16) []byte { return binary.LittleEndian.AppendUint16(nil, n) }
