package network

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/victorinix/vic/internal/netconf"
)

// Lease is what a DHCP server gave one interface.
type Lease struct {
	Interface string        `json:"interface"`
	Index     int           `json:"index"` // of the interface
	Address   netip.Prefix  `json:"address"`
	Routes    []Route       `json:"routes"`
	DNS       []netip.Addr  `json:"dns"`
	Search    []string      `json:"search,omitempty"`
	MTU       int           `json:"mtu,omitempty"` // 0: not said
	Server    netip.Addr    `json:"server"`
	Duration  time.Duration `json:"duration"`
	// Before: it is none, but an address that was handed over.
	Before bool `json:"before,omitempty"`
}

// Route is a route through an interface; without Via it is on the link.
type Route struct {
	Dst netip.Prefix `json:"dst"` // 0.0.0.0/0 for the default route
	Via netip.Addr   `json:"via"`
}

// String is a line for people: "eth0 10.0.2.15/24 via 10.0.2.2".
func (l Lease) String() string {
	s := l.Interface + " " + l.Address.String()
	for _, r := range l.Routes {
		if r.Dst.Bits() == 0 {
			s += " via " + r.Via.String()
		}
	}
	if l.Before {
		s += ", as before"
	}
	return s
}

// defaultDuration is for a server that does not say how long a lease lasts,
// and shortest for one that gives it for less than makes sense.
const (
	defaultDuration = time.Hour
	shortest        = 30 * time.Second
)

// leaseOf reads a DHCPACK. It refuses one without a usable address; other
// options that make no sense are left out.
func leaseOf(ack *dhcpv4.DHCPv4, iface string, index int) (Lease, error) {
	addr, ok := unicast(ack.YourIPAddr)
	if !ok {
		return Lease{}, fmt.Errorf("the DHCP server gave %s the address %v", iface, ack.YourIPAddr)
	}
	ones, size := ack.SubnetMask().Size()
	if size != 32 || ones == 0 {
		ones, _ = net.IP(addr.AsSlice()).DefaultMask().Size()
	}
	l := Lease{
		Interface: iface, Index: index, Address: netip.PrefixFrom(addr, ones),
		Routes:   routes(ack),
		Duration: max(ack.IPAddressLeaseTime(defaultDuration), shortest),
	}
	l.Server, _ = unicast(ack.ServerIdentifier())
	for _, ip := range ack.DNS() {
		if a, ok := unicast(ip); ok && !slices.Contains(l.DNS, a) {
			l.DNS = append(l.DNS, a)
		}
	}
	l.Search = searchOf(ack)
	if b := ack.Options.Get(dhcpv4.OptionInterfaceMTU); len(b) == 2 {
		if mtu := int(b[0])<<8 | int(b[1]); mtu >= 576 {
			l.MTU = mtu
		}
	}
	return l, nil
}

// routes prefers classless static routes to the router option, as RFC 3442
// demands.
func routes(ack *dhcpv4.DHCPv4) []Route {
	var found []Route
	for _, r := range ack.ClasslessStaticRoute() {
		dst, ok := netip.AddrFromSlice(r.Dest.IP.To4())
		ones, size := r.Dest.Mask.Size()
		if !ok || size != 32 {
			continue
		}
		via, _ := unicast(r.Router) // 0.0.0.0: on the link
		found = append(found, Route{netip.PrefixFrom(dst, ones).Masked(), via})
	}
	if len(found) > 0 {
		return found
	}
	for _, ip := range ack.Router() {
		if via, ok := unicast(ip); ok {
			return []Route{{netip.PrefixFrom(netip.IPv4Unspecified(), 0), via}}
		}
	}
	return nil
}

// searchOf lists the domains to search. They end up in a file of lines and
// words, so anything but letters, digits, dots and dashes is refused.
func searchOf(ack *dhcpv4.DHCPv4) []string {
	var words []string
	if labels := ack.DomainSearch(); labels != nil {
		words = labels.Labels
	}
	if len(words) == 0 {
		words = strings.Fields(ack.DomainName())
	}
	return domains(words)
}

func domains(words []string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool {
		return w == "" || len(w) > 253 || strings.ContainsFunc(w, func(r rune) bool {
			return !(r == '.' || r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z')
		})
	})
}

// handedDNS is how the system before resolved names, as a lease. A resolver that
// ran on the machine itself runs no more.
func handedDNS(dns netconf.DNS) Lease {
	l := Lease{Search: domains(dns.Search)}
	for _, s := range dns.Servers {
		if a, err := netip.ParseAddr(s); err == nil && !a.IsLoopback() && !a.IsUnspecified() {
			l.DNS = append(l.DNS, a)
		}
	}
	return l
}

func unicast(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip.To4())
	if !ok || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return netip.Addr{}, false
	}
	return a, true
}

// resolvConf is resolv.conf(5) for leases, first lease first.
func resolvConf(leases []Lease) string {
	var b strings.Builder
	var search []string
	seen := map[netip.Addr]bool{}
	for _, l := range leases {
		for _, a := range l.DNS {
			if !seen[a] {
				seen[a] = true
				fmt.Fprintf(&b, "nameserver %s\n", a)
			}
		}
		for _, s := range l.Search {
			if !slices.Contains(search, s) {
				search = append(search, s)
			}
		}
	}
	if len(search) > 0 {
		fmt.Fprintf(&b, "search %s\n", strings.Join(search, " "))
	}
	return b.String()
}
