package probe

import "hash/crc32"

// xfs reads the first superblock (XFS Algorithms & Data Structures, 3rd
// edition, §13.1).
func xfs(s *source) *Result {
	b := s.read(0, 512)
	if !b.has(0, "XFSB") {
		return nil
	}
	block, sector := uint64(b.be32(4)), uint64(b.be16(102))
	blocks, groupBlocks, groups := b.be64(8), uint64(b.be32(84)), uint64(b.be32(88))
	switch {
	case !powerOfTwo(block, 512, 65536) || 1<<b[120] != block,
		!powerOfTwo(sector, 512, 32768) || 1<<b[121] != sector,
		!powerOfTwo(uint64(b.be16(104)), 256, 2048) || 1<<b[122] != b.be16(104),
		groups == 0 || blocks > groups*groupBlocks || blocks <= (groups-1)*groupBlocks:
		return nil
	}
	if b.be16(100)&0xf == 5 {
		whole := s.read(0, int(sector))
		if whole == nil || crc32.Checksum(whole.without(224, 4), castagnoli) != whole.le32(224) {
			return nil
		}
	}
	r := &Result{
		Type: "xfs", Usage: UsageFilesystem, UUID: b.uuid(32), Label: b.text(108, 12),
		Size: max(product(blocks, block), 0), BlockSize: int64(block), SectorSize: int64(sector),
	}
	r.MinSize = r.Size
	return r
}
