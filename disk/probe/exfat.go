package probe

import (
	"encoding/binary"
	"fmt"
)

// exfat reads the main boot region (exFAT specification §3).
func exfat(s *source) *Result {
	b := s.read(0, 512)
	if !b.has(3, "EXFAT   ") || b[108] < 9 || b[108] > 12 || b[109] > 25-b[108] || !exfatSum(s, int64(1)<<b[108]) {
		return nil
	}
	sector := uint64(1) << b[108]
	cluster := sector << b[109]
	r := &Result{
		Type: "exfat", Usage: UsageFilesystem, Offset: 3, UUID: serial(b.le32(100)),
		Version: fmt.Sprintf("%d.%d", b[105], b[104]), BlockSize: int64(cluster), SectorSize: int64(sector),
		Size: max(product(b.le64(72), sector), 0), Clean: known(b.le16(106)&2 == 0),
	}
	fat, heap := int64(b.le32(80))*int64(sector), int64(b.le32(88))*int64(sector)
	next, clusters := b.le32(96), b.le32(92)
	for range 100 {
		if next < 2 || next-2 >= clusters {
			break
		}
		label, end := exfatLabel(s, heap+int64(next-2)*int64(cluster), int64(cluster))
		if r.Label = label; end {
			break
		}
		entry := s.read(fat+4*int64(next), 4)
		if entry == nil {
			break
		}
		next = entry.le32(0)
	}
	return r
}

// exfatSum checks the boot region: eleven sectors, and one that repeats their
// sum.
func exfatSum(s *source, sector int64) bool {
	b := s.read(0, int(12*sector))
	if b == nil {
		return false
	}
	sum := uint32(0)
	for i, c := range b[:11*sector] {
		if i != 106 && i != 107 && i != 112 { // flags and percent in use change
			sum = sum<<31 | sum>>1
			sum += uint32(c)
		}
	}
	return sum == b.le32(int(11*sector))
}

// exfatLabel looks for the volume label among the entries of a cluster, of
// which it is one of the first; a cluster may have 32 MiB.
func exfatLabel(s *source, at, cluster int64) (label string, end bool) {
	dir := s.read(at, int(min(cluster, 64<<10)))
	for ; len(dir) >= 32; dir = dir[32:] {
		switch dir[0] {
		case 0:
			return "", true
		case 0x83:
			return dir.utf16(2, min(int(dir[1]), 11), binary.LittleEndian), true
		}
	}
	return "", dir == nil
}
