// Package smbios reads the table that a PC's firmware describes the machine
// with (DMTF DSP0134 3.7): firmware, system, board, chassis, memory modules.
//
// It is given the bytes of /sys/firmware/dmi/tables/DMI and opens nothing. What
// the kernel has in sysfs already, such as ports and slots, is left out.
//
//	structure   u8 type | u8 length | u16 handle | fields up to length |
//	            strings, each with a NUL | NUL
//
// A field that holds a string holds its number, from 1; 0 is none. Older tables
// have shorter structures, so every field may be missing.
package smbios

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Types of structures, DSP0134 §7.
const (
	typeFirmware = 0
	typeSystem   = 1
	typeBoard    = 2
	typeChassis  = 3
	typeDIMM     = 17
	typeEnd      = 127

	header = 4
)

// Table is what a table says. A structure that is not there leaves its zero
// value; of those that can only be once, the first counts.
type Table struct {
	Firmware Firmware
	System   System
	Board    Board
	Chassis  Chassis
	DIMM     []DIMM
}

// Firmware is a structure of type 0.
type Firmware struct {
	Vendor, Version, Date string
	// Virtual: the firmware says that this is a virtual machine.
	Virtual bool
}

// System is a structure of type 1.
type System struct {
	Vendor, Product, Version, Serial, SKU, Family string
	UUID                                          string // lower case; empty: none set
}

// Board is a structure of type 2.
type Board struct {
	Vendor, Product, Version, Serial string
}

// Chassis is a structure of type 3.
type Chassis struct {
	Type     int // §7.4.1; 0: not told
	AssetTag string
}

// structure is one of a table.
type structure struct {
	kind    byte
	fields  []byte // from the header on, so that offsets are the specification's
	strings []string
}

// Parse reads a table. Where it is damaged, what came before is returned with an
// error.
func Parse(b []byte) (Table, error) {
	var t Table
	seen := map[byte]bool{}
	for len(b) > 0 {
		s, rest, err := cut(b)
		if err != nil {
			return t, fmt.Errorf("parse SMBIOS table: %w", err)
		}
		if s.kind == typeEnd {
			break
		}
		if s.kind == typeDIMM {
			if d, ok := s.dimm(); ok {
				t.DIMM = append(t.DIMM, d)
			}
		} else if !seen[s.kind] {
			seen[s.kind] = true
			t.add(s)
		}
		b = rest
	}
	return t, nil
}

func (t *Table) add(s structure) {
	switch s.kind {
	case typeFirmware:
		// The second extension byte of the characteristics, bit 4.
		t.Firmware = Firmware{Vendor: s.text(4), Version: s.text(5), Date: s.text(8), Virtual: s.u8(0x13)&(1<<4) != 0}
	case typeSystem:
		t.System = System{Vendor: s.text(4), Product: s.text(5), Version: s.text(6), Serial: s.text(7), SKU: s.text(0x19), Family: s.text(0x1a), UUID: s.uuid(8)}
	case typeBoard:
		t.Board = Board{Vendor: s.text(4), Product: s.text(5), Version: s.text(6), Serial: s.text(7)}
	case typeChassis:
		t.Chassis = Chassis{Type: int(s.u8(5) & 0x7f), AssetTag: s.text(8)} // the top bit is a lock's
	}
}

// cut takes the first structure off a table.
func cut(b []byte) (s structure, rest []byte, err error) {
	if len(b) < header {
		return s, nil, errors.New("it ends within a structure's header")
	}
	n := int(b[1])
	if n < header || n > len(b) {
		return s, nil, fmt.Errorf("a structure of type %d claims %d of %d bytes", b[0], n, len(b))
	}
	s = structure{kind: b[0], fields: b[:n]}
	end := bytes.Index(b[n:], []byte{0, 0})
	if end < 0 {
		return s, nil, fmt.Errorf("the strings of a structure of type %d have no end", b[0])
	}
	if end > 0 {
		s.strings = strings.Split(string(b[n:n+end]), "\x00")
	}
	return s, b[n+end+2:], nil
}

func (s structure) u8(at int) byte {
	if at >= len(s.fields) {
		return 0
	}
	return s.fields[at]
}

func (s structure) u16(at int) uint16 {
	if at+2 > len(s.fields) {
		return 0
	}
	return binary.LittleEndian.Uint16(s.fields[at:])
}

func (s structure) u32(at int) uint32 {
	if at+4 > len(s.fields) {
		return 0
	}
	return binary.LittleEndian.Uint32(s.fields[at:])
}

// text is the string that a field numbers. What is not printable ASCII, of which
// the specification has no other, is a dot, as in the kernel and dmidecode.
func (s structure) text(at int) string {
	n := int(s.u8(at))
	if n < 1 || n > len(s.strings) {
		return ""
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '.'
		}
		return r
	}, s.strings[n-1]))
}

// uuid reads the wire format since SMBIOS 2.6: the first three groups are little
// endian. All bits alike are no UUID.
func (s structure) uuid(at int) string {
	if at+16 > len(s.fields) {
		return ""
	}
	b := s.fields[at : at+16]
	if bytes.Count(b, b[:1]) == 16 && (b[0] == 0 || b[0] == 0xff) {
		return ""
	}
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:])
}
