package disk

import (
	"encoding/binary"
	"errors"
	"io"
)

// oldRanges are the partitions of every table that is on the disk now.
func oldRanges(d Device) []Range {
	var list []Range
	for _, sectorSize := range []int64{512, 4096} {
		last := d.Size()/sectorSize - 1
		for _, lba := range []int64{1, last} {
			h, ok := readHeader(d, int(sectorSize), lba)
			if !ok {
				continue
			}
			list = append(list, entryRanges(d, sectorSize, h)...)
			if lba == 1 && h.alternate != last { // of a disk that has grown since
				list = append(list, Range{h.alternate * sectorSize, sectorSize})
			}
		}
	}
	return append(list, dosRanges(d, int64(d.SectorSize()))...)
}

// entryRanges reads entries also when their checksum is wrong: what they say
// is cleared, not trusted.
func entryRanges(d Device, sectorSize int64, h header) []Range {
	b := make([]byte, h.count*entrySize)
	if _, err := d.ReadAt(b, h.entries*sectorSize); err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	var list []Range
	for ; len(b) > 0; b = b[entrySize:] {
		first, last := binary.LittleEndian.Uint64(b[32:]), binary.LittleEndian.Uint64(b[40:])
		if first == 0 || last < first || last >= uint64(d.Size()/sectorSize) {
			continue
		}
		list = append(list, Range{int64(first) * sectorSize, int64(last-first+1) * sectorSize})
	}
	return list
}

// tableRanges are the parts of a device that its tables take: what WriteGPT
// and WriteMBR write, and each extended boot record.
func tableRanges(d Device) []Range {
	size := int64(d.SectorSize())
	list := []Range{{0, 512}}
	for _, lba := range []int64{1, d.Size()/size - 1} {
		if h, ok := readHeader(d, int(size), lba); ok {
			list = append(list, Range{lba * size, size}, Range{h.entries * size, h.count * entrySize})
		}
	}
	return append(list, bootRecords(d, size)...)
}

// dosRanges are the partitions of an MBR, with its extended boot records.
func dosRanges(d Device, sectorSize int64) []Range {
	var list []Range
	walkDOS(d, sectorSize, func(r Range, record bool) { list = append(list, r) })
	return list
}

// bootRecords are the extended boot records of an MBR.
func bootRecords(d Device, sectorSize int64) []Range {
	var list []Range
	walkDOS(d, sectorSize, func(r Range, record bool) {
		if record {
			list = append(list, r)
		}
	})
	return list
}

// walkDOS follows an MBR and its chain of extended boot records, as far as
// they can be read: what they say need not be sound.
func walkDOS(d Device, sectorSize int64, found func(r Range, record bool)) {
	var extended int64 // LBA of the first EBR; the others count from it
	read := func(lba int64) (next int64) {
		b := make([]byte, 512)
		if _, err := d.ReadAt(b, lba*sectorSize); err != nil || b[510] != 0x55 || b[511] != 0xaa {
			return 0
		}
		for e := b[446:510]; len(e) > 0; e = e[16:] {
			first, n := int64(binary.LittleEndian.Uint32(e[8:])), int64(binary.LittleEndian.Uint32(e[12:]))
			switch typ := e[4]; {
			case typ == 0 || typ == 0xee || n == 0:
			case typ == 0x05 || typ == 0x0f || typ == 0x85:
				next = extended + first
			default:
				found(Range{(lba + first) * sectorSize, n * sectorSize}, false)
			}
		}
		if next > 0 {
			found(Range{next * sectorSize, 512}, true)
		}
		return next
	}
	next := read(0)
	extended = next
	for i := 0; next > 0 && i < 128; i++ {
		next = read(next)
	}
}
