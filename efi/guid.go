package efi

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// GUID is an EFI GUID as it is stored: the first three groups of its text are
// little-endian (UEFI 2.10 Appendix A).
type GUID [16]byte

// ParseGUID reads the text form, 8be4df61-93ca-11d2-aa0d-00e098032b8c, in
// either case.
func ParseGUID(s string) (GUID, error) {
	var g GUID
	ok := len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-'
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if !ok || err != nil || len(b) != len(g) {
		return GUID{}, fmt.Errorf("parse GUID %q: want xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx in hexadecimal", s)
	}
	le, be := binary.LittleEndian, binary.BigEndian
	le.PutUint32(g[0:], be.Uint32(b[0:]))
	le.PutUint16(g[4:], be.Uint16(b[4:]))
	le.PutUint16(g[6:], be.Uint16(b[6:]))
	copy(g[8:], b[8:])
	return g, nil
}

// String is the text form in lower case, as efivarfs and udev use it.
func (g GUID) String() string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(g[0:]), le.Uint16(g[4:]), le.Uint16(g[6:]), g[8:10], g[10:])
}

// Global is EFI_GLOBAL_VARIABLE, the vendor of the firmware's own variables.
var Global = GUID{0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c}
