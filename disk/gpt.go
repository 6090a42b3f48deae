package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"unicode/utf16"

	"github.com/diskfs/go-diskfs/partition/gpt"
	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
)

// ErrNoGPT is wrapped by ReadGPT's error when the disk has no valid GPT.
var ErrNoGPT = errors.New("no valid GPT")

const (
	headerSize = 92  // bytes of a GPT header, UEFI 2.10 table 5-5
	entrySize  = 128 // bytes of an entry; larger ones are allowed and unseen
	maxEntries = 1024
)

// ReadGPT reads the partition table from its first copy, or from the backup
// when that is not valid. Entries come without contents.
func ReadGPT(d Device) (layout.Table, error) {
	view := newView(d, d.SectorSize())
	if !view.primary && !view.backup {
		return layout.Table{}, fmt.Errorf("read GPT: %w", ErrNoGPT)
	}
	t, err := gpt.Read(view, d.SectorSize(), d.SectorSize())
	if err != nil {
		return layout.Table{}, fmt.Errorf("read GPT: %w", err)
	}
	table, err := toLayout(t, d)
	if err != nil {
		return table, err
	}
	return table, readHybrid(d, &table)
}

func toLayout(t *gpt.Table, d Device) (layout.Table, error) {
	guid, err := uuid.Parse(t.GUID)
	if err != nil {
		return layout.Table{}, fmt.Errorf("read GPT: disk GUID: %w", err)
	}
	table := layout.Table{Kind: layout.KindGPT, GUID: guid, SectorSize: d.SectorSize(), Size: d.Size()}
	for _, p := range t.Partitions {
		e := layout.Entry{
			Number: p.Index, Name: p.Name, Label: p.Name,
			FirstLBA: p.Start, LastLBA: p.End, Attributes: p.Attributes,
		}
		if e.Type, err = uuid.Parse(string(p.Type)); err == nil {
			e.GUID, err = uuid.Parse(p.GUID)
		}
		if err != nil {
			return table, fmt.Errorf("read GPT: partition %d: %w", p.Index, err)
		}
		if e.FirstLBA > e.LastLBA || e.LastLBA >= uint64(d.Size())/uint64(d.SectorSize()) {
			return table, fmt.Errorf("read GPT: partition %d: sectors %d to %d are not on the disk", p.Index, e.FirstLBA, e.LastLBA)
		}
		table.Entries = append(table.Entries, e)
	}
	return table, nil
}

// view is a Device as the gpt package reads it, with the headers blanked that
// it cannot take: it trusts the number, size and place of entries that a
// header claims, and never ends on some.
type view struct {
	Device
	sectorSize      int
	primary, backup bool // valid, headers and entries
}

func newView(d Device, sectorSize int) *view {
	v := &view{Device: d, sectorSize: sectorSize}
	last := d.Size()/int64(sectorSize) - 1
	v.primary = validCopy(d, sectorSize, 1)
	v.backup = last > 1 && validCopy(d, sectorSize, last)
	return v
}

// ReadAt implements io.ReaderAt. The gpt package reads whole sectors.
func (v *view) ReadAt(p []byte, off int64) (int, error) {
	n, err := v.Device.ReadAt(p, off)
	size := int64(v.sectorSize)
	v.blank(p[:n], off, size, v.primary)
	v.blank(p[:n], off, (v.Size()/size-1)*size, v.backup)
	return n, err
}

func (v *view) blank(p []byte, off, header int64, valid bool) {
	if valid {
		return
	}
	from, to := max(header-off, 0), min(header-off+int64(v.sectorSize), int64(len(p)))
	if from < to {
		clear(p[from:to])
	}
}

// Seek only serves to find the size.
func (v *view) Seek(off int64, whence int) (int64, error) {
	if whence != io.SeekEnd || off != 0 {
		return 0, errors.ErrUnsupported
	}
	return v.Size(), nil
}

// The rest of backend.File; the gpt package calls none of it.
func (v *view) Stat() (fs.FileInfo, error) { return nil, errors.ErrUnsupported }
func (v *view) Read([]byte) (int, error)   { return 0, errors.ErrUnsupported }
func (v *view) Close() error               { return errors.ErrUnsupported }

// header is what of a GPT header has to be believed before entries are read.
type header struct {
	self, alternate, entries int64 // LBA
	count                    int64
	entriesCRC               uint32
}

// readHeader reads and checks the header at an LBA.
func readHeader(d Device, sectorSize int, lba int64) (header, bool) {
	b := make([]byte, headerSize)
	if _, err := d.ReadAt(b, lba*int64(sectorSize)); err != nil || string(b[:8]) != "EFI PART" {
		return header{}, false
	}
	sum := binary.LittleEndian.Uint32(b[16:])
	clear(b[16:20])
	le64 := func(at int) int64 { return int64(binary.LittleEndian.Uint64(b[at:])) }
	h := header{
		self: le64(24), alternate: le64(32), entries: le64(72),
		count:      int64(binary.LittleEndian.Uint32(b[80:])),
		entriesCRC: binary.LittleEndian.Uint32(b[88:]),
	}
	size := binary.LittleEndian.Uint32(b[84:])
	last := d.Size()/int64(sectorSize) - 1
	ok := crc32.ChecksumIEEE(b) == sum && h.self == lba && size == entrySize &&
		h.count <= maxEntries && h.entries > 0 && h.entries <= last &&
		h.entries*int64(sectorSize)+h.count*entrySize <= d.Size()
	return h, ok
}

// validCopy says whether the table whose header is at an LBA is whole.
func validCopy(d Device, sectorSize int, lba int64) bool {
	h, ok := readHeader(d, sectorSize, lba)
	if !ok {
		return false
	}
	entries := make([]byte, h.count*entrySize)
	if _, err := d.ReadAt(entries, h.entries*int64(sectorSize)); err != nil {
		return false
	}
	return crc32.ChecksumIEEE(entries) == h.entriesCRC
}

// WriteGPT writes a table with both copies and a protective MBR, and reads it
// back. Equal tables give equal bytes. At every moment at least one copy, of
// the old table or of the new, is valid if one was before; the MBR, which
// would end the life of an old DOS table, comes last.
//
// Entries with an MBR part make the MBR a hybrid one.
func WriteGPT(ctx context.Context, d Device, t layout.Table) error {
	if err := writeGPT(ctx, d, t, false); err != nil {
		return fmt.Errorf("write GPT: %w", err)
	}
	return nil
}

func writeGPT(ctx context.Context, d Device, t layout.Table, protectiveLast bool) error {
	pieces, err := render(t, d, protectiveLast)
	if err != nil {
		return err
	}
	primary, backup := pieces[:2], pieces[2:4]
	order := append(append([]piece{}, backup...), primary...)
	if v := newView(d, d.SectorSize()); v.backup && !v.primary {
		order = append(append([]piece{}, primary...), backup...)
	}
	for _, p := range append(order, pieces[4]) {
		if err := writePiece(ctx, d, p); err != nil {
			return err
		}
	}
	return verify(d, pieces)
}

// piece is a part of a table as it goes to the disk.
type piece struct {
	what string
	off  int64
	data []byte
}

func verify(d Device, pieces []piece) error {
	if err := readBack(d, pieces); err != nil {
		return err
	}
	if v := newView(d, d.SectorSize()); !v.primary || !v.backup {
		return errors.New("read back: a copy is not valid")
	}
	return nil
}

// readBack compares the pieces with the medium, where that can be told.
func readBack(d Device, pieces []piece) error {
	if err := dropCache(d); err != nil {
		return err
	}
	for _, p := range pieces {
		got := make([]byte, len(p.data))
		if _, err := d.ReadAt(got, p.off); err != nil {
			return fmt.Errorf("read back %s: %w", p.what, err)
		}
		if string(got) != string(p.data) {
			return fmt.Errorf("read back %s: the disk does not hold what was written", p.what)
		}
	}
	return nil
}

// render makes the pieces of a table: entries and header of the first copy,
// entries and header of the backup, MBR.
func render(t layout.Table, d Device, protectiveLast bool) ([]piece, error) {
	if t.Size != d.Size() || t.SectorSize != d.SectorSize() {
		return nil, fmt.Errorf("the table is for %d bytes in sectors of %d, the device has %d in sectors of %d",
			t.Size, t.SectorSize, d.Size(), d.SectorSize())
	}
	table := gpt.Table{GUID: t.GUID.String(), LogicalSectorSize: t.SectorSize, PhysicalSectorSize: t.SectorSize}
	first, last, ok := layout.Usable(layout.Geometry{Size: t.Size, SectorSize: t.SectorSize})
	if !ok {
		return nil, fmt.Errorf("a device of %d bytes has no room for it", t.Size)
	}
	for _, e := range t.Entries {
		if e.FirstLBA < first || e.LastLBA > last || e.FirstLBA > e.LastLBA {
			return nil, fmt.Errorf("partition %d: sectors %d to %d are not within %d to %d",
				e.Number, e.FirstLBA, e.LastLBA, first, last)
		}
		if len(utf16.Encode([]rune(e.Label))) > 36 {
			return nil, fmt.Errorf("partition %d: label %q is too long", e.Number, e.Label)
		}
		table.Partitions = append(table.Partitions, &gpt.Partition{
			Index: e.Number, Start: e.FirstLBA, End: e.LastLBA,
			Type: gpt.Type(e.Type.String()), GUID: e.GUID.String(), Name: e.Label, Attributes: e.Attributes,
		})
	}
	rec := recorder{view: view{Device: d}}
	if err := table.Write(&rec, t.Size); err != nil {
		return nil, err
	}
	mbr, err := hybridMBR(t, protectiveLast)
	if err != nil {
		return nil, err
	}
	return rec.sorted(mbr)
}

// recorder takes what the gpt package would write, in its order: it writes the
// backup first in any case, which loses the only valid copy when that is it.
type recorder struct {
	view
	pieces []piece
}

func (r *recorder) WriteAt(p []byte, off int64) (int, error) {
	r.pieces = append(r.pieces, piece{off: off, data: append([]byte(nil), p...)})
	return len(p), nil
}

func (r *recorder) Sync() error { return nil }

func (r *recorder) sorted(mbr piece) ([]piece, error) {
	if len(r.pieces) != 4 {
		return nil, fmt.Errorf("expected four pieces, got %d", len(r.pieces))
	}
	p := []piece{r.pieces[2], r.pieces[3], r.pieces[0], r.pieces[1], mbr}
	for i, what := range []string{"entries", "header", "backup entries", "backup header", "protective MBR"} {
		p[i].what = what
	}
	return p, nil
}
