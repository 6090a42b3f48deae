package accesspoint

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
)

// ChooseSubnet returns wish, unless it overlaps one of the networks that are
// reached over the wireless side: then the first of the others below that
// overlaps none. With every one of them taken it is wish all the same.
func ChooseSubnet(wish netip.Prefix, upstream []netip.Prefix) netip.Prefix {
	for _, p := range append([]netip.Prefix{wish}, otherSubnets()...) {
		if !slices.ContainsFunc(upstream, p.Overlaps) {
			return p
		}
	}
	return wish
}

// otherSubnets are of all three ranges of RFC 1918: an upstream network may have
// all of one.
func otherSubnets() []netip.Prefix {
	var list []netip.Prefix
	for _, format := range []string{"192.168.%d.0/24", "10.77.%d.0/24", "172.29.%d.0/24"} {
		for _, n := range []int{77, 78, 177, 178} {
			list = append(list, netip.MustParsePrefix(fmt.Sprintf(format, n)))
		}
	}
	return list
}

// Gateway is the appliance's own address in a subnet: the first.
func Gateway(subnet netip.Prefix) netip.Prefix {
	return netip.PrefixFrom(subnet.Addr().Next(), subnet.Bits())
}

// pool is the range of addresses that are given to clients: all but the first ten,
// which people may use as they like, and broadcast.
func pool(subnet netip.Prefix) (first, last netip.Addr) {
	b := subnet.Addr().As4()
	base := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	size := uint32(1) << (32 - subnet.Bits())
	at := func(n uint32) netip.Addr {
		n += base
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	return at(min(10, size/4)), at(min(size, 1024) - 2)
}

// ULA is the local IPv6 network of the Ethernet side (RFC 4193). Its 40 bits come
// from what identifies the machine, so that it is the same after each start, and
// another one on another machine.
func ULA(identity string) netip.Prefix {
	sum := sha256.Sum256([]byte("vic access point " + identity))
	var b [16]byte
	b[0] = 0xfd
	copy(b[1:6], sum[:])
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}
