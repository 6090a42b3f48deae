package layout

import "github.com/google/uuid"

// Geometry is what Resolve has to know about a device.
type Geometry struct {
	Size       int64 // bytes
	SectorSize int   // logical, bytes: 512 or 4096
	// Now is the table that is on the device, for partitions that are kept;
	// nil when it has none.
	Now *Table
}

// The kinds of a Table.
const (
	KindGPT = "gpt"
	KindMBR = "msdos"
)

// Table is a partition table with every number settled.
type Table struct {
	Kind       string    `json:"kind"` // KindGPT or KindMBR
	Disk       string    `json:"disk"` // the NAME in devices.disk.NAME
	GUID       uuid.UUID `json:"guid"` // of an MBR: its first four bytes are the disk signature
	SectorSize int       `json:"sectorSize"`
	Size       int64     `json:"size"` // of the device, bytes
	Entries    []Entry   `json:"entries"`
	// Lost says, of a table that was read from a device, why there may be
	// partitions that are not among the entries; empty: these are all. Damage
	// that loses nothing, such as one copy of a GPT, is not said here.
	Lost string `json:"lost,omitempty"`
}

// Entry is one partition of a Table.
type Entry struct {
	Number     int       `json:"number"` // from 1
	Name       string    `json:"name"`   // the key in gpt.partitions
	Label      string    `json:"label"`  // PARTLABEL, at most 36 UTF-16 units
	Type       uuid.UUID `json:"type"`   // of an MBR: uuid.Nil, see MBR
	GUID       uuid.UUID `json:"guid"`
	FirstLBA   uint64    `json:"firstLBA"` // in sectors of Table.SectorSize
	LastLBA    uint64    `json:"lastLBA"`  // inclusive
	Attributes uint64    `json:"attributes"`
	// MBR is the entry's type and flag in an MBR: always in one of kind
	// msdos, in a GPT when it is hybrid.
	MBR *MBREntry `json:"mbr,omitempty"`
	// Kept: it was there before, with this number and GUID. OldLast is where it
	// ended before a resize; equal to LastLBA without one.
	Kept    bool   `json:"kept,omitempty"`
	OldLast uint64 `json:"oldLast,omitempty"`
	// Content is what the layout wants in it; nil leaves it empty.
	Content *Content `json:"content,omitempty"`
}

// MBREntry is the part of an MBR entry that a GPT does not have.
type MBREntry struct {
	Type     byte `json:"type"` // 0x83, 0x0c, ...
	Bootable bool `json:"bootable,omitempty"`
	// Part is "primary", "logical" or "extended".
	Part string `json:"part,omitempty"`
}

// Size of the entry in bytes.
func (e Entry) Size(sectorSize int) int64 {
	return int64(e.LastLBA-e.FirstLBA+1) * int64(sectorSize)
}
