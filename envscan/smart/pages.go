package smart

import (
	"bytes"
	"encoding/binary"
)

// The pages that disks answer with, each seen through its offsets: as a type of
// its own it can be had only by the function that has looked at its length.

// identification is an ATA disk's (ACS-3 §7.12.7): 256 words.
type identification [ataSector]byte

func (id *identification) word(n int) uint16 { return binary.LittleEndian.Uint16(id[2*n:]) }

// hasSMART: words 82 and 85, which count when bits 15 and 14 of 83 and 87 are 01.
func (id *identification) hasSMART() bool {
	return id.word(83)>>14 == 1 && id.word(82)&1 != 0 && id.word(87)>>14 == 1 && id.word(85)&1 != 0
}

// hasLogs: READ LOG EXT, in word 84.
func (id *identification) hasLogs() bool {
	return id.word(84)>>14 == 1 && id.word(84)>>5&1 != 0
}

// ssd: word 217 says how fast the disk rotates; 1 is not at all.
func (id *identification) ssd() bool { return id.word(217) == 1 }

// sector is the size of a logical sector, in bytes: of words 117 and 118, which
// count when 106 says so.
func (id *identification) sector() uint64 {
	if w := id.word(106); w>>14 == 1 && w>>12&1 != 0 {
		if words := uint64(id.word(118))<<16 | uint64(id.word(117)); words > 0 {
			return 2 * words
		}
	}
	return ataSector
}

// firmware is the revision, of words 23 to 26: text with its bytes swapped.
func (id *identification) firmware() string {
	var text [8]byte
	for i := range text {
		text[i] = id[2*23+i^1]
	}
	return string(bytes.TrimSpace(text[:]))
}

// ataAttribute is one of SMART's on an ATA disk.
type ataAttribute struct {
	id             uint8
	flags          uint16
	current, worst uint8
	raw            [6]byte // its maker's
}

// prefailure says that the attribute foretells a failure; else, age.
const prefailure = 1

// Both pages of attributes have a version of two bytes, and 30 entries of twelve.
const (
	entriesAt = 2
	entrySize = 12
	entries   = 30
)

// attributes are those of a page of SMART data (an entry with id 0 is none).
func attributes(page *[ataSector]byte) (found []ataAttribute) {
	for e := range slots(page) {
		if e[0] != 0 {
			found = append(found, ataAttribute{
				id: e[0], flags: binary.LittleEndian.Uint16(e[1:]), current: e[3], worst: e[4], raw: [6]byte(e[5:]),
			})
		}
	}
	return found
}

// limits are the thresholds of attributes, of the page with them.
func limits(page *[ataSector]byte) map[uint8]uint8 {
	found := map[uint8]uint8{}
	for e := range slots(page) {
		found[e[0]] = e[1]
	}
	return found
}

func slots(page *[ataSector]byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for i := range entries {
			at := entriesAt + i*entrySize
			if !yield(page[at : at+entrySize]) {
				return
			}
		}
	}
}

// nvmeHealth is an NVMe controller's (NVM Express Base Specification 2.0,
// §5.16.1.3).
type nvmeHealth [nvmeHealthLength]byte

func (l *nvmeHealth) warnings() uint8     { return l[0] }
func (l *nvmeHealth) kelvin() uint16      { return binary.LittleEndian.Uint16(l[1:]) }
func (l *nvmeHealth) spare() uint8        { return l[3] }
func (l *nvmeHealth) spareLimit() uint8   { return l[4] }
func (l *nvmeHealth) used() uint8         { return l[5] } // percent
func (l *nvmeHealth) unitsRead() wide     { return l.wide(32) }
func (l *nvmeHealth) unitsWritten() wide  { return l.wide(48) }
func (l *nvmeHealth) powerCycles() wide   { return l.wide(112) }
func (l *nvmeHealth) powerOnHours() wide  { return l.wide(128) }
func (l *nvmeHealth) unsafeCutOffs() wide { return l.wide(144) }
func (l *nvmeHealth) mediaErrors() wide   { return l.wide(160) }

func (l *nvmeHealth) wide(at int) wide {
	return wide{low: binary.LittleEndian.Uint64(l[at:]), high: binary.LittleEndian.Uint64(l[at+8:])}
}

// wide is a counter of 128 bits.
type wide struct{ low, high uint64 }

// times is the counter in smaller units; what has no room in 63 bits is the most
// that has.
func (n wide) times(factor uint64) *int64 {
	if n.high != 0 {
		return times(1<<63, factor)
	}
	return times(n.low, factor)
}
