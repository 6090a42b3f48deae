package efi

import (
	"encoding/binary"
	"fmt"
	"math"
)

// LoadActive is LOAD_OPTION_ACTIVE: the boot manager may start this option by
// itself.
const LoadActive = 0x00000001

// LoadOption is an EFI_LOAD_OPTION, the content of a Boot#### variable
// (UEFI 2.10 §3.1.3):
//
//	u32 attributes | u16 length of the paths | description, UTF-16, NUL | paths | data
type LoadOption struct {
	Attributes  uint32
	Description string
	Path        DevicePath // what to start
	MorePaths   []byte     // further device paths, as they are stored
	Data        []byte     // handed to what is started
}

// Encode returns o as it is stored.
func (o LoadOption) Encode() ([]byte, error) {
	desc, err := encodeUTF16(o.Description)
	if err != nil {
		return nil, fmt.Errorf("encode load option %q: %w", o.Description, err)
	}
	path, err := o.Path.Encode()
	if err != nil {
		return nil, fmt.Errorf("encode load option %q: %w", o.Description, err)
	}
	path = append(path, o.MorePaths...)
	if len(path) > math.MaxUint16 {
		return nil, fmt.Errorf("encode load option %q: device paths have %d bytes, the limit is %d", o.Description, len(path), math.MaxUint16)
	}
	b := binary.LittleEndian.AppendUint32(nil, o.Attributes)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(path)))
	return append(append(append(b, desc...), path...), o.Data...), nil
}

// ParseLoadOption reads the content of a Boot#### variable.
func ParseLoadOption(b []byte) (LoadOption, error) {
	if len(b) < 6 {
		return LoadOption{}, fmt.Errorf("parse load option: it has only %d bytes", len(b))
	}
	o := LoadOption{Attributes: binary.LittleEndian.Uint32(b)}
	n := int(binary.LittleEndian.Uint16(b[4:]))
	desc, rest, err := decodeUTF16(b[6:])
	if err != nil {
		return LoadOption{}, fmt.Errorf("parse load option: description: %w", err)
	}
	if n > len(rest) {
		return LoadOption{}, fmt.Errorf("parse load option %q: device paths claim %d of %d bytes", desc, n, len(rest))
	}
	o.Description, o.Data = desc, rest[n:]
	if o.Path, o.MorePaths, err = ParseDevicePath(rest[:n]); err != nil {
		return LoadOption{}, fmt.Errorf("parse load option %q: %w", desc, err)
	}
	return o, nil
}
