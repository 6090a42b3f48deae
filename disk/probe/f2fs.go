package probe

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const f2fsMagic = 0xf2f52010

// f2fs reads the first of the two superblocks that is whole (Linux
// include/linux/f2fs_fs.h).
func f2fs(s *source) *Result {
	for _, at := range []int64{1024, 4096 + 1024} {
		b := s.read(at, 3072)
		if b == nil || b.le32(0) != f2fsMagic {
			continue
		}
		sum := b.le32(32)
		if sum != 0 && (sum != 3068 || rawCRC(crc32.IEEETable, f2fsMagic, b[:sum]) != b.le32(3068)) {
			continue
		}
		block := uint64(1) << min(b.le32(16), 63)
		if !powerOfTwo(block, 4096, 65536) {
			continue
		}
		r := &Result{
			Type: "f2fs", Usage: UsageFilesystem, UUID: b.uuid(108), Label: b.utf16(124, 512, binary.LittleEndian),
			Version: fmt.Sprintf("%d.%d", b.le16(4), b.le16(6)), Offset: at,
			BlockSize: int64(block), SectorSize: 1 << min(b.le32(8), 30),
		}
		r.Size = max(product(b.le64(36), block), 0)
		r.Clean = f2fsClean(s, b, block)
		return r
	}
	return nil
}

// f2fsClean looks into the newer of the two checkpoints, of which the second is
// one segment later.
func f2fsClean(s *source, b bytesOf, block uint64) *bool {
	first, segment := product(uint64(b.le32(76)), block), product(1<<min(b.le32(20), 32), block)
	if first <= 0 || segment <= 0 {
		return nil
	}
	var clean *bool
	var newest uint64
	for _, at := range []int64{first, first + segment} {
		cp := s.read(at, 4096)
		if cp == nil {
			continue
		}
		sum := cp.le32(164) // where the checksum of everything before it is
		if sum < 192 || sum > 4092 || rawCRC(crc32.IEEETable, f2fsMagic, cp[:sum]) != cp.le32(int(sum)) {
			continue
		}
		if v := cp.le64(0); clean == nil || v > newest {
			newest, clean = v, known(cp.le32(132)&1 != 0 && cp.le32(132)&0x18 == 0) // unmounted; errors, fsck wanted
		}
	}
	return clean
}
