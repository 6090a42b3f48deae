package probe

import (
	"hash/crc32"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// lvm reads a physical volume's label, in one of the first four sectors, and
// the name of its group from the text that its metadata begins with
// (lib/format_text/layout.h of LVM2).
func lvm(s *source) *Result {
	for sector := range int64(4) {
		b := s.read(sector*512, 512)
		if !b.has(0, "LABELONE") || !b.has(24, "LVM2 001") || b.le64(8) != uint64(sector) ||
			rawCRC(crc32.IEEETable, 0xf597a6cf, b[20:]) != b.le32(16) {
			continue
		}
		r := &Result{Type: "LVM2_member", Usage: UsageRAID, Version: "LVM2 001", Offset: sector*512 + 24}
		at := int64(b.le32(20))
		header := s.read(sector*512+at, 512)
		if at < 32 || at > 512-56 || header == nil {
			return r
		}
		r.UUID = lvmUUID(header.text(0, 32))
		if size := header.le64(32); size < 1<<62 {
			r.Size = int64(size)
		}
		r.DataOffset, r.Group = lvmAreas(s, header)
		return r
	}
	return nil
}

// lvmUUID sets the hyphens.
func lvmUUID(id string) string {
	if len(id) != 32 {
		return ""
	}
	return strings.Join([]string{id[:6], id[6:10], id[10:14], id[14:18], id[18:22], id[22:26], id[26:]}, "-")
}

// lvmAreas walks two lists of places and sizes, each ended by zeros: data, then
// metadata.
func lvmAreas(s *source, header bytesOf) (data int64, group *Group) {
	list := 0
	for at := 40; at+16 <= len(header) && list < 2; at += 16 {
		offset := header.le64(at)
		switch {
		case offset == 0:
			list++
		case offset > 1<<62:
			return data, group
		case list == 0 && data == 0:
			data = int64(offset)
		case list == 1 && group == nil:
			group = lvmGroup(s, int64(offset))
		}
	}
	return data, group
}

// lvmName is the first line of the text: the name of the group and a brace.
var lvmName = lazyregexp.New(`^([a-zA-Z0-9+_.-]{1,127}) \{\n`)

func lvmGroup(s *source, area int64) *Group {
	b := s.read(area, 512)
	if !b.has(4, " LVM2 x[5A%r0N*>") {
		return nil
	}
	at := b.le64(40) // of the text, from the start of the area
	if at == 0 || at > b.le64(32) || at > 1<<40 {
		return nil // no group yet
	}
	m := lvmName.FindSubmatch(s.read(area+int64(at), 132))
	if m == nil {
		return nil
	}
	return &Group{Name: string(m[1])}
}
