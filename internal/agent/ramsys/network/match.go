package network

import (
	"strings"

	"github.com/victorinix/vic/internal/netconf"
)

// seen is an interface as the kernel has it now.
type seen struct {
	index  int
	name   string
	kind   string // as ip-link(8); "device" of hardware
	mac    string // in use
	mtu    int
	master int // index of the bond or bridge it is a port of
	lower  int // index of what a VLAN stands on
	up     bool
	// carrier: it is up, and something is at the other end.
	carrier bool
	primary int // index of the preferred port of a bond
	// card: there is hardware below, which nic identifies: its permanent MAC,
	// or, where the kernel knows none, the one with which it appeared.
	card   bool
	nic    netconf.NIC
	waited bool // it has been there for so long that nothing better will come
}

// match finds the cards of a handover among the interfaces: which interface is
// which of its physical links. Known ones keep theirs.
//
// A MAC alone is not always enough: a virtual function and the paravirtual card
// that it speeds up have the same. So what fits in every field is preferred, and
// what fits by its MAC alone has to wait for whether that comes.
func match(links []netconf.Link, cards []seen, known map[string]int) map[string]int {
	found := map[string]int{}
	taken := map[int]bool{}
	for name, index := range known {
		found[name], taken[index] = index, true
	}
	fits := []func(want netconf.NIC, have seen) bool{
		func(want netconf.NIC, have seen) bool { return fitsAll(want, have.nic) },
		func(want netconf.NIC, have seen) bool { return have.waited && fitsMAC(want, have.nic) },
	}
	for _, fit := range fits {
		for _, l := range links {
			if _, ok := found[l.Name]; ok || l.Kind != netconf.Physical || l.NIC == nil {
				continue
			}
			for _, c := range cards {
				if c.card && !taken[c.index] && fit(*l.NIC, c) {
					found[l.Name], taken[c.index] = c.index, true
					break
				}
			}
		}
	}
	return found
}

// fitsAll: every field that is set is the same. Beside a MAC, one that the
// kernel does not tell is no difference, and port 0 says nothing.
func fitsAll(want, have netconf.NIC) bool {
	if want.MAC == "" {
		return want.Path+want.Driver != "" && (want.Path == "" || want.Path == have.Path) &&
			(want.Driver == "" || want.Driver == have.Driver) && want.Port == have.Port
	}
	same := func(want, have string) bool { return want == "" || have == "" || want == have }
	return fitsMAC(want, have) && same(want.Path, have.Path) && same(want.Driver, have.Driver) &&
		(want.Port == 0 || want.Port == have.Port)
}

func fitsMAC(want, have netconf.NIC) bool {
	return want.MAC != "" && strings.EqualFold(want.MAC, have.MAC)
}
