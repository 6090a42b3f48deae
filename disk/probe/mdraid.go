package probe

import (
	"encoding/binary"
	"fmt"
)

const mdMagic = 0xa92b4efc

// mdLevels are those of Linux include/uapi/linux/raid/md_p.h.
var mdLevels = map[int32]string{
	0: "raid0", 1: "raid1", 4: "raid4", 5: "raid5", 6: "raid6", 10: "raid10",
	-1: "linear", -4: "multipath", -5: "faulty",
}

func mdLevel(n uint32) string {
	if s, ok := mdLevels[int32(n)]; ok {
		return s
	}
	return fmt.Sprintf("level %d", int32(n))
}

// mdraid090 reads the old superblock in the last whole 64 KiB, in the byte
// order of the machine that made it.
func mdraid090(s *source) *Result {
	const room = 64 << 10
	at := s.size/room*room - room
	b := s.read(at, 4096)
	if b == nil {
		return nil
	}
	var order binary.ByteOrder = binary.LittleEndian
	if b.be32(0) == mdMagic {
		order = binary.BigEndian
	}
	word := func(i int) uint32 { return order.Uint32(b[4*i:]) }
	if word(0) != mdMagic || word(1) != 0 {
		return nil
	}
	r := &Result{
		Type: "linux_raid_member", Usage: UsageRAID, Offset: at,
		Version: fmt.Sprintf("%d.%d.%d", word(1), word(2), word(3)),
		Group:   &Group{Level: mdLevel(word(7)), Devices: int(word(10))},
	}
	id := make(bytesOf, 16)
	for i, w := range []int{5, 13, 14, 15} {
		if i == 0 || word(2) >= 90 {
			binary.BigEndian.PutUint32(id[4*i:], word(w))
		}
	}
	r.UUID = id.uuid(0)
	const thisDisk = 992 // number, major, minor, place, state
	role, state := int(word(thisDisk+3)), word(thisDisk+4)
	switch {
	case state&1 != 0:
		role = -2
	case state&2 == 0:
		role = -1
	}
	r.Group.Role = &role
	if word(2) >= 90 {
		r.Clean = known(word(33)&1 != 0)
	}
	if r.Group.Level != "raid0" && r.Group.Level != "linear" {
		r.Size = at + 4096 // the data may be less: mdadm --size
	}
	return r
}

// mdraid1 reads a superblock of version 1, which says itself where it is: 8 to
// 12 KiB before the end, at the start, or 4 KiB behind it.
func mdraid1(s *source) *Result {
	places := []struct {
		version string
		at      int64
	}{{"1.0", s.size/4096*4096 - 8192}, {"1.1", 0}, {"1.2", 4096}}
	for _, p := range places {
		b := s.read(p.at, 4096)
		if b == nil || b.le32(0) != mdMagic || b.le32(4) != 1 || product(b.le64(144), 512) != p.at {
			continue
		}
		r := &Result{
			Type: "linux_raid_member", Usage: UsageRAID, Offset: p.at, Version: p.version,
			UUID: b.uuid(16), SubUUID: b.uuid(168), Label: b.text(32, 32),
			DataOffset: max(product(b.le64(128), 512), 0),
			Clean:      known(b.le64(208) == 1<<64-1), // nothing left to resync
			Group:      &Group{Name: b.text(32, 32), Level: mdLevel(b.le32(72)), Devices: int(b.le32(92))},
		}
		r.Group.Role = mdRole(b)
		if size := product(b.le64(136), 512); size > 0 {
			r.Size = r.DataOffset + size
			if p.version == "1.0" {
				r.Size = p.at + 4096
			}
		}
		return r
	}
	return nil
}

// mdRole looks up the place of this device among the roles of all.
func mdRole(b bytesOf) *int {
	n, most := b.le32(160), b.le32(220)
	if n >= most || 256+2*int64(n)+2 > int64(len(b)) {
		return nil
	}
	role := int(b.le16(256 + 2*int(n)))
	switch role {
	case 0xffff:
		role = -1
	case 0xfffe:
		role = -2
	case 0xfffd:
		role = -3
	}
	return &role
}
