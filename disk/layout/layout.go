// Package layout is disko's schema: how disks are cut and formatted, and the
// exact tables that come out of it.
//
// It is pure: it parses, validates and computes, and never opens a device.
// Names, defaults and meanings are those of disko's own types
// (https://github.com/nix-community/disko, lib/types), so that an existing
// disko config works unchanged; vic's additions are extra keys only.
//
//	Layout --Resolve(geometry, seed)--> []Table (sectors, GUIDs) + []Filesystem + []Mount
//
// What this package does not know how to make is an error that names the key,
// never something that is skipped.
package layout

import "github.com/google/uuid"

// Layout is a whole configuration: the value below disko's "disko.devices",
// or a document with that key, or with "devices".
type Layout struct {
	Disk map[string]Disk `json:"disk"`
}

// Disk is devices.disk.NAME.
type Disk struct {
	Type string `json:"type"` // "disk"
	// Device is disko's device path. It may be empty: the disk is then given
	// with --disk.
	Device string `json:"device,omitempty"`
	// Name is used in default labels; default the key, with "_" for "/".
	Name    string  `json:"name,omitempty"`
	Content Content `json:"content"`
	// ImageSize is the size of a disk image made from the layout; it has no
	// meaning for a real disk.
	ImageSize string `json:"imageSize,omitempty"`
}

// Content is what fills a disk or a partition: the union of disko's content
// types, told apart by Type ("gpt" or "filesystem"; "swap").
type Content struct {
	Type string `json:"type"`

	// gpt
	Partitions map[string]Partition `json:"partitions,omitempty"`

	// filesystem
	Format       string   `json:"format,omitempty"` // ext4, vfat, ...
	Mountpoint   string   `json:"mountpoint,omitempty"`
	MountOptions []string `json:"mountOptions,omitempty"` // default ["defaults"]
	ExtraArgs    []string `json:"extraArgs,omitempty"`    // for mkfs
}

// Partition is one entry of gpt.partitions. Sizes are written as sgdisk takes
// them: a number of sectors, or of K, M, G, T, P (powers of 1024); "100%" is
// all that is left.
type Partition struct {
	Name      string   `json:"name,omitempty"`  // in the default label; default the key
	Type      string   `json:"type,omitempty"`  // sgdisk code ("EF00") or GUID; default 8300
	Size      string   `json:"size,omitempty"`  // default "0": all that is left
	Start     string   `json:"start,omitempty"` // default "0": the next free aligned sector
	End       string   `json:"end,omitempty"`
	Label     string   `json:"label,omitempty"`     // default disk-NAME-PARTITION, as disko
	UUID      string   `json:"uuid,omitempty"`      // default derived from the seed
	Priority  *int     `json:"priority,omitempty"`  // smaller comes first; default 1000, EF02 100, size 100% 9001
	Alignment int      `json:"alignment,omitempty"` // in sectors, as sgdisk --set-alignment; 0: 1 MiB
	Attribute []int    `json:"attributes,omitempty"`
	Content   *Content `json:"content,omitempty"`
}

// Geometry is what Resolve has to know about a device.
type Geometry struct {
	Size       int64 // bytes
	SectorSize int   // logical, bytes: 512 or 4096
}

// Table is a partition table with every number settled.
type Table struct {
	Disk       string    `json:"disk"` // the NAME in devices.disk.NAME
	GUID       uuid.UUID `json:"guid"`
	SectorSize int       `json:"sectorSize"`
	Size       int64     `json:"size"` // of the device, bytes
	Entries    []Entry   `json:"entries"`
}

// Entry is one partition of a Table.
type Entry struct {
	Number     int       `json:"number"` // from 1
	Name       string    `json:"name"`   // the key in gpt.partitions
	Label      string    `json:"label"`  // PARTLABEL, at most 36 UTF-16 units
	Type       uuid.UUID `json:"type"`
	GUID       uuid.UUID `json:"guid"`
	FirstLBA   uint64    `json:"firstLBA"` // in sectors of Table.SectorSize
	LastLBA    uint64    `json:"lastLBA"`  // inclusive
	Attributes uint64    `json:"attributes"`
	// Filesystem is what to make in it; nil leaves it empty (BIOS boot).
	Filesystem *Filesystem `json:"filesystem,omitempty"`
}

// Filesystem is a file system with every value settled.
type Filesystem struct {
	Format string `json:"format"`
	// UUID is the file system's identity as blkid prints it: for vfat the
	// volume id "ABCD-1234".
	UUID       string   `json:"uuid"`
	Label      string   `json:"label,omitempty"`
	ExtraArgs  []string `json:"extraArgs,omitempty"`
	Mountpoint string   `json:"mountpoint,omitempty"`
	Options    []string `json:"options,omitempty"`
}

// Size of the entry in bytes.
func (e Entry) Size(sectorSize int) int64 {
	return int64(e.LastLBA-e.FirstLBA+1) * int64(sectorSize)
}
