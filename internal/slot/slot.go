// Package slot is the contract between `vic update` and the appliance that it
// updates: what an appliance says of its card's two slots, what is in one, how one
// is written, and which one starts.
//
//	vic update                     the appliance: vic-init slots ...
//	  look   <──── Status ──────── --json
//	  write  ───── Order, files ─> write           into the slot that does not run
//	  try    ────────────────────> try             the next start, and that alone
//	  look   <──── Status ────────                 another slot runs: a trial
//	  keep   ────────────────────> keep            every start
//
// The firmware's part is autoboot.txt, in slot A: see Choice.
package slot

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Version is that of Status, Manifest and Order.
const Version = 1

// The slots, by the numbers of their partitions.
const (
	A = 1
	B = 2
)

// Files of a slot that have a meaning here.
const (
	// ManifestFile says what else is in a slot.
	ManifestFile = "slot.json"
	// AutobootFile is in slot A alone: see Choice.
	AutobootFile = "autoboot.txt"
	// FirstStageFile is what the boot ROM of a Pi 3 reads from slot A, whichever
	// slot is started after it.
	FirstStageFile = "bootcode.bin"
)

// Name is what people call a slot.
func Name(number int) string { return string(rune('A' + number - A)) }

// TrialLimit is how long a slot runs on trial: then the machine restarts by itself,
// into the default.
const TrialLimit = 20 * time.Minute

// Other is the other slot.
func Other(number int) int { return A + B - number }

// Manifest is the file slot.json of a slot.
type Manifest struct {
	Version int    `json:"version"`
	Item    string `json:"item"`
	Type    string `json:"type"` // of the card: raspberry-pi
	Arch    string `json:"arch"`
	Kernel  string `json:"kernel"` // uname -r
	// System is the same for the same system in another slot, or on another card.
	System string `json:"system"`
	// Files are all but this one and autoboot.txt.
	Files []File `json:"files"`
}

// File is a file of a slot.
type File struct {
	Name   string `json:"name"` // slash-separated
	Size   int64  `json:"size"` // bytes
	SHA256 string `json:"sha256"`
}

// DecodeManifest reads one.
func DecodeManifest(b []byte) (Manifest, error) {
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("decode %s: %w", ManifestFile, err)
	}
	if m.Version != Version || len(m.Files) == 0 {
		return m, fmt.Errorf("decode %s: version %d with %d files, this vic reads version %d", ManifestFile, m.Version, len(m.Files), Version)
	}
	for _, f := range m.Files {
		if f.Name == "" || f.Size < 0 || !isSHA256(f.SHA256) {
			return m, fmt.Errorf("decode %s: file %q with %d bytes and hash %q", ManifestFile, f.Name, f.Size, f.SHA256)
		}
	}
	return m, nil
}

// Status is the document of `vic-init slots --json`.
type Status struct {
	Version int    `json:"version"`
	Arch    string `json:"arch"`
	Board   string `json:"board"` // as the device tree calls it; empty: it has none
	Kernel  string `json:"kernel"`
	// Boot is another one after each start.
	Boot string `json:"boot"`
	// Disk is the signature of the card: slot A is PARTUUID=Disk-01.
	Disk   string `json:"disk"`
	Device string `json:"device"` // such as /dev/mmcblk0
	// Running is the number of the slot that runs, Default that of the one which
	// starts when nothing else is asked for. A slot that runs and is not the default
	// is on trial.
	Running int `json:"running"`
	Default int `json:"default"`
	// Back is where the default goes back to by itself while it is on trial; 0: it is
	// not.
	Back int `json:"back,omitempty"`
	// Autoboot is the file that says so.
	Autoboot string `json:"autoboot"`
	Slots    []Slot `json:"slots"` // A, and B where the card has room for it
	// Refuses is why no slot can be tried on this board; empty: one can be.
	Refuses string `json:"refuses,omitempty"`
	// Warnings are what may be in the way.
	Warnings []string `json:"warnings,omitempty"`
}

// Trial says whether an update is on trial.
func (s Status) Trial() bool { return s.Running != s.Default || s.Back != 0 }

// State says of a slot, for people, whether it runs and whether it starts.
func (s Status) State(number int) string {
	switch {
	case number == s.Running && s.Trial():
		return "runs, on trial"
	case number == s.Running:
		return "runs"
	case number == s.Default:
		return "starts next"
	}
	return ""
}

// Slot is the slot with a number.
func (s Status) Slot(number int) (Slot, bool) {
	for _, slot := range s.Slots {
		if slot.Number == number {
			return slot, true
		}
	}
	return Slot{}, false
}

// Slot is one of the two, in bytes from the beginning of the card.
type Slot struct {
	Number int   `json:"number"`
	Offset int64 `json:"offset"`
	Size   int64 `json:"size"`
	// System is what its manifest says; nil: it has none. Whether its files are as
	// that says is another question.
	System *Manifest `json:"system,omitempty"`
}

// Order says what is written into a slot. It is followed by a stream, compressed with
// gzip, of all extents that are not kept, in their order.
type Order struct {
	Version int    `json:"version"`
	Disk    string `json:"disk"`
	Slot    int    `json:"slot"`
	Size    int64  `json:"size"` // of the slot, in bytes
	// Extents begin with those that belong to no file, which are small and written
	// last.
	Extents []Extent `json:"extents"`
}

// Extent is a piece of a slot, in bytes from its beginning.
type Extent struct {
	Name   string `json:"name,omitempty"` // of the file; empty: boot sectors, allocation tables, directories
	Offset int64  `json:"offset"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	// Keep: it is there, and is not written.
	Keep bool `json:"keep,omitempty"`
}

// sectorSize is what a slot is written in.
const sectorSize = 512

// MaxTables is how many bytes may belong to no file.
const MaxTables = 8 << 20

// maxOrder is how many bytes an order may have.
const maxOrder = 1 << 20

// Write writes the order as one line.
func (o Order) Write(w io.Writer) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// ReadOrder reads the line, and nothing after it.
func ReadOrder(r io.ByteReader) (Order, error) {
	var line []byte
	for {
		c, err := r.ReadByte()
		if err != nil {
			return Order{}, fmt.Errorf("read order: %w", err)
		}
		if c == '\n' {
			break
		}
		if line = append(line, c); len(line) > maxOrder {
			return Order{}, fmt.Errorf("read order: it has more than %d bytes", maxOrder)
		}
	}
	var o Order
	if err := json.Unmarshal(line, &o); err != nil {
		return o, fmt.Errorf("read order: %w", err)
	}
	if err := o.Validate(); err != nil {
		return o, fmt.Errorf("read order: %w", err)
	}
	return o, nil
}

// Validate refuses an order that makes no sense, or leaves the slot.
func (o Order) Validate() error {
	if o.Version != Version {
		return fmt.Errorf("version %d, this vic reads %d", o.Version, Version)
	}
	if o.Slot != A && o.Slot != B || len(o.Disk) != 8 || o.Size <= 0 {
		return fmt.Errorf("slot %d of disk %q with %d bytes is none", o.Slot, o.Disk, o.Size)
	}
	if len(o.Extents) == 0 || o.Extents[0].Name != "" || o.Extents[0].Offset != 0 {
		return errors.New("it does not begin with the boot sectors")
	}
	var tables int64
	files := false
	for i, e := range o.Extents {
		if err := e.validate(o.Size); err != nil {
			return err
		}
		if files = files || e.Name != ""; files && e.Name == "" {
			return fmt.Errorf("extent at %d: what belongs to no file comes first", e.Offset)
		}
		if e.Name == "" {
			tables += e.Size
		}
		for _, other := range o.Extents[:i] {
			if e.Offset < other.end() && other.Offset < e.end() {
				return fmt.Errorf("extents at %d and %d overlap", other.Offset, e.Offset)
			}
		}
	}
	if tables > MaxTables {
		return fmt.Errorf("%d bytes belong to no file, at most %d may", tables, MaxTables)
	}
	return nil
}

func (e Extent) validate(size int64) error {
	switch {
	case e.Offset < 0 || e.Size <= 0 || e.Offset%sectorSize != 0 || e.Offset > size || e.Size > size-e.Offset:
		return fmt.Errorf("extent of %d bytes at %d is not in a slot of %d", e.Size, e.Offset, size)
	case !isSHA256(e.SHA256):
		return fmt.Errorf("extent at %d: %q is no SHA-256", e.Offset, e.SHA256)
	case e.Keep && e.Name == "":
		return fmt.Errorf("extent at %d: only files are kept", e.Offset)
	}
	return nil
}

// end is rounded up: a sector is written as a whole.
func (e Extent) end() int64 { return e.Offset + (e.Size+sectorSize-1)/sectorSize*sectorSize }

func isSHA256(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 32
}
