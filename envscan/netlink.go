package envscan

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// netLinks asks the kernel for what /sys does not show: permanent addresses
// (IFLA_PERM_ADDRESS, or ethtool's before Linux 5.6) and the speeds that a port
// can.
func netLinks() (map[string]netLink, error) {
	links, err := retry(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	ethtool, err := openEthtool()
	if err != nil {
		return nil, err
	}
	defer ethtool.Close()
	known := map[string]netLink{}
	for _, l := range links {
		a := l.Attrs()
		n := netLink{permanent: a.PermHWAddr.String()}
		if l.Type() == "device" { // not made by software
			n.permanent = cmp.Or(n.permanent, ethtool.permanent(a.Name))
			n.maxSpeed = fastest(ethtool.supported(a.Name))
		}
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
