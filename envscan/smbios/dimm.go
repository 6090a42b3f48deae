package smbios

import (
	"cmp"
	"fmt"
)

// DIMM is a structure of type 17 whose slot has a module.
type DIMM struct {
	Slot, Bank                 string
	Size                       int64  // bytes; 0: unknown
	Type                       string // DDR4
	Speed, Configured          int64  // MT/s; 0: unknown
	Manufacturer, Part, Serial string
}

// dimm reads a memory device (§7.18); ok is false for an empty slot.
func (s structure) dimm() (d DIMM, ok bool) {
	size := s.size()
	if size == 0 {
		return d, false
	}
	return DIMM{
		Slot: s.text(0x10), Bank: s.text(0x11),
		Size: max(size, 0), Type: s.memoryType(),
		Speed: s.speed(0x15, 0x54), Configured: s.speed(0x20, 0x58),
		Manufacturer: s.known(0x17), Part: s.known(0x1a), Serial: s.known(0x18),
	}, true
}

// size is 0 for an empty slot and -1 where the firmware does not know.
func (s structure) size() int64 {
	switch n := int64(s.u16(0x0c)); {
	case n == 0xffff:
		return -1
	case n == 0x7fff: // it did not fit: MiB in another field
		return int64(s.u32(0x1c)&^(1<<31)) << 20
	case n&0x8000 != 0:
		return n &^ 0x8000 << 10
	default:
		return n << 20
	}
}

// speed is in one field, or in a longer one where it did not fit.
func (s structure) speed(at, extended int) int64 {
	n := s.u16(at)
	if n == 0xffff {
		return int64(s.u32(extended) &^ (1 << 31))
	}
	return int64(n)
}

// known is a string, without what firmware writes where it knows none.
func (s structure) known(at int) string {
	switch text := s.text(at); text {
	case "Not Specified", "Unknown", "UNKNOWN", "None", "NO DIMM", "Undefined", "To Be Filled By O.E.M.":
		return ""
	default:
		return text
	}
}

// memoryTypes are §7.18.2.
var memoryTypes = map[byte]string{
	0x03: "DRAM", 0x04: "EDRAM", 0x05: "VRAM", 0x06: "SRAM", 0x07: "RAM", 0x08: "ROM", 0x09: "Flash",
	0x0a: "EEPROM", 0x0b: "FEPROM", 0x0c: "EPROM", 0x0d: "CDRAM", 0x0e: "3DRAM", 0x0f: "SDRAM",
	0x10: "SGRAM", 0x11: "RDRAM", 0x12: "DDR", 0x13: "DDR2", 0x14: "DDR2 FB-DIMM", 0x18: "DDR3",
	0x19: "FBD2", 0x1a: "DDR4", 0x1b: "LPDDR", 0x1c: "LPDDR2", 0x1d: "LPDDR3", 0x1e: "LPDDR4",
	0x1f: "Logical non-volatile device", 0x20: "HBM", 0x21: "HBM2", 0x22: "DDR5", 0x23: "LPDDR5", 0x24: "HBM3",
}

// memoryType is empty for what the firmware calls other or unknown.
func (s structure) memoryType() string {
	code := s.u8(0x12)
	if code <= 2 {
		return ""
	}
	return cmp.Or(memoryTypes[code], fmt.Sprintf("type 0x%02x", code))
}
