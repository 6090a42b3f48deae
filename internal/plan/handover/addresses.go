package handover

import (
	"net/netip"
	"slices"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/netconf"
)

// own reports whether each system makes such an address by itself.
func own(a envscan.Address, p netip.Prefix) bool {
	ip := p.Addr()
	return ip.IsLoopback() || ip.IsMulticast() || ip.Is6() && ip.IsLinkLocalUnicast() || a.Temporary
}

func (o old) addresses(lost *left) []netconf.Address {
	list := []netconf.Address{}
	for _, a := range o.f.Net.Address {
		p, err := netip.ParsePrefix(a.Address)
		if err != nil || own(a, p) {
			continue
		}
		if err := o.holds(a.Interface); err != nil {
			b := lost.of(a.Interface, err)
			b.addrs = append(b.addrs, a.Address)
			continue
		}
		n := netconf.Address{Link: a.Interface, Address: a.Address, Peer: a.Peer, Dynamic: o.dynamic(a, p), NoRoute: a.NoRoute, Metric: a.Metric}
		if a.Scope == "link" || a.Scope == "host" {
			n.Scope = a.Scope
		}
		list = append(list, n)
	}
	return list
}

// dynamic: an address has a lifetime unless a DHCP server lends it for good. Then
// the routes that came with it tell, by the source that they prefer.
func (o old) dynamic(a envscan.Address, p netip.Prefix) bool {
	return a.Dynamic || slices.ContainsFunc(o.f.Net.Route, func(r envscan.Route) bool {
		return r.Protocol == "dhcp" && r.Interface == a.Interface && r.Source == p.Addr().String()
	})
}

// requests notes on each link how it came to what is dynamic: an address of one
// machine alone is DHCPv6's, others of IPv6 are made from a router's prefix.
// (systemd-networkd and NetworkManager listen to routers themselves, so that the
// kernel's word "kernel_ra" for such addresses may not be there.)
func (o old) requests(c *netconf.Config) {
	at := func(name string) *netconf.Link {
		i := slices.IndexFunc(c.Links, func(l netconf.Link) bool { return l.Name == name })
		if i < 0 || c.Links[i].Master != "" {
			return &netconf.Link{} // of a port nothing is asked
		}
		return &c.Links[i]
	}
	for _, a := range c.Addresses {
		p, err := netip.ParsePrefix(a.Address)
		if err != nil || !a.Dynamic {
			continue
		}
		switch l := at(a.Link); {
		case p.Addr().Is4():
			l.DHCP4 = true
		case p.IsSingleIP():
			l.DHCP6 = true
		default:
			l.RA = true
		}
	}
	for _, r := range o.f.Net.Route {
		switch {
		case r.Protocol == "dhcp" && r.Family == netconf.IPv4 && r.Type == "unicast":
			l := at(r.Interface)
			l.DHCP4 = true
			if r.Destination == netconf.Default && o.byMachineID(r) {
				l.DHCPID = "duid"
			}
		case r.Protocol == "ra":
			at(r.Interface).RA = true
			for _, h := range r.Hops {
				at(h.Interface).RA = true
			}
		}
	}
}

// byMachineID reports whether a route is systemd-networkd's, which tells servers
// an identifier made from the machine ID: it notes that its routes are from DHCP
// and which source they prefer, and leaves the one to the address's own network
// to the kernel. NetworkManager does not, and tells the MAC, as dhclient does.
func (o old) byMachineID(r envscan.Route) bool {
	return slices.ContainsFunc(o.f.Net.Address, func(a envscan.Address) bool {
		p, err := netip.ParsePrefix(a.Address)
		return err == nil && a.Interface == r.Interface && p.Addr().String() == r.Source && !a.NoRoute
	})
}
