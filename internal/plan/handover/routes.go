package handover

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/netconf"
)

const tableMain = 254

// daemons are protocols of programs that exchange routes with others: what they
// learned is not the machine's configuration.
var daemons = []string{"redirect", "gated", "mrt", "zebra", "bird", "dnrouted", "xorp", "ntk", "babel", "ovn", "bgp", "isis", "ospf", "rip", "eigrp"}

// holds says why a link cannot have addresses and routes after the handover.
func (o old) holds(name string) error {
	if err := o.why(name); err != nil {
		return err
	}
	if m, ok := o.soft[o.master[name]]; ok && o.why(m.Name) == nil {
		return fmt.Errorf("it is a port of %s, which alone has addresses", m.Name)
	}
	return nil
}

// ways are those of a route.
func ways(r netconf.Route) []netconf.Hop {
	if len(r.Hops) > 0 {
		return r.Hops
	}
	return []netconf.Hop{{Gateway: r.Gateway, Link: r.Link, OnLink: r.OnLink}}
}

func (o old) routes(lost *left, w *warnings, addrs []netconf.Address) []netconf.Route {
	list, learned := []netconf.Route{}, 0
	for _, r := range o.f.Net.Route {
		switch {
		case o.selfMade(r):
		case slices.Contains(daemons, r.Protocol) && r.Destination != netconf.Default:
			learned++
		case r.Encap:
			w.add("the route to %s wraps packets (MPLS, SRv6, ...): it is not handed over", r.Destination)
		default:
			n := o.route(r, addrs, w)
			if o.lead(&n, r, lost, w) && !slices.ContainsFunc(list, func(x netconf.Route) bool { return same(x, n) }) {
				list = append(list, n)
			}
		}
	}
	if learned > 0 {
		w.add("%s that a routing daemon learned are not handed over", counted(learned, "route"))
	}
	// Gateways are only accepted where a route to them is there.
	slices.SortStableFunc(list, func(a, b netconf.Route) int { return cmp.Compare(gateways(a), gateways(b)) })
	return list
}

func gateways(r netconf.Route) int {
	n := 0
	for _, h := range ways(r) {
		if h.Gateway != "" {
			n = 1
		}
	}
	return n
}

func same(a, b netconf.Route) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) }

// selfMade reports whether a route is one that each system makes by itself: with
// an address, for multicast, within a link, or as a last resort.
func (o old) selfMade(r envscan.Route) bool {
	if !slices.Contains([]string{"unicast", "blackhole", "unreachable", "prohibit", "throw"}, r.Type) {
		return true
	}
	if p, err := netip.ParsePrefix(r.Destination); err == nil && (p.Addr().IsMulticast() || p.Addr().Is6() && p.Addr().IsLinkLocalUnicast()) {
		return true
	}
	switch {
	case r.Type != "unicast":
		return r.Protocol == "kernel" || r.Protocol == "ra" || r.Protocol == "dhcp"
	case r.Interface == "lo" || r.Interface == "" && len(r.Hops) == 0:
		return true
	}
	return r.Protocol == "kernel" && slices.ContainsFunc(o.f.Net.Address, func(a envscan.Address) bool {
		return a.Interface == r.Interface && !a.NoRoute && network(a) == r.Destination
	})
}

// network is what the kernel makes a route to when it gets an address.
func network(a envscan.Address) string {
	text := a.Address
	if a.Peer != "" {
		text = a.Peer
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return ""
	}
	return p.Masked().String()
}

// route is one without its ways.
func (o old) route(r envscan.Route, addrs []netconf.Address, w *warnings) netconf.Route {
	n := netconf.Route{Family: r.Family, Destination: r.Destination, From: r.From, Metric: r.Metric, MTU: r.MTU, Dynamic: o.learned(r)}
	if r.Type != "unicast" {
		n.Type = r.Type
	}
	if r.Table != tableMain {
		n.Table = r.Table
	}
	if r.Family == netconf.IPv4 && (r.Scope == "link" || r.Scope == "host") {
		n.Scope = r.Scope
	}
	kept := slices.ContainsFunc(addrs, func(a netconf.Address) bool {
		p, err := netip.ParsePrefix(a.Address)
		return err == nil && p.Addr().String() == r.Source
	})
	if kept {
		n.Source = r.Source
	} else if r.Source != "" {
		w.add("the route to %s prefers the source %s, which is not handed over", r.Destination, r.Source)
	}
	return n
}

// learned reports whether a route came with a lease or from a router.
//
// NetworkManager makes the routes to networks of addresses itself, in the
// kernel's name. dhclient's script does not say whose its default route is: it is
// the one through a lent address, where no other is.
func (o old) learned(r envscan.Route) bool {
	switch r.Protocol {
	case "dhcp", "ra":
		return true
	case "kernel":
		from := slices.IndexFunc(o.f.Net.Address, func(a envscan.Address) bool { return a.Interface == r.Interface && network(a) == r.Destination })
		return from < 0 && r.Family == netconf.IPv6 || from >= 0 && o.f.Net.Address[from].Dynamic
	case "boot", "":
		gw, err := netip.ParseAddr(r.Gateway)
		if err != nil {
			return o.toGateway(r)
		}
		return r.Destination == netconf.Default && r.Family == netconf.IPv4 && gw.Is4() && o.lent(r.Interface, gw)
	}
	return false
}

// lent reports whether a gateway is one that a DHCP server named.
func (o old) lent(link string, gw netip.Addr) bool {
	near := false
	for _, a := range o.f.Net.Address {
		p, err := netip.ParsePrefix(a.Address)
		if err != nil || a.Interface != link || !p.Addr().Is4() || p.Addr().IsLinkLocalUnicast() {
			continue
		}
		if !a.Dynamic && (p.Contains(gw) || p.IsSingleIP()) {
			return false
		}
		near = near || a.Dynamic && (p.Contains(gw) || p.IsSingleIP())
	}
	return near
}

// toGateway reports whether a route is the one to a gateway that is in no network
// of a lent address.
func (o old) toGateway(r envscan.Route) bool {
	p, err := netip.ParsePrefix(r.Destination)
	return err == nil && p.IsSingleIP() && slices.ContainsFunc(o.f.Net.Route, func(d envscan.Route) bool {
		return d.Destination == netconf.Default && d.Interface == r.Interface && d.Gateway == p.Addr().String() && o.learned(d)
	})
}

// lead adds the ways of a route that are handed over, and reports whether there
// are any.
func (o old) lead(n *netconf.Route, r envscan.Route, lost *left, w *warnings) bool {
	if n.Type != "" {
		return true
	}
	hops := r.Hops
	if len(hops) == 0 {
		hops = []envscan.Hop{{Gateway: r.Gateway, Interface: r.Interface, OnLink: r.OnLink}}
	}
	var kept []netconf.Hop
	for _, h := range hops {
		if err := o.holds(h.Interface); err != nil {
			b := lost.of(h.Interface, err)
			b.routes++
			b.wayOut = b.wayOut || r.Destination == netconf.Default
			continue
		}
		kept = append(kept, netconf.Hop{Gateway: h.Gateway, Link: h.Interface, OnLink: h.OnLink && h.Gateway != "", Weight: h.Weight})
	}
	// No file can say that one of several ways has no gateway.
	if bare := slices.IndexFunc(kept, func(h netconf.Hop) bool { return h.Gateway == "" }); bare >= 0 && len(kept) > 1 {
		w.add("of the ways to %s only the one through %s, which has no gateway, is handed over", r.Destination, kept[bare].Link)
		kept = kept[bare : bare+1]
	}
	switch len(kept) {
	case 0:
		return false
	case 1:
		n.Gateway, n.Link, n.OnLink = kept[0].Gateway, kept[0].Link, kept[0].OnLink
	default:
		n.Hops = kept
	}
	return true
}

// reach declares gateways to be on the link that nothing else says are there:
// the kernel asks for that only when a route is made, and what it was made by
// may be gone.
func reach(c *netconf.Config) {
	near := func(link, gateway string, table int64) bool {
		gw, err := netip.ParseAddr(gateway)
		if err != nil || gw.Is6() && gw.IsLinkLocalUnicast() {
			return true
		}
		return slices.ContainsFunc(c.Addresses, func(a netconf.Address) bool {
			text := a.Address
			if a.Peer != "" {
				text = a.Peer
			}
			p, err := netip.ParsePrefix(text)
			return err == nil && a.Link == link && !a.NoRoute && p.Contains(gw)
		}) || slices.ContainsFunc(c.Routes, func(r netconf.Route) bool {
			p, err := netip.ParsePrefix(r.Destination)
			return err == nil && r.Link == link && r.Gateway == "" && (r.Table == 0 || r.Table == table) && p.Contains(gw)
		})
	}
	for i := range c.Routes {
		r := &c.Routes[i]
		if r.Gateway != "" && !near(r.Link, r.Gateway, r.Table) {
			r.OnLink = true
		}
		for k := range r.Hops {
			if h := &r.Hops[k]; !near(h.Link, h.Gateway, r.Table) {
				h.OnLink = true
			}
		}
	}
}

// rules: those that ask for what no file of the installed system can say are
// left out, and so are those of tables from which nothing is handed over.
func (o old) rules(c netconf.Config, w *warnings) []netconf.Rule {
	var list []netconf.Rule
	for _, r := range o.f.Net.Rule {
		n := netconf.Rule{Priority: r.Priority, Family: r.Family, Not: r.Not, From: r.From, To: r.To, In: r.In, Out: r.Out, Mark: r.Mark, TOS: r.TOS, Suppress: r.Suppress}
		if r.Action != "lookup" {
			n.Action = r.Action
		} else if n.Table = r.Table; n.Table == tableMain {
			n.Table = 0
		}
		known := r.Table == 0 || r.Table >= 253 && r.Table <= 255 ||
			slices.ContainsFunc(c.Routes, func(x netconf.Route) bool { return x.Table == r.Table && x.Family == r.Family })
		if r.L3MDev || !known {
			continue
		}
		wrong := netconf.Config{Links: c.Links, Rules: []netconf.Rule{n}}.Validate()
		switch {
		case r.Protocol != 0 || r.SourcePort != "" || r.DestinationPort != "" || r.User != "":
			w.add("the rule %d asks for protocols, ports or users: it is not handed over", r.Priority)
		case wrong != nil:
			w.add("the rule %d is not handed over: %v", r.Priority, wrong)
		default:
			list = append(list, n)
		}
	}
	return list
}
