package probe

import (
	"encoding/json"
	"math"
	"strconv"
)

const luksMagic = "LUKS\xba\xbe"

// luksBackups are where the second header of LUKS2 may be: its first header is
// as large as that (LUKS2 On-Disk Format Specification §2.1).
var luksBackups = []int64{0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000}

// luks reads either version, and LUKS2 from its second header when the first is
// lost, as cryptsetup does.
func luks(s *source) *Result {
	if b := s.read(0, 4096); b.has(0, luksMagic) {
		r := &Result{Type: "crypto_LUKS", Usage: UsageCrypto, UUID: b.text(168, 40)}
		switch b.be16(6) {
		case 1:
			r.Version, r.DataOffset, r.SectorSize = "1", int64(b.be32(104))*512, 512
			return r
		case 2:
			if b.be64(256) == 0 {
				luks2(s, b, 0, r)
				return r
			}
		}
	}
	for _, at := range luksBackups {
		b := s.read(at, 4096)
		if b.has(0, "SKUL\xba\xbe") && b.be16(6) == 2 && b.be64(256) == uint64(at) {
			r := &Result{Type: "crypto_LUKS", Usage: UsageCrypto, UUID: b.text(168, 40), Offset: at}
			luks2(s, b, at, r)
			return r
		}
	}
	return nil
}

func luks2(s *source, b bytesOf, at int64, r *Result) {
	r.Version, r.Label, r.Subsystem = "2", b.text(24, 48), b.text(208, 48)
	size := b.be64(8)
	if size <= 4096 || size > 4<<20 {
		return
	}
	text := s.read(at+4096, int(size)-4096)
	if text == nil {
		return
	}
	var doc struct {
		Segments map[string]struct {
			Offset     string `json:"offset"`
			SectorSize int64  `json:"sector_size"`
		} `json:"segments"`
	}
	if json.Unmarshal([]byte(text.text(0, len(text))), &doc) != nil {
		return // damaged, or of a later version: the header above still stands
	}
	first := int64(math.MaxInt64)
	for _, seg := range doc.Segments {
		if off, err := strconv.ParseInt(seg.Offset, 10, 64); err == nil && off >= 0 && off < first {
			first, r.DataOffset, r.SectorSize = off, off, seg.SectorSize
		}
	}
}

// bitLocker is known by its boot sector; what else is in it is for Windows.
func bitLocker(s *source) *Result {
	b := s.read(0, 512)
	r := &Result{Type: "BitLocker", Usage: UsageCrypto, Offset: 3}
	const toGo = "\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"
	switch {
	case b.has(3, "-FVE-FS-"):
	case b.has(3, "MSWIN4.1") && b.has(424, toGo):
	default:
		return nil
	}
	r.SectorSize = int64(b.le16(11))
	return r
}
