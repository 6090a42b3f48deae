package flash

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/victorinix/vic/disk"
)

// table is what the first sectors of an image say about it.
type table struct {
	kind       string // "gpt", "mbr", "iso9660"; empty: none of them
	sectorSize int    // bytes that the table counts in; 0: it does not count
	end        int64  // bytes that a device needs for the partitions
	// backup is where the backup GPT is in the image. It is written last; empty when
	// there is none, or it is in the first MiB.
	backup disk.Range
	header []byte // of the GPT, and its entries
	last   int64  // LBA of the last sector of the last partition
	alt    int64  // LBA of the backup's header
}

// Fields of a GPT header, UEFI 2.10 table 5-5.
const (
	gptSignature  = "EFI PART"
	gptHeaderSize = 92
	gptEntrySize  = 128
	maxGPTEntries = 1024
)

// readTable reads the first MiB of an image.
func readTable(head []byte) table {
	var t table
	for _, sectorSize := range []int{512, 4096} {
		if g, ok := readGPT(head, sectorSize); ok {
			t = g
			break
		}
	}
	if t.kind == "" {
		t = readMBR(head)
	}
	if len(head) > 0x8006 && string(head[0x8001:0x8006]) == "CD001" {
		// Its table is one of several views, and may be part of a checksum.
		t.kind, t.sectorSize, t.backup = "iso9660", 0, disk.Range{}
	}
	return t
}

func readGPT(head []byte, sectorSize int) (table, bool) {
	h := head[min(sectorSize, len(head)):]
	if len(h) < gptHeaderSize || string(h[:8]) != gptSignature || !soundHeader(h[:gptHeaderSize]) {
		return table{}, false
	}
	le := binary.LittleEndian
	count, size, at := int64(le.Uint32(h[80:])), int64(le.Uint32(h[84:])), le.Uint64(h[72:])
	first := int64(at) * int64(sectorSize)
	if le.Uint64(h[24:]) != 1 || size != gptEntrySize || count < 1 || count > maxGPTEntries || at < 2 || at > headSize/512 || first+count*size > int64(len(head)) {
		return table{}, false
	}
	entries := head[first : first+count*size]
	if crc32.ChecksumIEEE(entries) != le.Uint32(h[88:]) {
		return table{}, false
	}
	t := table{kind: "gpt", sectorSize: sectorSize, header: slices.Clone(h[:gptHeaderSize]), alt: int64(le.Uint64(h[32:]))}
	for e := entries; len(e) > 0; e = e[gptEntrySize:] {
		if end := le.Uint64(e[40:]); !bytes.Equal(e[:16], zeroes[:16]) && end < 1<<50 {
			t.last = max(t.last, int64(end))
		}
	}
	sectors := t.backupSectors(count * size)
	t.end = (t.last + 1 + sectors) * int64(sectorSize)
	if start := (t.alt + 1 - sectors) * int64(sectorSize); t.alt > 0 && t.alt < 1<<50 && start >= headSize {
		t.backup = disk.Range{Offset: start, Size: sectors * int64(sectorSize)}
	}
	return t, true
}

// backupSectors is how many sectors a backup takes: entries, then the header.
func (t table) backupSectors(entries int64) int64 {
	return roundUp(entries, int64(t.sectorSize))/int64(t.sectorSize) + 1
}

func soundHeader(h []byte) bool {
	b := slices.Clone(h)
	clear(b[16:20])
	size := binary.LittleEndian.Uint32(h[12:])
	return size == gptHeaderSize && crc32.ChecksumIEEE(b) == binary.LittleEndian.Uint32(h[16:])
}

// readMBR recognises a partition table. The boot sector of a FAT has the same
// two last bytes, and no entries that make sense.
func readMBR(head []byte) table {
	if len(head) < 512 || head[510] != 0x55 || head[511] != 0xaa {
		return table{}
	}
	var t table
	for e := head[446:510]; len(e) > 0; e = e[16:] {
		first, n := int64(binary.LittleEndian.Uint32(e[8:])), int64(binary.LittleEndian.Uint32(e[12:]))
		switch {
		case e[0]&0x7f != 0:
			return table{}
		case e[4] == 0 || e[4] == 0xee || first == 0 || n == 0:
		default:
			t = table{kind: "mbr", sectorSize: 512, end: max(t.end, (first+n)*512)}
		}
	}
	return t
}

// ending is what is written last: the first MiB, and the backup GPT with the
// byte where it goes. A device that is not as large as the image was made for
// gets a backup at its own end, and a header that says so, as UEFI 2.10 §5.3.2
// asks for; the copy inside is not written.
func (t table) ending(head, held []byte, dev disk.Device, keep bool) (first, backup []byte, at int64) {
	if t.backup.Size == 0 {
		return head, nil, 0
	}
	sectors := dev.Size() / int64(t.sectorSize)
	room := sectors - t.backup.Size/int64(t.sectorSize)
	if keep || t.alt == sectors-1 || t.last >= room {
		if t.backup.Offset+t.backup.Size > dev.Size() {
			return head, nil, 0 // the image ended before its backup
		}
		return head, held, t.backup.Offset
	}
	return t.move(head, sectors)
}

// move makes both copies for a device of so many sectors.
func (t table) move(head []byte, sectors int64) (first, backup []byte, at int64) {
	le, size := binary.LittleEndian, int64(t.sectorSize)
	first = slices.Clone(head)
	h := first[size : size+gptHeaderSize]
	entries := int64(le.Uint64(h[72:])) * size
	space := t.backup.Size/size - 1 // sectors of entries
	le.PutUint64(h[32:], uint64(sectors-1))
	le.PutUint64(h[48:], uint64(sectors-1-space-1))
	seal(h)
	growProtective(first, t.alt, sectors-1)

	backup = make([]byte, t.backup.Size)
	copy(backup, first[entries:entries+space*size])
	b := backup[space*size:]
	copy(b, h)
	le.PutUint64(b[24:], uint64(sectors-1))
	le.PutUint64(b[32:], 1)
	le.PutUint64(b[72:], uint64(sectors-1-space))
	seal(b[:gptHeaderSize])
	return first, backup, (sectors - 1 - space) * size
}

// seal writes the checksum of a header into it.
func seal(h []byte) {
	clear(h[16:20])
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h))
}

// growProtective has the protective MBR cover the device, where it covered the
// image. That of a hybrid stays.
func growProtective(head []byte, was, now int64) {
	e := head[446:462]
	le := binary.LittleEndian
	if e[4] != 0xee || le.Uint32(e[8:]) != 1 || int64(le.Uint32(e[12:])) != min(was, 0xffffffff) || !isZero(head[462:510]) {
		return
	}
	le.PutUint32(e[12:], uint32(min(now, 0xffffffff)))
	copy(e[5:8], []byte{0xff, 0xff, 0xff})
}

// others are files that are not disk images, or not ones that can be read here.
var others = []struct {
	at    int
	magic string
	what  string
}{
	{0, "PK\x03\x04", "a zip archive: unpack it"},
	{0, "7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"},
	{0, "Rar!", "a rar archive: unpack it"},
	{257, "ustar", "a tar archive: unpack it"},
	{0, "BZh", "compressed by bzip2: unpack it"},
	{0, "\x1f\x8b", "compressed twice: unpack it"},
	{0, "\xfd7zXZ\x00", "compressed twice: unpack it"},
	{0, "\x28\xb5\x2f\xfd", "compressed twice: unpack it"},
	{0, "KDMV", "a VMDK: `qemu-img convert -O raw` makes an image of it"},
	{0, "vhdxfile", "a VHDX: `qemu-img convert -O raw` makes an image of it"},
	{0, "conectix", "a VHD: `qemu-img convert -O raw` makes an image of it"},
	{64, "\x7f\x10\xda\xbe", "a VDI: `qemu-img convert -O raw` makes an image of it"},
	{0, "<!DOCTYPE", "a web page"},
	{0, "<html", "a web page"},
}

// ErrNoImage is wrapped by errors about a file that is something else.
var ErrNoImage = fmt.Errorf("no disk image")

func refuseArchive(first []byte) error {
	for _, o := range others {
		if len(first) >= o.at+len(o.magic) && string(first[o.at:o.at+len(o.magic)]) == o.magic {
			return fmt.Errorf("read image: %w, but %s", ErrNoImage, o.what)
		}
	}
	return nil
}
