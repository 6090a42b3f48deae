package probe

import (
	"hash/crc64"
	"strconv"
)

// The superblocks of bcache and of bcachefs are at the same place; an old
// bcachefs also has the magic of bcache, and numbers from 10 as version.
const (
	bcacheAt      = 4096
	bcacheMagic   = "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"
	bcachefsMagic = "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"
)

// bcache reads a cache or backing device (Linux
// drivers/md/bcache/bcache_ondisk.h).
func bcache(s *source) *Result {
	b := s.read(bcacheAt, 4096)
	if !b.has(24, bcacheMagic) || b.le64(8) != bcacheAt/512 {
		return nil
	}
	const keysAt, firstKey = 206, 208
	keys := int(b.le16(keysAt))
	if keys > 256 || bcacheSum(b[8:firstKey+8*keys]) != b.le64(0) {
		return nil
	}
	r := &Result{Type: "bcache", Usage: UsageOther, Offset: bcacheAt + 24, UUID: b.uuid(40)}
	if v := b.le64(16); v == 1 || v == 4 { // a backing device
		r.DataOffset = 8192
		if v == 4 {
			r.DataOffset = max(product(b.le64(176), 512), 0)
		}
	}
	return r
}

// bcacheTable is of the polynomial of ECMA-182, most significant bit first.
var bcacheTable = makeBcacheTable(0x42f0e1eba9ea3693)

func makeBcacheTable(poly uint64) (t crc64.Table) {
	for i := range t {
		crc := uint64(i) << 56
		for range 8 {
			carry := crc >> 63
			crc = crc<<1 ^ carry*poly
		}
		t[i] = crc
	}
	return t
}

func bcacheSum(b []byte) uint64 {
	crc := ^uint64(0)
	for _, c := range b {
		crc = bcacheTable[byte(crc>>56)^c] ^ crc<<8
	}
	return ^crc
}

// bcachefs reads one member (https://bcachefs.org/bcachefs-principles-of-operation.pdf,
// and Linux fs/bcachefs/bcachefs_format.h).
func bcachefs(s *source) *Result {
	b := s.read(bcacheAt, 752)
	if !b.has(24, bcachefsMagic) && !b.has(24, bcacheMagic) || b.le64(104) != bcacheAt/512 {
		return nil
	}
	devices, index := int(b[123]), int(b[122])
	if devices == 0 || index >= devices || b.le16(16) < 10 {
		return nil
	}
	r := &Result{
		Type: "bcachefs", Usage: UsageFilesystem, Offset: bcacheAt + 24, UUID: b.uuid(56), Label: b.text(72, 32),
		Version: strconv.Itoa(int(b.le16(16))), BlockSize: int64(b.le16(120)) * 512, Group: &Group{Devices: devices},
	}
	fields := int(min(b.le32(124), 1<<17)) * 8
	bcachefsMember(s.read(bcacheAt+752, fields), index, r)
	return r
}

// bcachefsMember finds this device among the members: field 1, and in newer
// ones field 11, which gives the size of its entries.
func bcachefsMember(fields bytesOf, index int, r *Result) {
	for len(fields) >= 8 {
		size, entry, first := int64(fields.le32(0))*8, 56, 8
		if size < 8 || size > int64(len(fields)) {
			return
		}
		field := fields[:size]
		kind := field.le32(4)
		if kind == 11 && size >= 16 {
			entry, first = int(field.le16(8)), 16
		}
		if at := first + index*entry; (kind == 1 || kind == 11) && entry >= 28 && at+entry <= len(field) {
			r.SubUUID = field.uuid(at)
			r.Size = max(product(field.le64(at+16), uint64(field.le16(at+26))*512), 0)
		}
		fields = fields[size:]
	}
}
