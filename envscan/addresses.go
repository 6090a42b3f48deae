package envscan

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// Attributes of addresses that package unix lacks (linux/if_addr.h).
const (
	ifaPriority = 9
	ifaProto    = 11 // since Linux 5.18
)

// addressFrom are the values of IFA_PROTO, as ip-address(8) prints them.
var addressFrom = map[int64]string{0: "", 1: "kernel_lo", 2: "kernel_ra", 3: "kernel_ll"}

// parseAddress reads struct ifaddrmsg and what follows; ok is false for what is
// not IP.
func parseAddress(b []byte, links map[int64]kernelLink) (addr Address, ok bool, err error) {
	a, err := message(b, unix.SizeofIfAddrmsg)
	if err != nil {
		return Address{}, false, err
	}
	family, bits, scope := b[0], b[1], b[3]
	flags := int64(b[2])
	if a.has(unix.IFA_FLAGS) { // those that did not fit
		flags = a.number(unix.IFA_FLAGS)
	}
	addr = Address{
		Interface: links[int64(binary.NativeEndian.Uint32(b[4:]))].name,
		Address:   a.prefix(unix.IFA_ADDRESS, bits),
		Family:    families[family],
		Scope:     named(scopes, scope),
		Dynamic:   flags&unix.IFA_F_PERMANENT == 0,
		Temporary: family == unix.AF_INET6 && flags&unix.IFA_F_TEMPORARY != 0,
		NoRoute:   flags&unix.IFA_F_NOPREFIXROUTE != 0,
		Metric:    a.number(ifaPriority),
		From:      named(addressFrom, a.number(ifaProto)),
	}
	// Where IFA_LOCAL says something else, IFA_ADDRESS is the other end's, and so
	// is the prefix.
	switch local := a.address(unix.IFA_LOCAL); {
	case local == "" || local == a.address(unix.IFA_ADDRESS):
	case addr.Address == "":
		addr.Address = a.prefix(unix.IFA_LOCAL, bits)
	default:
		addr.Peer = addr.Address
		addr.Address = a.prefix(unix.IFA_LOCAL, uint8(8*len(a[unix.IFA_LOCAL])))
	}
	return addr, addr.Family != "" && addr.Address != "", nil
}

// addresses are those of all interfaces.
func addresses(ask asker, links map[int64]kernelLink) ([]Address, error) {
	list := []Address{}
	msgs, err := ask(unix.RTM_GETADDR, unix.AF_UNSPEC)
	if err != nil {
		return nil, err
	}
	for _, m := range msgs {
		addr, ok, err := parseAddress(m, links)
		if err != nil {
			return nil, err
		}
		if ok {
			list = append(list, addr)
		}
	}
	slices.SortFunc(list, func(a, b Address) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.Family, b.Family), comparePrefix(a.Address, b.Address), comparePrefix(a.Peer, b.Peer))
	})
	return list, nil
}

// comparePrefix orders prefixes by address and length; what is none is first.
func comparePrefix(a, b string) int {
	p, errA := netip.ParsePrefix(a)
	q, errB := netip.ParsePrefix(b)
	if errA != nil || errB != nil {
		return cmp.Compare(a, b)
	}
	return cmp.Or(p.Addr().Compare(q.Addr()), cmp.Compare(p.Bits(), q.Bits()))
}
