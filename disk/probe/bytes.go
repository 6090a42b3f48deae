package probe

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"unicode/utf16"

	"github.com/google/uuid"
)

// bytesOf is a piece of a device with the numbers that formats are made of.
// Offsets are constants that the read before it covers.
type bytesOf []byte

func (b bytesOf) le16(at int) uint16 { return binary.LittleEndian.Uint16(b[at:]) }
func (b bytesOf) le32(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
func (b bytesOf) le64(at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
func (b bytesOf) be16(at int) uint16 { return binary.BigEndian.Uint16(b[at:]) }
func (b bytesOf) be32(at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
func (b bytesOf) be64(at int) uint64 { return binary.BigEndian.Uint64(b[at:]) }

// has says whether magic is there; a piece that could not be read has nothing.
func (b bytesOf) has(at int, magic string) bool {
	return len(b) >= at+len(magic) && string(b[at:at+len(magic)]) == magic
}

// text is a label: it ends at a NUL, and white space at its end is padding.
func (b bytesOf) text(at, n int) string {
	s, _, _ := strings.Cut(string(b[at:at+n]), "\x00")
	return strings.TrimRight(s, " \t\n\v\f\r")
}

// utf16 is a label of n code units.
func (b bytesOf) utf16(at, n int, order binary.ByteOrder) string {
	var units []uint16
	for i := range n {
		u := order.Uint16(b[at+2*i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return strings.TrimRight(string(utf16.Decode(units)), " \t\n\v\f\r")
}

// uuid is sixteen bytes as they are printed; all zero is none.
func (b bytesOf) uuid(at int) string {
	u := uuid.UUID(b[at : at+16])
	if u == uuid.Nil {
		return ""
	}
	return u.String()
}

// serial is a volume's serial number, as FAT and exFAT print it.
func serial(n uint32) string { return fmt.Sprintf("%04X-%04X", n>>16, n&0xffff) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// rawCRC is a CRC without the inversions at its beginning and end.
func rawCRC(table *crc32.Table, seed uint32, b []byte) uint32 {
	return ^crc32.Update(^seed, table, b)
}

// without is a copy of b with n bytes cleared: what a checksum that stands
// inside of its own bytes is computed over.
func (b bytesOf) without(at, n int) bytesOf {
	c := append(bytesOf(nil), b...)
	clear(c[at : at+n])
	return c
}

func powerOfTwo(n, least, most uint64) bool {
	return n >= least && n <= most && n&(n-1) == 0
}

// product is a*b as a size, or -1 when it is none.
func product(a, b uint64) int64 {
	if b != 0 && a > (1<<62)/b {
		return -1
	}
	return int64(a * b)
}
