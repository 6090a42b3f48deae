package layout

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// mbrTypes are the types of entries in an MBR by parted's names of file systems;
// with FAT it sets the flag "lba" of its own accord.
var mbrTypes = map[string]byte{
	"": 0x83, "btrfs": 0x83, "ext2": 0x83, "ext3": 0x83, "ext4": 0x83, "reiserfs": 0x83, "xfs": 0x83,
	"fat16": 0x0e, "fat32": 0x0c, "hfs": 0xaf, "hfs+": 0xaf, "linux-swap": 0x82, "ntfs": 0x07, "udf": 0x07,
}

// gptTypes are those in a GPT, where they are not Linux's.
var gptTypes = map[string]string{
	"fat16": "0700", "fat32": "0700", "ntfs": "0700", "udf": "0700", "hfs": "AF00", "hfs+": "AF00", "linux-swap": "8200",
}

const (
	typeExtended = 0x0f // with LBA
	maxPrimary   = 4
	firstLogical = 5
)

// mbrFlags of parted are types, but for boot.
var mbrFlags = map[string]byte{
	"boot": 0, "lba": 0, "lvm": 0x8e, "raid": 0xfd, "swap": 0x82, "esp": 0xef, "prep": 0x41, "bls_boot": 0xea, "irst": 0x84,
}

// gptFlags are types, but for those of gptAttributes.
var gptFlags = map[string]string{
	"boot": "EF00", "esp": "EF00", "bios_grub": "EF02", "lvm": "8E00", "raid": "FD00", "swap": "8200", "prep": "4100",
	"bls_boot": "EA00", "msftdata": "0700", "msftres": "0C01", "linux-home": "8302", "legacy_boot": "",
}

// gptAttributes are bits (UEFI 2.10 table 5-7).
var gptAttributes = map[string]uint{"legacy_boot": 2}

func (c *check) mbr(s site, t *MBR) {
	c.oneOf(s.path+".format", "format", t.Format, "gpt", "msdos")
	dos := t.Format == "msdos"
	flags := sortedKeys(gptFlags)
	if dos {
		flags = sortedKeys(mbrFlags)
	}
	primary, extended := 0, ""
	for i, p := range t.Partitions {
		at := fmt.Sprintf("%s.partitions[%d]", s.path, i)
		c.oneOf(at+".part-type", "type", p.PartType, "primary", "logical", "extended")
		c.oneOf(at+".fs-type", "file system", p.FSType, sortedKeys(mbrTypes)[1:]...)
		for _, f := range p.Flags {
			c.oneOf(at+".flags", "flag", f, flags...)
		}
		c.places(at, p)
		switch {
		case !dos && (p.PartType == "logical" || p.PartType == "extended"):
			c.fail(at+".part-type", "a gpt has no %s partitions", p.PartType)
		case !dos || p.PartType != "logical":
			primary++
		case extended == "":
			c.fail(at+".part-type", "a logical partition needs an extended one before it")
		}
		if dos && p.PartType == "extended" {
			if extended != "" {
				c.fail(at+".part-type", "a table has one extended partition, and that is %s", extended)
			}
			extended = at
			if p.Content != nil {
				c.fail(at+".content", "an extended partition holds the logical ones, and nothing else")
			}
		}
	}
	if dos && primary > maxPrimary {
		c.fail(s.path+".partitions", "an msdos table has room for 4 primary and extended partitions, got %d", primary)
	}
}

func (c *check) places(at string, p MBRPartition) {
	for _, q := range []struct{ key, value string }{{"start", p.Start}, {"end", p.End}} {
		if _, err := parsePlace(or(q.value, "0%"), Geometry{Size: huge, SectorSize: 512}); err != nil {
			c.fail(at+"."+q.key, "%v", err)
		}
	}
}

// placeMBR puts the partitions of a table as disko has parted put them: in the
// order of the list.
func placeMBR(t *Table, m *MBR, g Geometry) error {
	dos := m.Format == "msdos"
	sectors := uint64(g.Size) / uint64(g.SectorSize)
	free := &space{g.SectorSize, []run{{1, sectors - 1}}}
	if dos {
		t.Kind = KindMBR
	} else if usable, err := newSpace(g); err != nil {
		return err
	} else {
		free = usable
	}
	if sectors < 2 {
		return errNoRoom
	}
	var logical *space
	number, next := 0, firstLogical
	for i, p := range m.Partitions {
		e, err := p.entry(i, dos)
		in := free
		if dos && p.PartType == "logical" {
			in, e.Number = logical, next
			next++
		} else {
			number++
			e.Number = number
		}
		if err == nil {
			err = p.take(&e, in, g, dos)
		}
		if err != nil {
			return fmt.Errorf("partition %s: %w", e.Name, err)
		}
		if e.MBR != nil && e.MBR.Part == "extended" {
			logical = &space{g.SectorSize, []run{{e.FirstLBA + 1, e.LastLBA}}}
		}
		if e.MBR != nil && e.MBR.Bootable {
			for j := range t.Entries { // parted leaves one
				t.Entries[j].MBR.Bootable = false
			}
		}
		t.Entries = append(t.Entries, e)
	}
	return nil
}

// entry is what does not depend on the device.
func (p MBRPartition) entry(index int, dos bool) (Entry, error) {
	e := Entry{Name: or(p.Name, strconv.Itoa(index+1)), Content: p.Content}
	flags := slices.Clone(p.Flags)
	if p.Bootable {
		flags = append([]string{"boot"}, flags...)
	}
	if dos {
		e.MBR = &MBREntry{Type: mbrTypes[p.FSType], Part: or(p.PartType, "primary")}
		if p.PartType == "extended" {
			e.MBR.Type = typeExtended
		}
		for _, f := range flags {
			if typ := mbrFlags[f]; typ != 0 {
				e.MBR.Type = typ
			}
			e.MBR.Bootable = e.MBR.Bootable || f == "boot"
		}
		return e, nil
	}
	e.Label = p.Name
	code := gptTypes[p.FSType]
	for _, f := range flags {
		code = or(gptFlags[f], code)
		if bit, ok := gptAttributes[f]; ok {
			e.Attributes |= 1 << bit
		}
	}
	var err error
	e.Type, err = typeGUID(code)
	return e, err
}

// take finds room for a partition.
func (p MBRPartition) take(e *Entry, in *space, g Geometry, dos bool) error {
	if in == nil {
		return errors.New("a logical partition needs an extended one before it")
	}
	start, err := parsePlace(or(p.Start, "0%"), g)
	if err != nil {
		return err
	}
	end, err := parsePlace(or(p.End, "100%"), g)
	if err != nil {
		return err
	}
	if end.binary && end.at > start.at {
		end.at--
	}
	i, r, err := in.within(start, end)
	if err != nil {
		return err
	}
	e.FirstLBA, e.LastLBA = settle(start, end, r, uint64(mebibyte/g.SectorSize))
	if e.LastLBA < e.FirstLBA {
		return errTaken
	}
	const most = 1<<32 - 1
	if dos && (e.FirstLBA > most || e.LastLBA-e.FirstLBA+1 > most) {
		return fmt.Errorf("an msdos table describes %s at most: use a gpt", bytesString(int64(most+1)*int64(g.SectorSize)))
	}
	from := e.FirstLBA
	if e.MBR != nil && e.MBR.Part == "logical" && from > r.first {
		from-- // its boot record comes before it
	}
	in.cut(i, from, e.LastLBA)
	if e.MBR != nil && e.MBR.Part == "logical" {
		in.skipRecords(e.LastLBA)
	}
	return nil
}

// skipRecords leaves a sector for the boot record of the next logical partition
// after one that ends at last.
func (s *space) skipRecords(last uint64) {
	s.runs = slices.DeleteFunc(s.runs, func(r run) bool { return r.first == last+1 && r.first == r.last })
	for i := range s.runs {
		if s.runs[i].first == last+1 {
			s.runs[i].first++
		}
	}
}

// within is the free range that a partition lies in: the one around its start,
// or the nearest that begins within the start's tolerance.
func (s *space) within(start, end place) (int, run, error) {
	if i := s.holding(start.at); i >= 0 {
		return i, s.runs[i], s.reaches(i, end)
	}
	for i, r := range s.runs {
		if r.first >= start.at && r.first <= start.high() {
			return i, r, s.reaches(i, end)
		}
	}
	return 0, run{}, errTaken
}

// reaches: the end may be outside of the range by its tolerance.
func (s *space) reaches(i int, end place) error {
	if r := s.runs[i]; end.high() < r.first || end.low() > r.last {
		return errTaken
	}
	return nil
}

// settle moves both ends to those of r, the free range, and then to the nearest
// aligned sectors in it, as far as their tolerances allow that; where one cannot
// be aligned neither is.
func settle(start, end place, r run, align uint64) (first, last uint64) {
	first, last = clamp(start.at, r.first, r.last), clamp(end.at, r.first, r.last)
	if start.low() <= r.first {
		first = r.first
	}
	if end.high() >= r.last {
		last = r.last
	}
	a, ok := aligned(first, max(start.low(), r.first), min(start.high(), r.last), align, 0)
	if !ok {
		return first, last
	}
	b, ok := aligned(last, max(end.low(), a), min(end.high(), r.last), align, align-1)
	if !ok {
		return first, last
	}
	return a, b
}

func clamp(n, low, high uint64) uint64 { return max(low, min(n, high)) }

// aligned is the sector nearest to n, from low to high, that is offset more
// than a multiple of align.
func aligned(n, low, high, align, offset uint64) (uint64, bool) {
	var best uint64
	found := false
	base := n / align * align
	for _, c := range []uint64{base + offset, base + align + offset, base - align + offset} {
		if c < low || c > high || c > n+2*align {
			continue
		}
		if d := max(c, n) - min(c, n); !found || d < max(best, n)-min(best, n) {
			best, found = c, true
		}
	}
	return best, found
}
