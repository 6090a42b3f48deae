package layout

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/google/uuid"
)

// placeGPT puts the partitions of a gpt: those that are kept stay, the others
// go into what is left.
func placeGPT(t *Table, gpt *GPT, parent string, g Geometry) error {
	free, err := newSpace(g)
	if err != nil {
		return err
	}
	if t.Entries, err = keep(gpt, parent, g, free); err != nil {
		return err
	}
	if len(t.Entries) > 0 {
		t.GUID = g.Now.GUID // boot loaders of others may know the disk by it
	}
	kept := len(t.Entries)
	number := 0
	for _, key := range order(gpt.Partitions) {
		p := gpt.Partitions[key]
		if p.Keep {
			continue
		}
		for number++; slices.ContainsFunc(t.Entries[:kept], func(e Entry) bool { return e.Number == number }); number++ {
		}
		e, err := p.entry(parent, key)
		if err == nil {
			e.Number = number
			err = p.take(&e, t.Entries, free)
		}
		if err != nil {
			return fmt.Errorf("partition %s: %w%s", key, err, keptList(t.Entries[:kept], g.SectorSize))
		}
		t.Entries = append(t.Entries, e)
	}
	if number > maxEntries {
		return fmt.Errorf("the table has %d entries, partition %d does not fit", maxEntries, number)
	}
	slices.SortFunc(t.Entries, func(a, b Entry) int { return a.Number - b.Number })
	return nil
}

// take finds room for a new partition.
func (p Partition) take(e *Entry, before []Entry, free *space) error {
	start, end, err := p.span()
	if err != nil {
		return err
	}
	e.FirstLBA, e.LastLBA, err = free.take(start, end, p.align(before, free.sectorSize))
	return err
}

// align is the alignment in sectors: sgdisk goes by what it finds on the disk,
// and disko runs it once for each partition.
func (p Partition) align(before []Entry, sectorSize int) uint64 {
	if p.Alignment > 0 {
		return uint64(p.Alignment)
	}
	if strings.HasSuffix(p.Start, "s") || strings.HasSuffix(p.End, "s") {
		return 1
	}
	align := uint64(mebibyte / sectorSize)
	for _, e := range before {
		align = min(align, 1<<bits.TrailingZeros64(max(e.FirstLBA, 1)))
	}
	return align
}

// order is disko's: by priority, and names where that is equal.
func order(partitions map[string]Partition) []string {
	names := sortedKeys(partitions)
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(partitions[a].priority(), partitions[b].priority())
	})
	return names
}

// priority with disko's defaults: what takes the rest comes last, and the BIOS
// boot partition first, since some firmware wants it there.
func (p Partition) priority() int {
	switch {
	case p.Priority != nil:
		return *p.Priority
	case p.Size == "100%":
		return 9001
	case p.Type == "EF02":
		return 100
	}
	return 1000
}

// entry is what does not depend on the device.
func (p Partition) entry(parent, key string) (Entry, error) {
	e := Entry{Name: key, Label: p.label(parent, key), Content: p.Content}
	typ := p.Type
	if _, swap := specOf[*Swap](p.Content); swap && typ == "" {
		typ = "8200"
	}
	var err error
	if e.Type, err = typeGUID(typ); err != nil {
		return e, err
	}
	if p.UUID != "" {
		e.GUID = uuid.MustParse(p.UUID) // validated
	}
	for _, bit := range p.Attribute {
		e.Attributes |= 1 << bit
	}
	if p.Hybrid == nil {
		return e, nil
	}
	e.MBR = &MBREntry{Type: hybridType(e.Type), Bootable: p.Hybrid.MBRBootableFlag, Part: "primary"}
	if p.Hybrid.MBRPartitionType != "" {
		e.MBR.Type, err = mbrType(p.Hybrid.MBRPartitionType)
	}
	return e, err
}

// label with disko's default; one that is too long is replaced by its hash.
func (p Partition) label(parent, key string) string {
	if p.Label != "" {
		return p.Label
	}
	label := parent + or(p.Name, key)
	if len(utf16.Encode([]rune(label))) <= maxLabel {
		return label
	}
	sum := sha256.Sum256([]byte(label))
	return hex.EncodeToString(sum[:])[:maxLabel]
}

// mbrType reads the type of an entry in an MBR: two hexadecimal digits.
func mbrType(s string) (byte, error) {
	n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(s), "0x"), 16, 8)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("expected a type in hexadecimal such as 0x0c, got %q", s)
	}
	return byte(n), nil
}

// hybridType is sgdisk's choice of a type for the MBR: the first half of its
// code for the type in the GPT.
func hybridType(guid uuid.UUID) byte {
	for _, code := range sortedKeys(codes) {
		if codes[code] == guid.String() {
			n, err := strconv.ParseUint(code[:2], 16, 8)
			if err == nil {
				return byte(n)
			}
		}
	}
	return 0x83
}

// keep finds the partitions that stay, settles their new sizes and takes their
// room out of what is free. All that is wrong is reported at once.
func keep(gpt *GPT, parent string, g Geometry, free *space) ([]Entry, error) {
	var kept []Entry
	var errs []error
	owner := map[int]string{}
	for _, key := range sortedKeys(gpt.Partitions) {
		p := gpt.Partitions[key]
		if !p.Keep {
			continue
		}
		if g.Now != nil && g.Now.Lost != "" {
			errs = append(errs, fmt.Errorf("keep partition %s: the partition table of the device is damaged, and partitions may be missing from it: %s; repair it first", key, g.Now.Lost))
			continue
		}
		e, err := p.find(parent, key, g)
		if other := owner[e.Number]; err == nil && other != "" {
			err = fmt.Errorf("is the same partition as %s", other)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("keep partition %s: %w", key, err))
			continue
		}
		owner[e.Number] = key
		kept = append(kept, e)
	}
	slices.SortFunc(kept, func(a, b Entry) int { return cmp.Compare(a.FirstLBA, b.FirstLBA) })
	for i := range kept {
		limit := free.last()
		if i+1 < len(kept) {
			limit = kept[i+1].FirstLBA - 1
		}
		p := gpt.Partitions[kept[i].Name]
		err := p.resize(&kept[i], limit, g.SectorSize)
		if err == nil {
			err = free.reserve(kept[i].FirstLBA, kept[i].LastLBA)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("keep partition %s: %w", kept[i].Name, err))
		}
	}
	return kept, errors.Join(errs...)
}

// find looks for a partition that is kept among those that are there.
func (p Partition) find(parent, key string, g Geometry) (Entry, error) {
	e, err := p.entry(parent, key)
	if err != nil {
		return e, err
	}
	if g.Now == nil {
		return e, errors.New("the device has no partition table")
	}
	if g.Now.Kind != KindGPT {
		return e, fmt.Errorf("the device has a table of type %s, expected gpt", g.Now.Kind)
	}
	found, err := p.among(g.Now.Entries, e.Label, key)
	if err != nil {
		return e, fmt.Errorf("%w%s", err, list(g.Now.Entries, g.SectorSize))
	}
	e.Number, e.GUID, e.FirstLBA, e.LastLBA = found.Number, found.GUID, found.FirstLBA, found.LastLBA
	e.Kept, e.OldLast = true, found.LastLBA
	if p.Type == "" {
		e.Type = found.Type
	}
	if p.Label == "" {
		e.Label = found.Label
	}
	if len(p.Attribute) == 0 {
		e.Attributes = found.Attributes
	}
	if q, err := parseQuantity(p.Size); err == nil && p.Resize == "" && e.LastLBA-e.FirstLBA+1 < q.sectors(g.SectorSize) {
		return e, fmt.Errorf("it is too small: %s, the layout wants %s%s", bytesString(e.Size(g.SectorSize)), p.Size, list(g.Now.Entries, g.SectorSize))
	}
	return e, nil
}

// among finds the partition by its UUID where that is given, else by its label,
// else by the key as label.
func (p Partition) among(entries []Entry, label, key string) (Entry, error) {
	if p.UUID != "" {
		want := uuid.MustParse(p.UUID)
		for _, e := range entries {
			if e.GUID == want {
				return e, nil
			}
		}
		return Entry{}, fmt.Errorf("no partition has the UUID %s", want)
	}
	for _, name := range []string{label, key} {
		var found []Entry
		for _, e := range entries {
			if e.Label == name {
				found = append(found, e)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return Entry{}, fmt.Errorf("%d partitions are labelled %q: give its uuid", len(found), name)
		case p.Label != "":
			return Entry{}, fmt.Errorf("no partition is labelled %q", p.Label)
		}
	}
	return Entry{}, fmt.Errorf("no partition is labelled %q or %q", label, key)
}

// resize settles where a kept partition ends; limit is the last sector that it
// may have.
func (p Partition) resize(e *Entry, limit uint64, sectorSize int) error {
	switch p.Resize {
	case "":
		return nil
	case "100%":
		align := p.align([]Entry{*e}, sectorSize)
		e.LastLBA = max(e.OldLast, run{e.FirstLBA, limit}.end(e.FirstLBA, align))
		return nil
	}
	q, err := parseQuantity(p.Resize)
	if err != nil {
		return err
	}
	n := q.sectors(sectorSize)
	if n == 0 || n > limit-e.FirstLBA+1 {
		return fmt.Errorf("resize it to %s: there is room for %s", p.Resize, bytesString(int64(limit-e.FirstLBA+1)*int64(sectorSize)))
	}
	e.LastLBA = e.FirstLBA + n - 1
	return nil
}

// list says what is on a device, for errors.
func list(entries []Entry, sectorSize int) string {
	if len(entries) == 0 {
		return "; there are no partitions"
	}
	var parts []string
	for _, e := range entries {
		parts = append(parts, fmt.Sprintf("%d %q %s (%s)", e.Number, e.Label, bytesString(e.Size(sectorSize)), e.GUID))
	}
	return "; there are: " + strings.Join(parts, ", ")
}

// keptList names what stands in the way of new partitions.
func keptList(kept []Entry, sectorSize int) string {
	if len(kept) == 0 {
		return ""
	}
	var parts []string
	for _, e := range kept {
		parts = append(parts, fmt.Sprintf("%s (%s to %s)", e.Name, bytesString(int64(e.FirstLBA)*int64(sectorSize)), bytesString(int64(e.LastLBA+1)*int64(sectorSize))))
	}
	return "; kept: " + strings.Join(parts, ", ")
}
