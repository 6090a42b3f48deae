package envscan

// Net is the network configuration of the running system, as the kernel and
// resolv.conf have it: enough to set it up again elsewhere, but for keys.
type Net struct {
	// Links are interfaces without hardware of their own: bridge, bond, vlan,
	// veth, tun, wireguard, dummy, ... by kind and name; the loopback interface
	// is none.
	Links   []NetLink `json:"links"`
	Address []Address `json:"address"` // by interface, family and address
	// Route are those of all tables but local, by table, family, destination and
	// metric, without the kernel's for multicast.
	Route []Route `json:"route"`
	Rule  []Rule  `json:"rule"` // policy routing beyond the three of the kernel, by family and priority
	DNS   DNS     `json:"dns"`  // how names are resolved
}

// NetLink is a network interface that software makes.
type NetLink struct {
	Name   string `json:"name" privacy:"identifying"`   // of the interface: br0
	Kind   string `json:"kind"`                         // as ip-link(8): bridge, bond, vlan, veth, tun, wireguard, ...
	HWAddr string `json:"hwaddr" privacy:"identifying"` // current MAC
	// Master is the bridge, bond or VRF it is a port of, Lower what it stands on
	// (of a VLAN) or, of a veth, its other end where that is in this network
	// namespace; Ports are what it is made from. Physical interfaces are meant by
	// their names at the time of the scan.
	Master string   `json:"master" privacy:"identifying"`
	Lower  string   `json:"lower" privacy:"identifying"`
	Ports  []string `json:"ports" privacy:"identifying"`
	VLAN   *int64   `json:"vlan"` // ID; of a vxlan its network identifier
	// Protocol is how a VLAN is tagged: 802.1Q, 802.1ad.
	Protocol string `json:"protocol"`
	Mode     string `json:"mode"`             // of a bond: active-backup, 802.3ad, ...; macvlan: bridge, private, ...; tun: tun, tap
	Table    *int64 `json:"table"`            // of a VRF
	MTU      int64  `json:"mtu" unit:"bytes"` // largest packet
	// Bond and Bridge are the settings of one.
	Bond   *Bond   `json:"bond"`
	Bridge *Bridge `json:"bridge"`
}

// Bond is how a bond chooses among its ports. What the mode does not use is
// null.
type Bond struct {
	Monitor   int64  `json:"monitor" unit:"ms"`             // between looks at the carrier (miimon); 0: never
	UpDelay   int64  `json:"upDelay" unit:"ms"`             // before a port whose carrier came is used
	DownDelay int64  `json:"downDelay" unit:"ms"`           // before one whose carrier went is not
	Primary   string `json:"primary" privacy:"identifying"` // preferred port
	LACP      string `json:"lacpRate"`                      // slow, fast
	Hash      string `json:"hashPolicy"`                    // layer2, layer2+3, layer3+4, ...
	Select    string `json:"adSelect"`                      // stable, bandwidth, count
	FailMAC   string `json:"failOverMAC"`                   // none, active, follow
	// ARP are addresses that are asked for instead of the carrier, every
	// ARPInterval.
	ARP         []string `json:"arp" privacy:"identifying"`
	ARPInterval int64    `json:"arpInterval" unit:"ms"`
}

// Bridge is how a bridge works.
type Bridge struct {
	STP           bool  `json:"stp"`                    // it takes part in the spanning tree protocol
	ForwardDelay  int64 `json:"forwardDelay" unit:"ms"` // until a new port forwards
	Priority      int64 `json:"priority"`               // in the election of the root bridge; the lowest wins
	VLANFiltering bool  `json:"vlanFiltering"`          // it forwards by VLAN
	DefaultVLAN   int64 `json:"defaultVLAN"`            // of frames without a tag
}

// Address is one of an interface; those of the link (fe80::/10) too.
type Address struct {
	Interface string `json:"interface" privacy:"identifying"` // name of the interface that has it
	Address   string `json:"address" privacy:"identifying"`   // CIDR: 192.0.2.7/24
	Peer      string `json:"peer" privacy:"identifying"`      // of a point-to-point link, CIDR
	Family    string `json:"family"`                          // ipv4, ipv6
	Scope     string `json:"scope"`                           // global, site, link, host
	// Dynamic: it has a lifetime, from DHCP or a router's advertisement.
	Dynamic bool `json:"dynamic"`
	// Temporary: an IPv6 address that was made up for privacy, and is replaced.
	Temporary bool `json:"temporary"`
	// NoRoute: it came without a route to its network.
	NoRoute bool  `json:"noRoute"`
	Metric  int64 `json:"metric"` // of that route; 0: the kernel's default
	// From is who set it, where the kernel knows: "kernel_ra", "kernel_ll";
	// null: a program, such as a DHCP client.
	From string `json:"from"`
}

// Route is where packets go.
type Route struct {
	Table       int64  `json:"table"`                             // 254 is main
	Family      string `json:"family"`                            // ipv4, ipv6
	Destination string `json:"destination" privacy:"identifying"` // CIDR; "default"
	From        string `json:"from" privacy:"identifying"`        // only packets from there (IPv6), CIDR
	// Gateway of an IPv4 route may be an IPv6 address.
	Gateway   string `json:"gateway" privacy:"identifying"`
	Interface string `json:"interface" privacy:"identifying"` // name of the interface that packets leave by
	OnLink    bool   `json:"onLink"`                          // the gateway is there though no address says so
	// Hops are the ways of a multipath route, which then has no Gateway and
	// Interface of its own.
	Hops     []Hop  `json:"hops"`
	Source   string `json:"source" privacy:"identifying"` // preferred
	Metric   int64  `json:"metric"`                       // the lowest of several wins
	MTU      int64  `json:"mtu" unit:"bytes"`             // of the way; 0: that of the interface
	Scope    string `json:"scope"`                        // global, link, host; of IPv6 always global
	Protocol string `json:"protocol"`                     // kernel, boot, static, dhcp, ra, ...
	Type     string `json:"type"`                         // unicast, blackhole, unreachable, prohibit, throw; in a VRF's table also local
	// Encap: packets are wrapped (MPLS, SRv6, ...), which these facts do not
	// describe: the route cannot be set up again from them.
	Encap bool `json:"encap"`
}

// Hop is one way of a multipath route.
type Hop struct {
	Gateway   string `json:"gateway" privacy:"identifying"`   // address of the next router
	Interface string `json:"interface" privacy:"identifying"` // name of the interface that packets leave by
	OnLink    bool   `json:"onLink"`                          // the gateway is there though no address says so
	Weight    int64  `json:"weight"`                          // from 1
}

// Rule chooses a routing table for the packets that meet all of its conditions.
type Rule struct {
	Priority int64  `json:"priority"`                   // rules are asked in this order, lowest first
	Family   string `json:"family"`                     // ipv4, ipv6
	Not      bool   `json:"not"`                        // for those that do not meet them
	From     string `json:"from" privacy:"identifying"` // CIDR; null: all
	To       string `json:"to" privacy:"identifying"`   // CIDR of the destination; null: all
	Mark     string `json:"mark"`                       // hexadecimal, with mask: 0x1/0xff
	In       string `json:"in" privacy:"identifying"`   // interface that packets come from
	Out      string `json:"out" privacy:"identifying"`  // interface that a socket is bound to
	TOS      int64  `json:"tos"`                        // 0: any
	Protocol int64  `json:"protocol"`                   // of IP: 6 is TCP; 0: any
	// SourcePort and DestinationPort are ranges: "53", "1024-65535".
	SourcePort      string `json:"sourcePort"`
	DestinationPort string `json:"destinationPort"`
	User            string `json:"user" privacy:"identifying"` // whose packets: range of user IDs
	// Action is lookup, goto, nop, blackhole, unreachable or prohibit.
	Action string `json:"action"`
	Table  int64  `json:"table"`  // 0: none, or with L3MDev that of the VRF
	Goto   *int64 `json:"goto"`   // priority
	L3MDev bool   `json:"l3mdev"` // the table is that of a VRF
	// Suppress: routes with a prefix of at most so many bits do not count; 0 is
	// the default route.
	Suppress *int64 `json:"suppress"`
}

// DNS is how names are resolved.
type DNS struct {
	Server []string `json:"server" privacy:"identifying"` // in order
	Search []string `json:"search" privacy:"identifying"` // domains that names without a dot are looked for in, in order
	// Options are those of resolv.conf(5), in order: "edns0".
	Options []string `json:"options"`
	// Stub: the servers of resolv.conf are a resolver of this machine, and
	// Server are those that it asks.
	Stub bool `json:"stub"`
}
