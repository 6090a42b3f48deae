package probe

import "strings"

// fatVolume is the geometry of a FAT file system (Microsoft FAT specification,
// §3). Places and lengths are in bytes.
type fatVolume struct {
	bits                         int // 12, 16 or 32
	sector, cluster              int64
	fat, fatLength               int64
	root, rootLength             int64 // of FAT12 and FAT16
	rootCluster                  uint32
	data, clusters, size, fsinfo int64
}

func vfat(s *source) *Result {
	b := s.read(0, 512)
	if b == nil || !fatLikely(b) {
		return nil
	}
	v, ok := fatGeometry(b)
	if !ok {
		return nil
	}
	r := &Result{Type: "vfat", Usage: UsageFilesystem, Size: v.size, BlockSize: v.cluster, SectorSize: v.sector}
	state, at := 0x25, 0x27
	if v.bits == 32 {
		state, at = 0x41, 0x43
	}
	r.UUID = serial(b.le32(at))
	r.Version = map[int]string{12: "FAT12", 16: "FAT16", 32: "FAT32"}[v.bits]
	label, found := v.label(s)
	if !found || label == "NO NAME" {
		label = b.text(at+4, 11)
	}
	if label != "NO NAME" {
		r.Label = label
	}
	r.Clean = v.clean(s, b[state]&1 != 0)
	r.MinSize = v.least(s)
	return r
}

// fatLikely is for boot sectors without the text that names the kind of FAT,
// which is no part of the format: they have to look like code, and not be of
// one of the others that begin with a jump.
func fatLikely(b bytesOf) bool {
	for _, other := range []string{"NTFS    ", "EXFAT   ", "-FVE-FS-"} {
		if b.has(3, other) {
			return false
		}
	}
	if b.has(0x52, "FAT32   ") || b.has(0x52, "MSWIN") || b.has(0x36, "FAT1") || b.has(0x36, "FAT     ") || b.has(0x36, "MSDOS") {
		return true
	}
	return (b[0] == 0xeb || b[0] == 0xe9) && b.has(510, "\x55\xaa") && !b.has(0x36, "JFS     ") && !b.has(0x36, "HPFS    ")
}

func fatGeometry(b bytesOf) (fatVolume, bool) {
	sector, perCluster, reserved := int64(b.le16(11)), int64(b[13]), int64(b.le16(14))
	fats, media := int64(b[16]), b[21]
	if !powerOfTwo(uint64(sector), 512, 4096) || !powerOfTwo(uint64(perCluster), 1, 128) ||
		reserved == 0 || fats == 0 || media < 0xf8 && media != 0xf0 {
		return fatVolume{}, false
	}
	total, length := int64(b.le16(19)), int64(b.le16(22))
	if total == 0 {
		total = int64(b.le32(32))
	}
	v := fatVolume{bits: 16, sector: sector, cluster: sector * perCluster, fat: reserved * sector, size: total * sector}
	if length == 0 {
		length = int64(b.le32(36))
		v.bits, v.rootCluster, v.fsinfo = 32, b.le32(44), int64(b.le16(48))*sector
	}
	v.fatLength = length * sector
	v.root, v.rootLength = v.fat+fats*v.fatLength, int64(b.le16(17))*32
	v.data = v.root + (v.rootLength+sector-1)/sector*sector
	v.clusters = (v.size - v.data) / v.cluster
	if length == 0 || v.clusters <= 0 || v.clusters > 0x0ffffff6 {
		return v, false
	}
	if v.bits == 16 && v.clusters < 0xff5 {
		v.bits = 12
	}
	return v, v.bits == 32 || v.clusters < 0xfff5
}

// label looks for the volume's entry in the root directory.
func (v fatVolume) label(s *source) (string, bool) {
	if v.bits != 32 {
		label, found, _ := fatLabelIn(s.read(v.root, int(v.rootLength)))
		return label, found
	}
	next := v.rootCluster
	const most = 2 << 20 // bytes of a directory
	for seen := int64(0); seen < most; seen += v.cluster {
		if next < 2 || int64(next) >= v.clusters+2 {
			break
		}
		label, found, end := fatLabelIn(s.read(v.data+int64(next-2)*v.cluster, int(v.cluster)))
		entry := s.read(v.fat+4*int64(next), 4)
		if found || end || entry == nil {
			return label, found
		}
		next = entry.le32(0) & 0x0fffffff
	}
	return "", false
}

func fatLabelIn(dir bytesOf) (label string, found, end bool) {
	const volumeID, directory, longName = 0x08, 0x10, 0x0f
	for ; len(dir) >= 32; dir = dir[32:] {
		attr := dir[11]
		switch {
		case dir[0] == 0:
			return "", false, true
		case dir[0] == 0xe5 || dir.le16(20) != 0 || dir.le16(26) != 0 || attr&0x3f == longName:
		case attr&(volumeID|directory) == volumeID:
			label = dir.text(0, 11)
			if rest, ok := strings.CutPrefix(label, "\x05"); ok {
				label = "\xe5" + rest
			}
			return label, true, true
		}
	}
	return "", false, false
}

// clean needs both signs: Linux marks the boot sector, others the second entry
// of the FAT, where FAT12 has no room for it.
func (v fatVolume) clean(s *source, dirty bool) *bool {
	entry := s.read(v.fat, 8)
	switch {
	case entry == nil:
		return nil
	case v.bits == 32:
		dirty = dirty || entry.le32(4)&0x0c000000 != 0x0c000000
	case v.bits == 16:
		dirty = dirty || entry.le16(2)&0xc000 != 0xc000
	}
	return known(!dirty)
}

// mostFAT bounds how much of a FAT is counted.
const mostFAT = 32 << 20

// least counts the clusters in use. The kind of FAT follows from the number of
// clusters, so one that shrinks keeps as many as its kind needs.
func (v fatVolume) least(s *source) int64 {
	used := int64(-1)
	if length := v.clusters * int64(v.bits) / 8; length <= mostFAT {
		used = v.count(s)
	}
	if used < 0 {
		return 0
	}
	kind := map[int]int64{12: 1, 16: 0xff5, 32: 0xfff5}[v.bits]
	clusters := max(used+used/32+16, kind+16)
	return min(v.size, v.data+clusters*v.cluster)
}

func (v fatVolume) count(s *source) int64 {
	const step = 96 << 10 // whole entries of 12, 16 and 32 bits
	used, length := int64(0), ((v.clusters+2)*int64(v.bits)+7)/8
	for at := int64(0); at < length; at += step {
		b := s.read(v.fat+at, int(min(step, length-at)))
		if b == nil {
			return -1
		}
		used += fatUsed(b, v.bits)
	}
	return max(used-2, 0) // the first two are no clusters
}

func fatUsed(b bytesOf, bits int) (used int64) {
	switch bits {
	case 32:
		for ; len(b) >= 4; b = b[4:] {
			if b.le32(0)&0x0fffffff != 0 {
				used++
			}
		}
	case 16:
		for ; len(b) >= 2; b = b[2:] {
			if b.le16(0) != 0 {
				used++
			}
		}
	default:
		for ; len(b) >= 2; b = b[min(3, len(b)):] {
			if b.le16(0)&0xfff != 0 {
				used++
			}
			if len(b) >= 3 && b.le16(1)>>4 != 0 {
				used++
			}
		}
	}
	return used
}
