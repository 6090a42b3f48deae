package envscan

// Net is the network configuration of the running system, as the kernel and
// resolv.conf have it.
type Net struct {
	// Links are interfaces without hardware of their own: bridge, bond, vlan,
	// veth, tun, wireguard, dummy, ... by kind and name; the loopback interface
	// is none.
	Links   []NetLink `json:"links"`
	Address []Address `json:"address"` // by interface, family and address
	Route   []Route   `json:"route"`   // of the main and other tables but local, by table, family and destination
	Rule    []Rule    `json:"rule"`    // policy routing beyond the three of the kernel
	DNS     DNS       `json:"dns"`
}

// NetLink is a network interface that software makes.
type NetLink struct {
	Name   string `json:"name" privacy:"identifying"`
	Kind   string `json:"kind"`                         // as ip-link(8): bridge, bond, vlan, veth, tun, wireguard, ...
	HWAddr string `json:"hwaddr" privacy:"identifying"` // current MAC
	// Master is the bridge or bond it is a port of, Lower what it stands on (of a
	// VLAN), Ports what it is made from. Physical interfaces are meant by their
	// names at the time of the scan.
	Master string   `json:"master" privacy:"identifying"`
	Lower  string   `json:"lower" privacy:"identifying"`
	Ports  []string `json:"ports" privacy:"identifying"`
	VLAN   *int64   `json:"vlan"` // ID
	Mode   string   `json:"mode"` // of a bond: active-backup, 802.3ad, ...
	MTU    int64    `json:"mtu" unit:"bytes"`
}

// Address is one of an interface; those of the link (fe80::/10) too.
type Address struct {
	Interface string `json:"interface" privacy:"identifying"`
	Address   string `json:"address" privacy:"identifying"` // CIDR: 192.0.2.7/24
	Peer      string `json:"peer" privacy:"identifying"`    // of a point-to-point link, CIDR
	Family    string `json:"family"`                        // ipv4, ipv6
	Scope     string `json:"scope"`                         // global, link, host
	// Dynamic: it has a lifetime, from DHCP or a router's advertisement.
	Dynamic bool `json:"dynamic"`
	// From is who set it, where the kernel knows: "kernel_ra", "kernel_ll";
	// null: a program, such as a DHCP client.
	From string `json:"from"`
}

// Route is where packets go.
type Route struct {
	Table       int64  `json:"table"` // 254 is main
	Family      string `json:"family"`
	Destination string `json:"destination" privacy:"identifying"` // CIDR; "default"
	Gateway     string `json:"gateway" privacy:"identifying"`
	Interface   string `json:"interface" privacy:"identifying"`
	Source      string `json:"source" privacy:"identifying"` // preferred
	Metric      int64  `json:"metric"`
	OnLink      bool   `json:"onLink"`   // the gateway is there though no address says so
	Protocol    string `json:"protocol"` // kernel, boot, static, dhcp, ra, ...
	Type        string `json:"type"`     // unicast, blackhole, unreachable, prohibit
}

// Rule chooses a routing table.
type Rule struct {
	Priority int64  `json:"priority"`
	Family   string `json:"family"`
	From     string `json:"from" privacy:"identifying"` // CIDR; null: all
	To       string `json:"to" privacy:"identifying"`
	Mark     string `json:"mark"` // hexadecimal, with mask: 0x1/0xff
	In       string `json:"in" privacy:"identifying"`
	Out      string `json:"out" privacy:"identifying"`
	Table    int64  `json:"table"`
}

// DNS is how names are resolved.
type DNS struct {
	Server []string `json:"server" privacy:"identifying"` // in order
	Search []string `json:"search" privacy:"identifying"`
	// Stub: the servers of resolv.conf are a resolver of this machine, and
	// Server are those that it asks.
	Stub bool `json:"stub"`
}
