package network

import "net/netip"

// Kind is what a network is like.
type Kind string

const (
	// User is QEMU's own user-mode network, with DHCP: the machine is reached by a
	// forwarded port. It needs no root.
	User Kind = "user"
	// DHCP is IPv4 by DHCP.
	DHCP Kind = "dhcp"
	// Static is an IPv4 address that is alone in its network, and one of IPv6, with
	// routers that are in neither's network ("onlink").
	Static Kind = "static"
	// Bond is a VLAN on a bond of two cards, of which one is active.
	Bond Kind = "bond"
	// Two are two cards, each with a default route; the first one's is preferred.
	Two Kind = "two"
	// RA is IPv6 alone, as the router advertises it.
	RA Kind = "ra"
)

// All are the networks in which the client is somewhere else.
func All() []Kind { return []Kind{DHCP, Static, Bond, Two, RA} }

// Place is the network as the machine in it is told.
type Place struct {
	// Addresses are the machine's, by which the client reaches it; none in a User
	// network.
	Addresses []netip.Addr
	// Nameservers are to be in resolv.conf(5) where nothing else writes it.
	Nameservers []netip.Addr
	// Interfaces is the file interfaces(5) of ifupdown; the packages that it needs
	// are ifenslave and vlan, and isc-dhcp-client.
	Interfaces string
	// Networkd are the files of systemd-networkd, by name.
	Networkd map[string]string
}

// kind is how a network is made.
type kind struct {
	segments []cardOn // of each of the machine's cards
	router   []string // ip(8)
	routes   []string // those of router that are gone when an interface was down
	dnsmasq  []string
	place    Place
}

// cardOn says which interface of the router a card is on: lan, which has access as
// its VLAN there, while the card has card.
type cardOn struct {
	lan          int
	access, card uint16
}

func addrs(list ...string) []netip.Addr {
	var all []netip.Addr
	for _, a := range list {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

// VLAN is the one of the Bond network.
const VLAN = 42

var kinds = map[Kind]kind{
	User: {place: Place{Nameservers: addrs("10.0.2.3"), Interfaces: dhcpInterfaces, Networkd: dhcpNetworkd}},
	DHCP: {
		segments: []cardOn{{}},
		router:   []string{"addr add 10.7.0.1/24 dev lan0", "link set lan0 up"},
		dnsmasq:  []string{"--dhcp-range=10.7.0.50,10.7.0.99,255.255.255.0,1h", "--dhcp-host=" + cardMAC(0) + ",10.7.0.20"},
		place:    Place{Addresses: addrs("10.7.0.20"), Nameservers: addrs("10.7.0.1"), Interfaces: dhcpInterfaces, Networkd: dhcpNetworkd},
	},
	Static: {
		segments: []cardOn{{}},
		router:   append([]string{"addr add 10.7.0.1/24 dev lan0", "link set lan0 up"}, staticRoutes...),
		routes:   staticRoutes,
		place: Place{
			Addresses: addrs("192.0.2.20", "2001:db8:20::20"), Nameservers: addrs("10.7.0.1", "2001:db8:7::1"),
			Interfaces: staticInterfaces, Networkd: staticNetworkd,
		},
	},
	Bond: {
		segments: []cardOn{{access: VLAN}, {access: VLAN}},
		router:   []string{"addr add 10.7.42.1/24 dev lan0", "link set lan0 up"},
		place:    Place{Addresses: addrs("10.7.42.20"), Nameservers: addrs("10.7.42.1"), Interfaces: bondInterfaces, Networkd: bondNetworkd},
	},
	Two: {
		segments: []cardOn{{lan: 0}, {lan: 1}},
		router:   []string{"addr add 10.7.1.1/24 dev lan0", "link set lan0 up", "addr add 10.7.2.1/24 dev lan1", "link set lan1 up"},
		place: Place{
			Addresses: addrs("10.7.1.20", "10.7.2.20"), Nameservers: addrs("10.7.1.1", "10.7.2.1"),
			Interfaces: twoInterfaces, Networkd: twoNetworkd,
		},
	},
	RA: {
		segments: []cardOn{{}},
		router:   append([]string{"link set lan0 up"}, raRoutes...),
		routes:   raRoutes,
		// The lifetime is that of most routers: dnsmasq's own would be three
		// intervals, and it stops to advertise for a while when its link was away.
		dnsmasq: []string{"--enable-ra", "--dhcp-range=2001:db8:9::,ra-only", "--dhcp-option=option6:dns-server,[2001:db8:9::1]", "--ra-param=lan0,10,1800"},
		place: Place{
			Addresses: addrs("2001:db8:9::5054:ff:fe76:6e00"), Nameservers: addrs("2001:db8:9::1"),
			Interfaces: raInterfaces, Networkd: raNetworkd,
		},
	},
}

// An interface that goes down loses its IPv6 addresses, and its routes.
var (
	staticRoutes = []string{"route replace 192.0.2.20 dev lan0", "addr replace 2001:db8:7::1/64 dev lan0 nodad", "route replace 2001:db8:20::/64 dev lan0"}
	raRoutes     = []string{"addr replace 2001:db8:9::1/64 dev lan0 nodad"}
)
