package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/victorinix/vic/disk/probe"
)

// Signature is something on a disk that says what the bytes around it are.
type Signature struct {
	Type   string // as blkid names it, where blkid knows it
	Offset int64  // bytes, from the start of the device
}

// mark is a place where a kind of content is known by its magic bytes.
type mark struct {
	typ   string
	at    int64 // bytes; negative: from the end
	align int64 // for places from the end: rounded down to this first
	magic string
}

// marks are from the formats' own documentation and headers: Linux
// include/uapi/linux/magic.h, fs/*, drivers/md/md_p.h, and cryptsetup's
// on-disk format specifications.
var marks = []mark{
	{typ: "ext4", at: 0x438, magic: "\x53\xef"},
	{typ: "xfs", at: 0, magic: "XFSB"},
	{typ: "xfs_log", at: 0, magic: "\xfe\xed\xba\xbe"},
	{typ: "btrfs", at: 0x10040, magic: "_BHRfS_M"},
	{typ: "btrfs", at: 64<<20 + 0x40, magic: "_BHRfS_M"},
	{typ: "btrfs", at: 256<<30 + 0x40, magic: "_BHRfS_M"},
	{typ: "f2fs", at: 0x400, magic: "\x10\x20\xf5\xf2"},
	{typ: "f2fs", at: 0x1400, magic: "\x10\x20\xf5\xf2"},
	{typ: "bcache", at: 0x1018, magic: "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"},
	{typ: "bcachefs", at: 0x1018, magic: "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"},
	{typ: "erofs", at: 0x400, magic: "\xe2\xe1\xf5\xe0"},
	{typ: "squashfs", at: 0, magic: "hsqs"},
	{typ: "vfat", at: 0x36, magic: "FAT12   "},
	{typ: "vfat", at: 0x36, magic: "FAT16   "},
	{typ: "vfat", at: 0x52, magic: "FAT32   "},
	{typ: "exfat", at: 3, magic: "EXFAT   "},
	{typ: "ntfs", at: 3, magic: "NTFS    "},
	{typ: "ReFS", at: 3, magic: "ReFS\x00"},
	{typ: "iso9660", at: 0x8001, magic: "CD001"},
	{typ: "udf", at: 0x8001, magic: "NSR0"},
	{typ: "udf", at: 0x8001, magic: "BEA01"},
	{typ: "hfsplus", at: 0x400, magic: "H+\x00\x04"},
	{typ: "hfsplus", at: 0x400, magic: "HX\x00\x05"},
	{typ: "hfs", at: 0x400, magic: "BD"},
	{typ: "apfs", at: 32, magic: "NXSB"},
	{typ: "jfs", at: 0x8000, magic: "JFS1"},
	{typ: "reiserfs", at: 0x10034, magic: "ReIsEr"},
	{typ: "nilfs2", at: 0x406, magic: "\x34\x34"},
	{typ: "nilfs2", at: -0x1000 + 0x06, align: 0x1000, magic: "\x34\x34"},
	{typ: "gfs2", at: 0x10000, magic: "\x01\x16\x19\x70"},
	{typ: "VMFS", at: 0x100000, magic: "\x0d\xd0\x01\xc0"},
	{typ: "swap", at: 0x1000 - 10, magic: "SWAPSPACE2"},
	{typ: "swap", at: 0x1000 - 10, magic: "SWAP-SPACE"},
	{typ: "swap", at: 0x4000 - 10, magic: "SWAPSPACE2"},
	{typ: "swap", at: 0x10000 - 10, magic: "SWAPSPACE2"},
	{typ: "swsuspend", at: 0x1000 - 10, magic: "S1SUSPEND"},
	{typ: "swsuspend", at: 0x1000 - 10, magic: "LINHIB0001"},
	{typ: "crypto_LUKS", at: 0, magic: "LUKS\xba\xbe"},
	{typ: "BitLocker", at: 3, magic: "-FVE-FS-"},
	{typ: "LVM2_member", at: 0x018, magic: "LVM2 001"},
	{typ: "LVM2_member", at: 0x218, magic: "LVM2 001"},
	{typ: "LVM2_member", at: 0x418, magic: "LVM2 001"},
	{typ: "LVM2_member", at: 0x618, magic: "LVM2 001"},
	{typ: "stratis", at: 0x204, magic: "!Stra0tis"},
	{typ: "linux_raid_member", at: -0x10000, align: 0x10000, magic: "\xfc\x4e\x2b\xa9"}, // 0.90
	{typ: "linux_raid_member", at: -0x2000, align: 0x1000, magic: "\xfc\x4e\x2b\xa9"},   // 1.0
	{typ: "linux_raid_member", at: 0, magic: "\xfc\x4e\x2b\xa9"},                        // 1.1
	{typ: "linux_raid_member", at: 0x1000, magic: "\xfc\x4e\x2b\xa9"},                   // 1.2
	{typ: "ddf_raid_member", at: -0x200, align: 0x200, magic: "\xde\x11\xde\x11"},
	{typ: "ddf_raid_member", at: -0x20200, align: 0x200, magic: "\xde\x11\xde\x11"},
	{typ: "isw_raid_member", at: -0x400, align: 0x200, magic: "Intel Raid ISM Cfg Sig. "},
	{typ: "drbd", at: -0x1000 + 0x3c, align: 0x1000, magic: "\x83\x74\x02\x6b"},
	{typ: "drbd", at: -0x1000 + 0x3c, align: 0x1000, magic: "\x83\x74\x02\x6d"},
	{typ: "gpt", at: 0x200, magic: "EFI PART"},
	{typ: "gpt", at: 0x1000, magic: "EFI PART"},
	{typ: "gpt", at: -0x200, align: 0x200, magic: "EFI PART"},
	{typ: "gpt", at: -0x1000, align: 0x1000, magic: "EFI PART"},
	{typ: "dos", at: 0x1fe, magic: "\x55\xaa"},
}

// luksBackups are where the second header of LUKS2 may be: its first header is
// as large as that (LUKS2 On-Disk Format Specification §2.1).
var luksBackups = []int64{0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x400000}

// zfsMagic is in the uberblocks of the four labels of 256 KiB, two at either
// end, in either byte order.
var zfsMagic = [][]byte{{0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0}, {0, 0, 0, 0, 0, 0xba, 0xb1, 0x0c}}

// place is where a mark is in a device of that size, or -1.
func (m mark) place(size int64) int64 {
	at := m.at
	if m.at < 0 {
		at = size/m.align*m.align + m.at
	}
	if at < 0 || at+int64(len(m.magic)) > size {
		return -1
	}
	return at
}

// Signatures lists what the bytes of a range say that it is. An empty range of
// a disk that was wiped has none.
func Signatures(d Device, off, size int64) ([]Signature, error) {
	if off < 0 || size < 0 || off+size > d.Size() {
		return nil, fmt.Errorf("look for signatures: bytes %d to %d are not on the device", off, off+size)
	}
	s := search{r: probe.Ends(io.NewSectionReader(d, off, size), size), off: off, size: size}
	for _, m := range marks {
		s.look(m.typ, m.place(size), []byte(m.magic))
	}
	for _, at := range luksBackups {
		s.look("crypto_LUKS", at, []byte("SKUL\xba\xbe"))
	}
	s.zfs()
	if s.err != nil {
		return nil, fmt.Errorf("look for signatures: %w", s.err)
	}
	return s.found, nil
}

// search keeps its first error, like bufio.Writer.
type search struct {
	r         io.ReaderAt // of the range
	off, size int64
	found     []Signature
	err       error
}

func (s *search) read(at int64, n int) []byte {
	if s.err != nil || at < 0 || at+int64(n) > s.size {
		return nil
	}
	b := make([]byte, n)
	if _, err := s.r.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
		s.err = err
		return nil
	}
	return b
}

func (s *search) look(typ string, at int64, magic []byte) {
	if b := s.read(at, len(magic)); b != nil && bytes.Equal(b, magic) {
		s.found = append(s.found, Signature{typ, s.off + at})
	}
}

// zfs looks at the start of every uberblock; they are at least 1 KiB apart.
func (s *search) zfs() {
	const label, ring = 256 << 10, 128 << 10
	end := s.size / label * label
	for _, start := range []int64{0, label, end - 2*label, end - label} {
		b := s.read(start+ring, ring)
		for at := 0; at < len(b); at += 1 << 10 {
			if bytes.HasPrefix(b[at:], zfsMagic[0]) || bytes.HasPrefix(b[at:], zfsMagic[1]) {
				s.found = append(s.found, Signature{"zfs_member", s.off + start + ring + int64(at)})
				break
			}
		}
	}
}
