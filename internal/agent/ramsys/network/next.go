package network

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/netconf"
)

// A step is one change of an interface that exists.
type step struct {
	do   verb
	name string // rename
	mac  string // setMAC
	to   int    // setMTU: bytes; setMaster, setPrimary: an index
}

type verb string

const (
	rename     verb = "rename"
	setDown    verb = "set down"
	setUp      verb = "set up"
	setMAC     verb = "set MAC"
	setMTU     verb = "set MTU"
	setMaster  verb = "make it a port"
	setPrimary verb = "choose its primary port"
)

// others is what next has to know of the other interfaces.
type others struct {
	masterKind string // of the master that is wanted; "": none is
	failMAC    string // failOverMAC of a bond that is the master
	master     int    // index of that; 0: not there yet
	primary    int    // index of the primary port that is wanted, once it is a port
	lowerUp    bool   // of a VLAN
	nameFree   bool   // no interface has the name that is wanted
}

// next says what has to be done for an interface to be as it was, in order. A
// name can be changed, and a bond accepts a port, only while the interface is
// down; so it comes up last, and an interface that stands on another one after
// that.
func next(want netconf.Link, have seen, o others) []step {
	var list []step
	up := have.up
	add := func(s step) { list = append(list, s) }
	bondPort := o.masterKind == netconf.Bond
	enslave := o.master != 0 && have.master != o.master
	if enslave && bondPort && up {
		add(step{do: setDown})
		up = false
	}
	if have.name != want.Name && !up && o.nameFree {
		add(step{do: rename, name: want.Name})
	}
	// The ports of a bond get MAC and MTU from it.
	ownMAC := !bondPort || o.failMAC == "active"
	if want.MAC != "" && !strings.EqualFold(want.MAC, have.mac) && ownMAC && want.Kind == netconf.Physical && have.master == 0 {
		add(step{do: setMAC, mac: want.MAC})
	}
	if want.MTU != 0 && int(want.MTU) != have.mtu && !bondPort {
		add(step{do: setMTU, to: int(want.MTU)})
	}
	if enslave {
		add(step{do: setMaster, to: o.master})
		up = up || bondPort // the bond sets it up
	}
	if o.primary != 0 && have.primary != o.primary {
		add(step{do: setPrimary, to: o.primary})
	}
	ready := !bondPort || o.master != 0
	if want.Kind == netconf.VLAN {
		ready = o.lowerUp
	}
	if !up && ready {
		add(step{do: setUp})
	}
	return list
}

// freeName is a name that no interface has and that none is to get.
func freeName(taken map[string]seen, links []netconf.Link) string {
	wanted := map[string]bool{}
	for _, l := range links {
		wanted[l.Name] = true
	}
	for n := 0; ; n++ {
		name := "nic" + strconv.Itoa(n)
		if _, ok := taken[name]; !ok && !wanted[name] {
			return name
		}
	}
}

// served lists the links by which the machine is reached: those with an address
// that is good beyond the link, or that ask for one. If there are none, those
// with any.
func served(c netconf.Config) map[string]bool {
	global, local := map[string]bool{}, map[string]bool{}
	for _, a := range c.Addresses {
		if a.Scope == "link" || a.Scope == "host" || linkLocal(a.Address) {
			local[a.Link] = true
		} else {
			global[a.Link] = true
		}
	}
	for _, l := range c.Links {
		if l.DHCP4 || l.DHCP6 || l.RA {
			global[l.Name] = true
		}
	}
	if len(global) > 0 {
		return global
	}
	return local
}

// needs6: there is something of IPv6.
func needs6(c netconf.Config) bool {
	return slices.ContainsFunc(c.Links, func(l netconf.Link) bool { return l.RA || l.DHCP6 }) ||
		slices.ContainsFunc(c.Addresses, func(a netconf.Address) bool { return strings.Contains(a.Address, ":") })
}

// patience is how long the links of the handover may take to have a carrier,
// before all others are tried. A bridge that takes part in the spanning tree
// protocol has none before it has listened and learned.
func patience(c netconf.Config, base time.Duration) time.Duration {
	if len(c.Links) == 0 {
		return 0
	}
	var delay time.Duration
	for _, l := range c.Links {
		if l.Bridge != nil && l.Bridge.STP {
			ms := l.Bridge.ForwardDelay
			if ms == 0 {
				ms = 15000 // the kernel's default
			}
			delay = max(delay, 2*time.Duration(ms)*time.Millisecond)
		}
	}
	return base + delay
}

// ordered are the routes in an order that works: those that need no other one
// come first, then those whose gateway is on the link by their own word.
func ordered(routes []netconf.Route) []netconf.Route {
	rank := func(r netconf.Route) int {
		switch {
		case r.Gateway == "" && len(r.Hops) == 0:
			return 0
		case r.OnLink:
			return 1
		}
		return 2
	}
	var list []netconf.Route
	for n := range 3 {
		for _, r := range routes {
			if rank(r) == n {
				list = append(list, r)
			}
		}
	}
	return list
}

// linksOf are the links that a route leaves by.
func linksOf(r netconf.Route) []string {
	var list []string
	if r.Link != "" {
		list = append(list, r.Link)
	}
	for _, h := range r.Hops {
		if h.Link != "" {
			list = append(list, h.Link)
		}
	}
	return list
}

// beside is a route as it is set where the kernel listens to routers: the
// kernel gives up on an advertisement when there is a route already that it is
// about to make. So that of the handover is worth a little less.
func beside(r netconf.Route, ra map[string]bool) netconf.Route {
	const kernels = 1024 // metric of the kernel's default routes (IP6_RT_PRIO_USER)
	if r.Dynamic && r.Family == "ipv6" && ra[r.Link] && (r.Metric == kernels || r.Metric == 0) {
		r.Metric = kernels + 1
	}
	return r
}
