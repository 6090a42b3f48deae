package probe

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// erofs reads its superblock (Linux fs/erofs/erofs_fs.h).
func erofs(s *source) *Result {
	b := s.read(1024, 128)
	if b == nil || b.le32(0) != 0xe0f5e1e2 || b[12] < 9 || b[12] > 16 {
		return nil
	}
	block := int64(1) << b[12]
	if b.le32(8)&1 != 0 { // there is a checksum, of the rest of the block
		n := block
		if n > 1024 {
			n -= 1024
		}
		whole := s.read(1024, int(n))
		if whole == nil || rawCRC(castagnoli, ^uint32(0), whole.without(4, 4)) != whole.le32(4) {
			return nil
		}
	}
	size := int64(b.le32(36)) * block
	return &Result{
		Type: "erofs", Usage: UsageFilesystem, Offset: 1024, UUID: b.uuid(48), Label: b.text(64, 16),
		Size: size, MinSize: size, BlockSize: block,
	}
}

// squashfs reads its superblock (Documentation/filesystems/squashfs.rst).
// Before version 4 it may be of either byte order.
func squashfs(s *source) *Result {
	b := s.read(0, 96)
	var order binary.ByteOrder = binary.LittleEndian
	switch {
	case b.has(0, "hsqs"):
	case b.has(0, "sqsh"):
		order = binary.BigEndian
	default:
		return nil
	}
	major, minor := order.Uint16(b[28:]), order.Uint16(b[30:])
	r := &Result{Type: "squashfs", Usage: UsageFilesystem, Version: fmt.Sprintf("%d.%d", major, minor)}
	if major < 4 {
		r.Type = "squashfs3"
		return r
	}
	if order != binary.LittleEndian {
		return nil
	}
	r.Size, r.BlockSize = max(product(b.le64(40), 1), 0), int64(b.le32(12))
	r.MinSize = r.Size
	return r
}

const isoSector = 2048

// iso9660 reads the primary volume descriptor, and the name that Joliet gives
// where it is another one (ECMA-119 §8.4).
func iso9660(s *source) *Result {
	b := s.read(16*isoSector, isoSector)
	if !b.has(1, "CD001") {
		return nil
	}
	block := int64(b.le16(128))
	r := &Result{
		Type: "iso9660", Usage: UsageFilesystem, Offset: 16*isoSector + 1,
		UUID: isoDate(b[830:847]), Label: b.text(40, 32), BlockSize: block,
	}
	r.Size = int64(b.le32(80)) * block
	r.MinSize = r.Size
	if r.UUID == "" {
		r.UUID = isoDate(b[813:830])
	}
	for i := range int64(16) {
		d := s.read((17+i)*isoSector, isoSector)
		if !d.has(1, "CD001") || d[0] == 0xff {
			break
		}
		if escape := string(d[88:91]); d[0] != 2 || escape != "%/@" && escape != "%/C" && escape != "%/E" {
			continue
		}
		r.Version = "Joliet Extension"
		if name := d.utf16(40, 16, binary.BigEndian); !strings.HasPrefix(string(b[40:72]), name) {
			r.Label = name
		}
		break
	}
	return r
}

// isoDate is the time of the image, which serves as its UUID:
// 2026-07-30-12-00-00-00.
func isoDate(b bytesOf) string {
	digits := string(b[:16])
	if strings.Trim(digits, "0") == "" && b[16] == 0 || strings.Trim(digits, "0123456789") != "" {
		return ""
	}
	parts := []string{digits[:4]}
	for i := 4; i < 16; i += 2 {
		parts = append(parts, digits[i:i+2])
	}
	return strings.Join(parts, "-")
}
