// Package netconf is the network configuration of a machine as a document: what
// the system before had, for the RAM system and for the system that is installed
// to have it again.
//
//	envscan facts --internal/plan/handover--> Config --ramsys/network--> netlink
//	                                            └────── Networkd ──────> files of systemd-networkd
//
// Physical interfaces are meant by what identifies them (permanent MAC, or bus
// path and driver), never by name: Link.Name is only how the rest of the
// document speaks of one. The package is pure.
package netconf

// Config is everything, in the order in which it is set up.
type Config struct {
	// Links are the interfaces: physical ones first, each other one after those
	// that it stands on.
	Links     []Link    `json:"links"`
	Addresses []Address `json:"addresses"`
	Routes    []Route   `json:"routes"`
	Rules     []Rule    `json:"rules,omitempty"`
	DNS       DNS       `json:"dns"`
}

// The values of Link.Kind.
const (
	Physical = "physical"
	Bond     = "bond"
	VLAN     = "vlan"
	Bridge   = "bridge"
)

// Link is an interface.
type Link struct {
	Name string `json:"name"` // at most 15 characters; the others refer to it
	Kind string `json:"kind"`
	// NIC is which one a physical interface is.
	NIC *NIC `json:"nic,omitempty"`
	// MAC is the address in use, where it is not the permanent one: of bonds and
	// bridges, and of cards that were given another.
	MAC string `json:"mac,omitempty"`
	MTU int64  `json:"mtu,omitempty"` // bytes; 0: the driver's default
	// Master is the bond or bridge that it is a port of.
	Master string `json:"master,omitempty"`
	// Lower is what a VLAN stands on, ID its number, Protocol its tag: 802.1Q or
	// 802.1ad.
	Lower    string `json:"lower,omitempty"`
	ID       int64  `json:"id,omitempty"`
	Protocol string `json:"protocol,omitempty"`

	Bond   *BondConfig   `json:"bond,omitempty"`
	Bridge *BridgeConfig `json:"bridge,omitempty"`
	// DHCP4, DHCP6 and RA say that the system before got addresses that way: it
	// goes on asking.
	DHCP4 bool `json:"dhcp4,omitempty"`
	DHCP6 bool `json:"dhcp6,omitempty"`
	RA    bool `json:"ra,omitempty"`
	// DHCPID is what it told servers that it is: "mac" (empty), or "duid", which
	// systemd-networkd makes from the machine ID. Another one may be given another
	// address.
	DHCPID string `json:"dhcpID,omitempty"`
}

// NIC is a network card: the one that fits every field that is set. With a MAC
// nothing else is needed.
type NIC struct {
	MAC    string `json:"mac,omitempty"`    // permanent, lower case
	Path   string `json:"path,omitempty"`   // as udev's ID_PATH: pci-0000:00:03.0
	Driver string `json:"driver,omitempty"` // virtio_net
	Port   int64  `json:"port,omitempty"`   // dev_port
}

// BondConfig is how a bond chooses among its ports. Zero values: the kernel's
// defaults.
type BondConfig struct {
	Mode        string   `json:"mode"` // active-backup, 802.3ad, ... (bonding.rst)
	Monitor     int64    `json:"monitor,omitempty"`
	UpDelay     int64    `json:"upDelay,omitempty"`
	DownDelay   int64    `json:"downDelay,omitempty"`
	Primary     string   `json:"primary,omitempty"` // name of a Link
	LACP        string   `json:"lacpRate,omitempty"`
	Hash        string   `json:"hashPolicy,omitempty"`
	Select      string   `json:"adSelect,omitempty"`
	FailMAC     string   `json:"failOverMAC,omitempty"`
	ARP         []string `json:"arp,omitempty"`
	ARPInterval int64    `json:"arpInterval,omitempty"`
}

// BridgeConfig is how a bridge works.
type BridgeConfig struct {
	STP           bool  `json:"stp,omitempty"`
	ForwardDelay  int64 `json:"forwardDelay,omitempty"` // ms
	Priority      int64 `json:"priority,omitempty"`
	VLANFiltering bool  `json:"vlanFiltering,omitempty"`
	DefaultVLAN   int64 `json:"defaultVLAN,omitempty"`
}

// Address is one of an interface.
type Address struct {
	Link    string `json:"link"`
	Address string `json:"address"`        // CIDR
	Peer    string `json:"peer,omitempty"` // CIDR, of a point-to-point link
	// Dynamic: from DHCP or a router. The RAM system keeps it for as long as it
	// runs, beside what it is given anew; the installed system asks for its own.
	Dynamic bool   `json:"dynamic,omitempty"`
	Scope   string `json:"scope,omitempty"`   // global (empty), link, host
	NoRoute bool   `json:"noRoute,omitempty"` // no route to its network comes with it
	Metric  int64  `json:"metric,omitempty"`  // of that route; 0: the kernel's default
}

// Route is where packets go. Those that the kernel makes with an address are
// not among them.
type Route struct {
	Family      string `json:"family"`      // ipv4, ipv6
	Destination string `json:"destination"` // CIDR, or "default"
	Gateway     string `json:"gateway,omitempty"`
	Link        string `json:"link,omitempty"`
	OnLink      bool   `json:"onLink,omitempty"`
	Hops        []Hop  `json:"hops,omitempty"` // of a multipath route
	Source      string `json:"source,omitempty"`
	From        string `json:"from,omitempty"` // CIDR
	Metric      int64  `json:"metric,omitempty"`
	MTU         int64  `json:"mtu,omitempty"`
	Scope       string `json:"scope,omitempty"` // global (empty), link, host
	Type        string `json:"type,omitempty"`  // unicast (empty), blackhole, unreachable, prohibit, throw
	Table       int64  `json:"table,omitempty"` // 0: main
	// Dynamic: from DHCP or a router; see Address.
	Dynamic bool `json:"dynamic,omitempty"`
}

// Hop is one way of a multipath route.
type Hop struct {
	Gateway string `json:"gateway,omitempty"`
	Link    string `json:"link,omitempty"`
	OnLink  bool   `json:"onLink,omitempty"`
	Weight  int64  `json:"weight,omitempty"` // 0: 1
}

// Rule chooses a routing table.
type Rule struct {
	Priority int64  `json:"priority"`
	Family   string `json:"family"`
	Not      bool   `json:"not,omitempty"`
	From     string `json:"from,omitempty"` // CIDR
	To       string `json:"to,omitempty"`   // CIDR
	In       string `json:"in,omitempty"`   // name of a Link
	Out      string `json:"out,omitempty"`
	Mark     string `json:"mark,omitempty"` // 0x1/0xff
	TOS      int64  `json:"tos,omitempty"`
	Action   string `json:"action,omitempty"` // lookup (empty), blackhole, unreachable, prohibit
	Table    int64  `json:"table,omitempty"`
	Suppress *int64 `json:"suppress,omitempty"` // suppress_prefixlength
}

// DNS is how names are resolved.
type DNS struct {
	Servers []string `json:"servers,omitempty"`
	Search  []string `json:"search,omitempty"`
	// Dynamic: a DHCP server named them; see Address.
	Dynamic bool `json:"dynamic,omitempty"`
}
