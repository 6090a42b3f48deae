package envscan

import (
	"errors"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
)

// netLinks asks the kernel for what /sys does not show: permanent addresses
// (IFLA_PERM_ADDRESS) and IP addresses.
func netLinks() (map[string]netLink, error) {
	links, err := retry(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	known := map[string]netLink{}
	for _, l := range links {
		a := l.Attrs()
		addrs, err := retry(func() ([]netlink.Addr, error) { return netlink.AddrList(l, netlink.FAMILY_ALL) })
		if err != nil {
			return nil, fmt.Errorf("list addresses of %s: %w", a.Name, err)
		}
		n := netLink{permanent: a.PermHWAddr.String()}
		for _, addr := range addrs {
			n.addresses = append(n.addresses, addr.IPNet.String())
		}
		slices.Sort(n.addresses)
		known[a.Name] = n
	}
	return known, nil
}

// retry repeats a listing that changed while it was read.
func retry[T any](list func() ([]T, error)) ([]T, error) {
	var items []T
	var err error
	for range 5 {
		if items, err = list(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return items, err
		}
	}
	return items, err
}
