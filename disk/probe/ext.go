package probe

import "fmt"

// Features of ext2, ext3 and ext4 (Documentation/filesystems/ext4/super.rst).
const (
	extJournal      = 0x4    // compatible
	extRecover      = 0x4    // incompatible: the journal has to be replayed
	extJournalDev   = 0x8    // incompatible: it is a journal of another one
	ext64bit        = 0x80   // incompatible
	ext2Incompat    = 0x12   // filetype, meta_bg
	ext3Incompat    = 0x16   // and recover
	ext2ROCompat    = 0x7    // sparse_super, large_file, btree_dir
	extMetadataCSum = 0x400  // read-only compatible
	extValid        = 0x1    // s_state: unmounted in order
	extErrors       = 0x2    // s_state
	extTestFS       = 0x0004 // s_flags: for development kernels
)

// ext tells ext2, ext3 and ext4 apart by what they need: whatever an ext3
// driver could not read or write is ext4.
func ext(s *source) *Result {
	b := s.read(1024, 1024)
	if !b.has(56, "\x53\xef") || b.le32(24) > 6 || b.le32(32) == 0 {
		return nil
	}
	compat, incompat, roCompat := b.le32(92), b.le32(96), b.le32(100)
	if b.le32(40) == 0 && incompat&extJournalDev == 0 { // inodes per group
		return nil
	}
	if roCompat&extMetadataCSum != 0 && rawCRC(castagnoli, ^uint32(0), b[:1020]) != b.le32(1020) {
		return nil
	}
	r := &Result{
		Type: "ext4", Usage: UsageFilesystem, UUID: b.uuid(104), Label: b.text(120, 16), Offset: 1024 + 56,
		Version: fmt.Sprintf("%d.%d", b.le32(76), b.le16(62)), BlockSize: 1024 << b.le32(24),
	}
	switch {
	case incompat&extJournalDev != 0:
		r.Type, r.Usage = "jbd", UsageOther
		return r
	case roCompat&^ext2ROCompat != 0 || incompat&^ext3Incompat != 0:
		if b.le32(352)&extTestFS != 0 {
			r.Type = "ext4dev"
		}
	case compat&extJournal != 0:
		r.Type = "ext3"
	case incompat&^ext2Incompat == 0:
		r.Type = "ext2"
	}
	r.Clean = known(b.le16(58)&extValid != 0 && b.le16(58)&extErrors == 0 && incompat&extRecover == 0)
	free := uint64(b.le32(12))
	if incompat&ext64bit != 0 {
		free |= uint64(b.le32(0x158)) << 32
	}
	if size := product(extBlocks(b), uint64(r.BlockSize)); size > 0 {
		if least := extLeast(b, free, uint64(b.le32(16))); least > 0 {
			r.Size, r.MinSize = size, least
		}
	}
	return r
}
