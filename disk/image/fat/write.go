package fat

import (
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

var le = binary.LittleEndian

// WriteAt writes the file system to w at the given offset. It writes all
// metadata and the files with the rest of their last clusters, but not the
// free clusters: for reproducible images they have to be zero already.
func (v *Volume) WriteAt(w io.WriterAt, offset int64) error {
	put := func(b []byte, at int64, what string) error {
		if _, err := w.WriteAt(b, offset+at); err != nil {
			return fmt.Errorf("write FAT32 %s: %w", what, err)
		}
		return nil
	}
	fat, next := v.table()
	if err := put(v.reserved(next), 0, "boot sectors"); err != nil {
		return err
	}
	for copies := range int64(2) {
		if err := put(fat, (v.geo.reserved+copies*v.geo.fatSize)*v.geo.sector, "allocation table"); err != nil {
			return err
		}
	}
	for _, d := range v.dirs {
		b := v.encodeDir(d)
		if d == v.root && v.rest != 0 {
			n := v.geo.clusterBytes()
			if err := put(b[n:], v.geo.offset(v.rest), "directory"); err != nil {
				return err
			}
			b = b[:n]
		}
		if err := put(b, v.geo.offset(d.cluster), "directory"); err != nil {
			return err
		}
		for _, e := range d.entries {
			if e.sub == nil && e.cluster != 0 {
				if err := v.copyFile(io.NewOffsetWriter(w, offset+v.geo.offset(e.cluster)), e); err != nil {
					return fmt.Errorf("write FAT32 file %q: %w", e.file.Path, err)
				}
			}
		}
	}
	return nil
}

func (v *Volume) copyFile(w io.Writer, e *entry) error {
	size := e.file.Source.Size()
	n, err := io.CopyBuffer(w, struct{ io.Reader }{io.NewSectionReader(e.file.Source, 0, size)}, make([]byte, 1<<20))
	if err != nil {
		return err
	}
	if n != size {
		return fmt.Errorf("source ends after %d of %d bytes: %w", n, size, io.ErrUnexpectedEOF)
	}
	_, err = w.Write(make([]byte, v.geo.need(size)*v.geo.clusterBytes()-size))
	return err
}

// table returns the FAT and the first free cluster.
func (v *Volume) table() (fat []byte, next uint32) {
	fat = make([]byte, v.geo.fatSize*v.geo.sector)
	le.PutUint32(fat[0:], 0x0ffffff8) // the media byte
	le.PutUint32(fat[4:], endOfChain)
	next = 2
	chain := func(first uint32, bytes int64) {
		last := first + uint32(v.geo.need(bytes)) - 1
		for c := first; c < last; c++ {
			le.PutUint32(fat[4*c:], c+1)
		}
		le.PutUint32(fat[4*last:], endOfChain)
		next = max(next, last+1)
	}
	for _, d := range v.dirs {
		if d == v.root && v.rest != 0 {
			le.PutUint32(fat[4*d.cluster:], v.rest)
			chain(v.rest, d.size()-v.firstOfRoot())
		} else {
			chain(d.cluster, d.size())
		}
		for _, e := range d.entries {
			if e.sub == nil && e.cluster != 0 {
				chain(e.cluster, e.file.Source.Size())
			}
		}
	}
	return fat, next
}

// reserved returns the sectors before the FAT. Offsets are those of the
// specification's BPB and FSInfo structures.
func (v *Volume) reserved(next uint32) []byte {
	size := v.geo.sector
	b := make([]byte, v.geo.reserved*size)
	boot, info := b[:size], b[size:2*size]
	copy(boot, "\xeb\x58\x90MSWIN4.1") // jump over the BPB
	le.PutUint16(boot[11:], uint16(size))
	boot[13] = byte(v.geo.perCluster)
	le.PutUint16(boot[14:], uint16(v.geo.reserved))
	boot[16] = 2    // FATs
	boot[21] = 0xf8 // fixed disk
	le.PutUint16(boot[24:], 63)
	le.PutUint16(boot[26:], 255)
	le.PutUint32(boot[28:], v.cfg.Hidden)
	le.PutUint32(boot[32:], uint32(v.geo.total))
	le.PutUint32(boot[36:], uint32(v.geo.fatSize))
	le.PutUint32(boot[44:], v.root.cluster)
	le.PutUint16(boot[48:], 1) // FSInfo
	le.PutUint16(boot[50:], 6) // copy of the boot sectors
	boot[64] = 0x80            // BIOS drive
	boot[66] = 0x29            // the next three fields are there
	le.PutUint32(boot[67:], v.cfg.VolumeID)
	copy(boot[71:], v.label())
	copy(boot[82:], "FAT32   ")
	copy(boot[90:], "\xcd\x18\xeb\xfe") // int 0x18: not bootable, try the next device
	copy(info, "RRaA")
	copy(info[484:], "rrAa")
	le.PutUint32(info[488:], uint32(v.geo.clusters)-(next-2))
	le.PutUint32(info[492:], next)
	for s := range int64(3) {
		copy(b[s*size+510:], "\x55\xaa")
	}
	copy(b[6*size:], b[:3*size])
	return b
}

func (v *Volume) label() []byte {
	if v.cfg.Label == "" {
		return []byte("NO NAME    ")
	}
	return fmt.Appendf(nil, "%-11s", v.cfg.Label)
}

const (
	attrLabel   = 0x08
	attrDir     = 0x10
	attrArchive = 0x20
	attrLong    = 0x0f
)

// encodeDir returns the directory, with zeros up to the end of its last cluster.
func (v *Volume) encodeDir(d *dir) []byte {
	b := make([]byte, 0, v.geo.need(d.size())*v.geo.clusterBytes())
	if d.parent != nil {
		up := d.parent.cluster
		if d.parent.parent == nil {
			up = 0 // the root is written as 0 here
		}
		b = append(b, v.short(pad(".", ""), attrDir, d.cluster, 0)...)
		b = append(b, v.short(pad("..", ""), attrDir, up, 0)...)
	} else if d.label {
		b = append(b, v.short([11]byte(v.label()), attrLabel, 0, 0)...)
	}
	for _, e := range d.entries {
		b = append(b, e.encodeLong()...)
		if e.sub != nil {
			b = append(b, v.short(e.short, attrDir, e.sub.cluster, 0)...)
		} else {
			b = append(b, v.short(e.short, attrArchive, e.cluster, uint32(e.file.Source.Size()))...)
		}
	}
	return b[:cap(b)]
}

func (v *Volume) short(name [11]byte, attr byte, cluster, size uint32) []byte {
	b := make([]byte, entrySize)
	copy(b, name[:])
	b[11] = attr
	day, clock := stamp(v.cfg.Time)
	le.PutUint16(b[14:], clock) // created
	le.PutUint16(b[16:], day)
	le.PutUint16(b[18:], day)   // read
	le.PutUint16(b[22:], clock) // written
	le.PutUint16(b[24:], day)
	le.PutUint16(b[20:], uint16(cluster>>16))
	le.PutUint16(b[26:], uint16(cluster))
	le.PutUint32(b[28:], size)
	return b
}

// stamp encodes a time with FAT's resolution of two seconds.
func stamp(t time.Time) (day, clock uint16) {
	day = uint16((t.Year()-1980)<<9 | int(t.Month())<<5 | t.Day())
	return day, uint16(t.Hour()<<11 | t.Minute()<<5 | t.Second()/2)
}

// encodeLong returns the entries with the long name, which precede the short
// one, last part first.
func (e *entry) encodeLong() []byte {
	n := e.longEntries()
	b := make([]byte, n*entrySize)
	var sum byte // ties them to the short name
	for _, c := range e.short {
		sum = sum<<7 | sum>>1
		sum += c
	}
	for i := range n {
		p := b[(n-1-i)*entrySize:]
		p[0] = byte(i + 1)
		if i == n-1 {
			p[0] |= 0x40
		}
		p[11], p[13] = attrLong, sum
		for k, at := range []int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
			unit := uint16(0xffff)
			switch pos := i*13 + k; {
			case pos < len(e.long):
				unit = e.long[pos]
			case pos == len(e.long):
				unit = 0
			}
			le.PutUint16(p[at:], unit)
		}
	}
	return b
}
