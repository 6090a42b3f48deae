// Package efivars reads what UEFI's variables say of how a machine boots: load
// options, their order, and device paths as text.
//
// It is given the bytes of efivarfs's files and opens nothing. It never writes:
// that is package efi's, which has the encoders. Where a path is malformed or of
// a kind that is not known here, the text is the generic one of the
// specification, never a guess.
//
//	file of efivarfs   u32 attributes | value
//	Boot####           u32 attributes | u16 length of paths | label, UTF-16, NUL | paths | data
//	a path's node      u8 type | u8 subtype | u16 length with this header | data
package efivars

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// The vendors of the variables that are read: UEFI 2.10 §3.3, and the Boot
// Loader Interface (systemd.io/BOOT_LOADER_INTERFACE).
const (
	Global = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
	Loader = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
)

// active is LOAD_OPTION_ACTIVE.
const active = 1

// LoadOption is an EFI_LOAD_OPTION (UEFI 2.10 §3.1.3).
type LoadOption struct {
	Active bool   // the boot manager tries it by itself
	Label  string //
	Path   string // what it starts, as text
}

// Value is what a file of efivarfs holds after its attributes.
func Value(file []byte) ([]byte, error) {
	if len(file) < 4 {
		return nil, fmt.Errorf("parse EFI variable: it has %d bytes, and the attributes alone are 4", len(file))
	}
	return file[4:], nil
}

// ParseLoadOption reads the value of a Boot#### variable.
func ParseLoadOption(b []byte) (LoadOption, error) {
	if len(b) < 6 {
		return LoadOption{}, fmt.Errorf("parse load option: it has only %d bytes", len(b))
	}
	o := LoadOption{Active: binary.LittleEndian.Uint32(b)&active != 0}
	n := int(binary.LittleEndian.Uint16(b[4:]))
	label, rest, ended := cutText(b[6:])
	if !ended {
		return LoadOption{}, errors.New("parse load option: its label has no end")
	}
	if n > len(rest) {
		return LoadOption{}, fmt.Errorf("parse load option %q: its paths claim %d of %d bytes", label, n, len(rest))
	}
	o.Label = printable(label)
	var err error
	if o.Path, err = PathText(rest[:n]); err != nil {
		return LoadOption{}, fmt.Errorf("parse load option %q: %w", label, err)
	}
	return o, nil
}

// Numbers reads the value of BootOrder, BootCurrent or BootNext. An odd byte at
// the end, which some firmware leaves, is not a number.
func Numbers(b []byte) []uint16 {
	var list []uint16
	for ; len(b) >= 2; b = b[2:] {
		list = append(list, binary.LittleEndian.Uint16(b))
	}
	return list
}

// Text reads a value that is UTF-16, with or without a NUL at its end.
func Text(b []byte) string {
	s, _, _ := cutText(b)
	return s
}

// cutText reads UTF-16 up to its NUL and returns what follows.
func cutText(b []byte) (text string, rest []byte, ended bool) {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		u := binary.LittleEndian.Uint16(b)
		if u == 0 {
			return string(utf16.Decode(units)), b[2:], true
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units)), nil, false
}

// guid is the text of a GUID as UEFI stores it: the first three groups are
// little endian (UEFI 2.10 appendix A).
func guid(b []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}

// printable drops what would break a line or a terminal: firmware is not to be
// trusted with either.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' {
			return -1
		}
		return r
	}, s)
}
