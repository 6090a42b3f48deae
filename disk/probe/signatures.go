package probe

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

// Signature is something that says what the bytes around it are.
type Signature struct {
	Type   string // as blkid names it, where blkid knows it
	Offset int64  // bytes, from the start of what was looked through
}

// traces are the magic bytes of what Probe reads itself, at every place where
// there may be some: copies, and what is left of a content that is no more. They
// are from the formats' own documentation and headers: Linux
// include/uapi/linux/magic.h, fs/*, drivers/md/md_p.h, and cryptsetup's on-disk
// format specifications.
var traces = []mark{
	{"ext4", "", 0x438, 0, "\x53\xef"},
	{"xfs", "", 0, 0, "XFSB"},
	{"btrfs", "", 0x10040, 0, "_BHRfS_M"},
	{"btrfs", "", 64<<20 + 0x40, 0, "_BHRfS_M"},
	{"btrfs", "", 256<<30 + 0x40, 0, "_BHRfS_M"},
	{"f2fs", "", 0x400, 0, "\x10\x20\xf5\xf2"},
	{"f2fs", "", 0x1400, 0, "\x10\x20\xf5\xf2"},
	{"bcache", "", 0x1018, 0, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"},
	{"bcachefs", "", 0x1018, 0, "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"},
	{"erofs", "", 0x400, 0, "\xe2\xe1\xf5\xe0"},
	{"squashfs", "", 0, 0, "hsqs"},
	{"vfat", "", 0x36, 0, "FAT12   "},
	{"vfat", "", 0x36, 0, "FAT16   "},
	{"vfat", "", 0x52, 0, "FAT32   "},
	{"exfat", "", 3, 0, "EXFAT   "},
	{"ntfs", "", 3, 0, "NTFS    "},
	{"iso9660", "", 0x8001, 0, "CD001"},
	{"udf", "", 0x8001, 0, "NSR0"},
	{"udf", "", 0x8001, 0, "BEA01"},
	{"hfs", "", 0x400, 0, "BD"},
	{"nilfs2", "", 0x406, 0, "\x34\x34"},
	{"nilfs2", "", -0x1000 + 0x06, 0x1000, "\x34\x34"},
	{"swap", "", 0x1000 - 10, 0, "SWAPSPACE2"},
	{"swap", "", 0x1000 - 10, 0, "SWAP-SPACE"},
	{"swap", "", 0x4000 - 10, 0, "SWAPSPACE2"},
	{"swap", "", 0x10000 - 10, 0, "SWAPSPACE2"},
	{"swsuspend", "", 0x1000 - 10, 0, "S1SUSPEND"},
	{"swsuspend", "", 0x1000 - 10, 0, "LINHIB0001"},
	{"crypto_LUKS", "", 0, 0, "LUKS\xba\xbe"},
	{"BitLocker", "", 3, 0, "-FVE-FS-"},
	{"LVM2_member", "", 0x018, 0, "LVM2 001"},
	{"LVM2_member", "", 0x218, 0, "LVM2 001"},
	{"LVM2_member", "", 0x418, 0, "LVM2 001"},
	{"LVM2_member", "", 0x618, 0, "LVM2 001"},
	{"linux_raid_member", "", -0x10000, 0x10000, "\xfc\x4e\x2b\xa9"}, // 0.90
	{"linux_raid_member", "", -0x2000, 0x1000, "\xfc\x4e\x2b\xa9"},   // 1.0
	{"linux_raid_member", "", 0, 0, "\xfc\x4e\x2b\xa9"},              // 1.1
	{"linux_raid_member", "", 0x1000, 0, "\xfc\x4e\x2b\xa9"},         // 1.2
	{"gpt", "", 0x200, 0, "EFI PART"},
	{"gpt", "", 0x1000, 0, "EFI PART"},
	{"gpt", "", -0x200, 0x200, "EFI PART"},
	{"gpt", "", -0x1000, 0x1000, "EFI PART"},
	{"dos", "", 0x1fe, 0, "\x55\xaa"},
}

// zfsMagic is in the uberblocks of the four labels of 256 KiB, two at either
// end, in either byte order.
var zfsMagic = [][]byte{{0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0xba, 0xb1, 0x0c}}

// Signatures lists every place in size bytes of r that says what they are: also
// what Probe takes for no content, such as the backup of a header that is gone,
// or a partition table. Bytes that were wiped have none.
func Signatures(r io.ReaderAt, size int64) ([]Signature, error) {
	s := newSource(r, size)
	defer s.ends.done()
	var list []Signature
	look := func(typ string, at int64, magic string) {
		if s.read(at, len(magic)).has(0, magic) {
			list = append(list, Signature{typ, at})
		}
	}
	for _, m := range slices.Concat(traces, marks) {
		look(m.typ, m.place(size), m.magic)
	}
	for _, at := range luksBackups {
		look("crypto_LUKS", at, "SKUL\xba\xbe")
	}
	list = append(list, s.uberblocks()...)
	if s.err != nil {
		return list, fmt.Errorf("look for signatures: %w", s.err)
	}
	return list, nil
}

// uberblocks looks for those of ZFS, which are at least 1 KiB apart, and finds
// one of each label.
func (s *source) uberblocks() []Signature {
	const label, ring = 256 << 10, 128 << 10
	var list []Signature
	end := s.size / label * label
	for _, start := range []int64{0, label, end - 2*label, end - label} {
		b := s.read(start+ring, ring)
		for at := 0; at < len(b); at += 1 << 10 {
			if bytes.HasPrefix(b[at:], zfsMagic[0]) || bytes.HasPrefix(b[at:], zfsMagic[1]) {
				list = append(list, Signature{"zfs_member", start + ring + int64(at)})
				break
			}
		}
	}
	return list
}
