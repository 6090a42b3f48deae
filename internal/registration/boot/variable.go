package boot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"unicode/utf16"

	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/registration"
)

// Variable is a variable of the firmware that vic sets.
type Variable struct {
	Name   string `json:"name"`
	Vendor string `json:"vendor"` // a GUID
	// Data and Attributes are what it is set to.
	Data       []byte         `json:"data"`
	Attributes efi.Attributes `json:"attributes"`
	// OneShot: who acts on it deletes it.
	OneShot bool `json:"oneShot,omitempty"`
	// Before is what it was; nil: it was not there.
	Before *Value `json:"before,omitempty"`
	// Meaning is for people: "Boot0004".
	Meaning string `json:"meaning,omitempty"`
}

// Value of a variable.
type Value struct {
	Data       []byte         `json:"data"`
	Attributes efi.Attributes `json:"attributes"`
}

// BootNext has the firmware start an entry once.
func BootNext(entry uint16) *Variable {
	return &Variable{
		Name: "BootNext", Vendor: efi.Global.String(), Data: number(entry), Attributes: bootAttributes,
		OneShot: true, Meaning: fmt.Sprintf("Boot%04X", entry),
	}
}

// loaderVendor is that of systemd-boot's variables: "Boot Loader Interface",
// systemd.io/BOOT_LOADER_INTERFACE.
const loaderVendor = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

// LoaderOneShot has systemd-boot start one of its entries once: the ID is the
// name of a file in /loader/entries or /EFI/Linux, such as vic-stage.conf.
func LoaderOneShot(id string) *Variable {
	var data []byte
	for _, u := range append(utf16.Encode([]rune(id)), 0) {
		data = binary.LittleEndian.AppendUint16(data, u)
	}
	return &Variable{
		Name: "LoaderEntryOneShot", Vendor: loaderVendor, Data: data, Attributes: bootAttributes,
		OneShot: true, Meaning: id,
	}
}

// Kind implements registration.Change.
func (v *Variable) Kind() string { return VariableKind }

func (v *Variable) String() string {
	if v.Meaning == "" {
		return fmt.Sprintf("firmware variable %s set", v.Name)
	}
	return fmt.Sprintf("firmware variable %s set to %s", v.Name, v.Meaning)
}

func (v *Variable) name() (efi.VariableName, error) {
	g, err := efi.ParseGUID(v.Vendor)
	return efi.VariableName{Name: v.Name, Vendor: g}, err
}

// get reads the variable; nil: it is not there.
func (v *Variable) get(env *registration.Env) (*Value, efi.VariableName, error) {
	name, err := v.name()
	if err != nil {
		return nil, name, err
	}
	if env.Variables == nil {
		return nil, name, errNoVariables
	}
	data, attributes, err := env.Variables.Get(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, name, nil
	}
	return &Value{data, attributes}, name, err
}

func (v *Value) equal(o *Value) bool {
	if v == nil || o == nil {
		return v == o
	}
	return bytes.Equal(v.Data, o.Data) && v.Attributes == o.Attributes
}

// Prepare implements registration.Change.
func (v *Variable) Prepare(_ context.Context, env *registration.Env) (err error) {
	if len(v.Data) == 0 {
		return errors.New("no data, which would delete it")
	}
	v.Before, _, err = v.get(env)
	return err
}

// Apply implements registration.Change.
func (v *Variable) Apply(_ context.Context, env *registration.Env) error {
	name, err := v.name()
	if err != nil {
		return err
	}
	env.Note("set " + v.Name)
	return env.Variables.Set(name, v.Data, v.Attributes)
}

// Check implements registration.Change.
func (v *Variable) Check(_ context.Context, env *registration.Env) (registration.Standing, error) {
	now, _, err := v.get(env)
	switch {
	case err != nil:
		return registration.Standing{}, err
	case now.equal(v.Before):
		return registration.Standing{Is: registration.Before}, nil
	case now.equal(&Value{v.Data, v.Attributes}):
		return registration.Standing{Is: registration.Stands}, nil
	case now == nil && v.OneShot:
		return registration.Standingf(registration.Before, "it has done its work"), nil
	case now == nil:
		return registration.Standingf(registration.Changed, "somebody deleted it"), nil
	}
	return registration.Standingf(registration.Changed, "somebody set it to %x", now.Data), nil
}

// Revert implements registration.Change.
func (v *Variable) Revert(_ context.Context, env *registration.Env) error {
	name, err := v.name()
	if err != nil {
		return err
	}
	env.Note("restore " + v.Name)
	if b := v.Before; b != nil {
		if err := env.Variables.Set(name, b.Data, b.Attributes); err == nil || len(b.Data) > 0 {
			return err
		}
	}
	return env.Variables.Delete(name)
}
