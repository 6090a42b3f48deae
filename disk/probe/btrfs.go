package probe

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
)

// btrfs reads the first superblock of one device
// (https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html).
func btrfs(s *source) *Result {
	const at = 64 << 10
	b := s.read(at, 4096)
	if !b.has(0x40, "_BHRfS_M") || b.le64(0x30) != at || !btrfsSum(b) {
		return nil
	}
	sector := uint64(b.le32(0x90))
	if !powerOfTwo(sector, 512, 65536) {
		return nil
	}
	r := &Result{
		Type: "btrfs", Usage: UsageFilesystem, Offset: at + 0x40,
		UUID: b.uuid(0x20), SubUUID: b.uuid(0x10b), Label: b.text(0x12b, 256),
		BlockSize: int64(sector), SectorSize: int64(sector),
		Group: &Group{Devices: int(min(b.le64(0x88), 1<<16))},
	}
	total, allocated, used := b.le64(0xd1), b.le64(0xd9), b.le64(0x78)
	if total > 1<<62 {
		return r
	}
	r.Size = int64(total)
	// A chunk can be moved to wherever there is room for it: everything that is
	// allocated fits for certain, twice what is used (metadata is duplicated)
	// and a chunk to move things into mostly less. The kernel refuses less than
	// 256 MiB.
	const chunk = 256 << 20
	least := allocated
	if used < total/2 {
		least = min(least, 2*used)
	}
	r.MinSize = int64(min(total, max(least, chunk)+max(chunk, least/8)))
	return r
}

// btrfsSum checks the kinds of checksum that the standard library has.
func btrfsSum(b bytesOf) bool {
	switch b.le16(0xc4) {
	case 0:
		return crc32.Checksum(b[32:], castagnoli) == binary.LittleEndian.Uint32(b)
	case 2:
		sum := sha256.Sum256(b[32:])
		return bytes.Equal(sum[:], b[:32])
	}
	return b.le16(0xc4) < 4 // xxhash, blake2
}
