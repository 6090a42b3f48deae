package probe

import "strconv"

const (
	zfsLabel = 256 << 10 // of which there are two at either end
	zfsRing  = 128 << 10 // of uberblocks, from the middle of a label
	zfsWant  = 4         // uberblocks, to be sure
)

// zfs looks for uberblocks, and then into the list of names and values before
// them (ZFS On-Disk Specification, chapter 1).
func zfs(s *source) *Result {
	end := s.size / zfsLabel * zfsLabel
	found := 0
	var r *Result
	for _, label := range []int64{0, zfsLabel, end - 2*zfsLabel, end - zfsLabel} {
		ring := s.read(label+zfsRing, zfsRing)
		for at := 0; at+1024 <= len(ring); at += 1024 {
			version := ring.le64(at + 8)
			switch {
			case ring.has(at, "\x0c\xb1\xba\x00\x00\x00\x00\x00"):
			case ring.has(at, "\x00\x00\x00\x00\x00\xba\xb1\x0c"):
				version = ring.be64(at + 8)
			default:
				continue
			}
			if found++; r == nil {
				r = &Result{Type: "zfs_member", Usage: UsageFilesystem, Offset: label + zfsRing + int64(at), Version: strconv.FormatUint(version, 10)}
				zfsConfig(s, label, r)
			}
		}
		if found >= zfsWant {
			r.Size = end
			return r
		}
	}
	return nil
}

// zfsConfig reads the XDR list of a label: pairs of a size, a name, a type and
// a value, each padded to four bytes, ended by a size of zero.
func zfsConfig(s *source, label int64, r *Result) {
	const typeUint64, typeString = 8, 9
	b := s.read(label+16<<10, 112<<10)
	if b == nil || b[0] != 1 { // encoded as XDR
		return
	}
	r.Group = &Group{}
	for b = b[12:]; len(b) >= 12; {
		size, name := int64(b.be32(0)), int64(b.be32(8))
		value := 12 + (name+3)&^3 // type, number of elements, value
		if size < value+16 || size > int64(len(b)) {
			return
		}
		pair := b[:size]
		switch key := pair.text(12, int(name)); {
		case pair.be32(int(value)) == typeUint64 && key == "pool_guid":
			r.UUID = strconv.FormatUint(pair.be64(int(value)+8), 10)
		case pair.be32(int(value)) == typeUint64 && key == "guid":
			r.SubUUID = strconv.FormatUint(pair.be64(int(value)+8), 10)
		case pair.be32(int(value)) == typeString && key == "name":
			n := int64(pair.be32(int(value) + 8))
			if value+12+n <= size {
				r.Label = pair.text(int(value)+12, int(n))
				r.Group.Name = r.Label
			}
		}
		b = b[size:]
	}
}
