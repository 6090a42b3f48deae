package probe

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// ntfsVolume is where an NTFS keeps its records. There is no public
// specification; the names are those of Linux fs/ntfs3/ntfs.h.
type ntfsVolume struct {
	s                    *source
	cluster, mft, record int64 // bytes
	clusters             int64
}

// The records of the MFT and the attributes that are read.
const (
	ntfsVolumeRecord = 3
	ntfsBitmapRecord = 6

	ntfsName = 0x60
	ntfsInfo = 0x70
	ntfsData = 0x80
)

func ntfs(s *source) *Result {
	b := s.read(0, 512)
	if !b.has(3, "NTFS    ") {
		return nil
	}
	sector := uint64(b.le16(11))
	perCluster := uint64(b[13])
	if b[13] > 128 { // a power of two, negated
		perCluster = 1 << min(256-uint(b[13]), 32)
	}
	cluster := sector * perCluster
	if !powerOfTwo(sector, 256, 4096) || !powerOfTwo(cluster, sector, 2<<20) {
		return nil
	}
	v := ntfsVolume{s: s, cluster: int64(cluster), mft: product(b.le64(48), cluster), record: int64(int8(b[64])) * int64(cluster)}
	if n := int8(b[64]); n < 0 {
		v.record = 1 << min(-int(n), 32)
	}
	sectors := b.le64(40)
	r := &Result{
		Type: "ntfs", Usage: UsageFilesystem, Offset: 3, UUID: fmt.Sprintf("%016X", b.le64(72)),
		Size: max(product(sectors, sector), 0), BlockSize: int64(cluster), SectorSize: int64(sector),
	}
	v.clusters = r.Size / v.cluster
	if v.mft <= 0 || !powerOfTwo(uint64(v.record), 256, 64<<10) {
		return nil
	}
	if name := v.attribute(ntfsVolumeRecord, ntfsName); name != nil {
		r.Label = name.utf16(0, len(name)/2, binary.LittleEndian)
	}
	if info := v.attribute(ntfsVolumeRecord, ntfsInfo); len(info) >= 12 {
		r.Clean = known(info.le16(10)&1 == 0)
	}
	if used, ok := v.used(); ok {
		// ntfsresize moves what is behind the new end, and needs room for it.
		least := used + used/20 + (8<<20)/v.cluster
		r.MinSize = min(r.Size, least*v.cluster)
	}
	return r
}

// read reads a record of the MFT, of which the first sixteen stand together,
// and puts back what the update sequence stands in for.
func (v ntfsVolume) read(n int64) bytesOf {
	b := slices.Clone(v.s.read(v.mft+n*v.record, int(v.record)))
	if !b.has(0, "FILE") {
		return nil
	}
	at, count := int(b.le16(4)), int(b.le16(6))
	if at+2*count > len(b) {
		return nil
	}
	for i := 1; i < count && i*512 <= len(b); i++ {
		copy(b[i*512-2:i*512], b[at+2*i:at+2*i+2])
	}
	return b
}

// find returns an unnamed attribute of a record, with its header.
func (v ntfsVolume) find(record int64, typ uint32) bytesOf {
	b := v.read(record)
	if b == nil {
		return nil
	}
	for at := int(b.le16(20)); at+24 <= len(b) && b.le32(at) != 0xffffffff; {
		length := int64(b.le32(at + 4))
		if length < 24 || length > int64(len(b)-at) {
			return nil
		}
		if b.le32(at) == typ && b[at+9] == 0 {
			return b[at : at+int(length)]
		}
		at += int(length)
	}
	return nil
}

// attribute returns the value of one that stands in its record.
func (v ntfsVolume) attribute(record int64, typ uint32) bytesOf {
	a := v.find(record, typ)
	if a == nil || a[8] != 0 {
		return nil
	}
	at, n := int64(a.le16(20)), int64(a.le32(16))
	if at+n > int64(len(a)) {
		return nil
	}
	return a[at : at+n]
}

// mostBitmap bounds how much of a bitmap is counted: 32 MiB are those of a
// terabyte in clusters of 4 KiB.
const mostBitmap = 64 << 20

// used counts the clusters in use.
func (v ntfsVolume) used() (int64, bool) {
	a := v.find(ntfsBitmapRecord, ntfsData)
	if len(a) < 64 || a[8] == 0 {
		return 0, false
	}
	at, left := int(a.le16(32)), min((v.clusters+7)/8, int64(a.le64(48)))
	if at > len(a) || left <= 0 || left > mostBitmap || left < (v.clusters+7)/8 {
		return 0, false
	}
	runs := a[at:]
	used, cluster := int64(0), int64(0)
	for left > 0 {
		length, delta, rest, ok := ntfsRun(runs)
		if cluster += delta; !ok || length <= 0 || length > v.clusters || cluster < 0 || cluster > v.clusters {
			return 0, false
		}
		n := min(left, length*v.cluster)
		count, ok := v.count(cluster*v.cluster, n)
		if !ok {
			return 0, false
		}
		used, left, runs = used+count, left-n, rest
	}
	return min(used, v.clusters), true
}

func (v ntfsVolume) count(at, n int64) (used int64, ok bool) {
	const step = 256 << 10
	for ; n > 0; at, n = at+step, n-step {
		b := v.s.read(at, int(min(n, step)))
		if b == nil {
			return 0, false
		}
		for ; len(b) >= 8; b = b[8:] {
			used += int64(bits.OnesCount64(b.le64(0)))
		}
		for _, c := range b {
			used += int64(bits.OnesCount8(c))
		}
	}
	return used, true
}

// ntfsRun takes one run off a mapping: a byte with the lengths of two numbers,
// how many clusters and how far from the one before.
func ntfsRun(b bytesOf) (length, delta int64, rest bytesOf, ok bool) {
	if len(b) == 0 || b[0] == 0 {
		return 0, 0, nil, false
	}
	n, m := int(b[0]&0xf), int(b[0]>>4)
	if n == 0 || n > 8 || m == 0 || m > 8 || len(b) < 1+n+m { // m 0 is a hole
		return 0, 0, nil, false
	}
	return signed(b[1 : 1+n]), signed(b[1+n : 1+n+m]), b[1+n+m:], true
}

func signed(b bytesOf) int64 {
	v := int64(int8(b[len(b)-1]))
	for i := len(b) - 2; i >= 0; i-- {
		v = v<<8 | int64(b[i])
	}
	return v
}
