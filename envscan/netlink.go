package envscan

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
)

// netLinks asks the kernel for what /sys does not show: permanent addresses
// (IFLA_PERM_ADDRESS).
func netLinks() (map[string]netLink, error) {
	links, err := retry(netlink.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	known := map[string]netLink{}
	for _, l := range links {
		a := l.Attrs()
		known[a.Name] = netLink{permanent: a.PermHWAddr.String()}
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
