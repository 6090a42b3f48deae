package efi

import (
	"fmt"
	"io/fs"
)

// Attributes of an EFI variable (UEFI 2.10 §8.2).
type Attributes uint32

// The attributes that boot entries have.
const (
	NonVolatile       Attributes = 1 << 0
	BootServiceAccess Attributes = 1 << 1
	RuntimeAccess     Attributes = 1 << 2
)

const bootAttributes = NonVolatile | BootServiceAccess | RuntimeAccess

// VariableName names a variable: names are unique for each vendor.
type VariableName struct {
	Name   string
	Vendor GUID
}

func (n VariableName) String() string { return n.Name + "-" + n.Vendor.String() }

// Variables is the firmware's variable store.
type Variables interface {
	// Get returns an error that is fs.ErrNotExist when there is no variable.
	Get(n VariableName) ([]byte, Attributes, error)
	// Set creates or replaces a variable. Empty data is an error: to the
	// firmware it would mean Delete.
	Set(n VariableName, data []byte, a Attributes) error
	// Delete returns an error that is fs.ErrNotExist when there is no variable.
	Delete(n VariableName) error
	List() ([]VariableName, error)
}

// MapVariables are variables in memory: for plans that touch nothing, and for
// tests.
type MapVariables map[VariableName]MapVariable

// MapVariable is a variable in MapVariables.
type MapVariable struct {
	Data       []byte
	Attributes Attributes
}

// Get implements Variables.
func (m MapVariables) Get(n VariableName) ([]byte, Attributes, error) {
	v, ok := m[n]
	if !ok {
		return nil, 0, fmt.Errorf("read EFI variable %s: %w", n, fs.ErrNotExist)
	}
	return append([]byte(nil), v.Data...), v.Attributes, nil
}

// Set implements Variables.
func (m MapVariables) Set(n VariableName, data []byte, a Attributes) error {
	if len(data) == 0 {
		return fmt.Errorf("write EFI variable %s: %w", n, errNoData)
	}
	m[n] = MapVariable{append([]byte(nil), data...), a}
	return nil
}

// Delete implements Variables.
func (m MapVariables) Delete(n VariableName) error {
	if _, ok := m[n]; !ok {
		return fmt.Errorf("delete EFI variable %s: %w", n, fs.ErrNotExist)
	}
	delete(m, n)
	return nil
}

// List implements Variables.
func (m MapVariables) List() ([]VariableName, error) {
	var names []VariableName
	for n := range m {
		names = append(names, n)
	}
	sortNames(names)
	return names, nil
}
