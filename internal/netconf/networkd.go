package netconf

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// File is one of the installed system.
type File struct {
	Path    string
	Content string
	Mode    uint32 // permission bits
}

// unit is a file of systemd-networkd.
type unit struct{ strings.Builder }

// section begins one; every pair of words is a key with its value, and is left
// out where there is no value.
func (u *unit) section(name string, pairs ...string) {
	if u.Len() > 0 {
		u.WriteByte('\n')
	}
	u.WriteString("[" + name + "]\n")
	u.set(pairs...)
}

// optional begins a section that is only there for what it holds.
func (u *unit) optional(name string, pairs ...string) {
	for i := 1; i < len(pairs); i += 2 {
		if pairs[i] != "" {
			u.section(name, pairs...)
			return
		}
	}
}

func (u *unit) set(pairs ...string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			u.WriteString(pairs[i] + "=" + pairs[i+1] + "\n")
		}
	}
}

// number is empty for 0.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// ms is a time span of systemd.time(7).
func ms(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%dms", n)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// Networkd are the files that make systemd-networkd, of version 252 and later,
// set up a document that Validate accepts: systemd.network(5),
// systemd.netdev(5), systemd.link(5). What is dynamic is not in them: the system
// asks for its own.
//
// Network cards are found by what they are, and are called by a name only where a
// rule or a route with several ways must name one: then a .link file gives it
// that name (Named).
func Networkd(c Config) []File {
	names := Named(c)
	c = c.Rename(names)
	var files []File
	add := func(l Link, kind string, u *unit) {
		files = append(files, File{Path: "/etc/systemd/network/10-vic-" + l.Name + "." + kind, Content: u.String(), Mode: 0o644})
	}
	for _, l := range c.Links {
		if l.Kind == Physical && named(names, l.Name) {
			add(l, "link", l.linkFile())
		}
		if l.Kind != Physical {
			add(l, "netdev", l.netdevFile())
		}
		add(l, "network", c.networkFile(l))
	}
	return files
}

// named reports whether one of the new names is that.
func named(names map[string]string, name string) bool {
	for _, n := range names {
		if n == name {
			return true
		}
	}
	return false
}

// match are the pairs of [Match] that find an interface.
func (l Link) match() []string {
	if l.NIC == nil {
		return []string{"Name", l.Name}
	}
	return []string{"PermanentMACAddress", l.NIC.MAC, "Path", l.NIC.Path, "Driver", l.NIC.Driver}
}

// linkFile keeps what 99-default.link says besides the name, since only the
// first file that matches counts.
func (l Link) linkFile() *unit {
	u := &unit{}
	u.section("Match", l.match()...)
	u.section("Link", "Name", l.Name, "AlternativeNamesPolicy", "database onboard slot path", "MACAddressPolicy", "persistent")
	return u
}

// netdevFile makes an interface. Without a MAC that is given here, bonds and
// bridges get one made up from the machine ID.
func (l Link) netdevFile() *unit {
	u := &unit{}
	u.section("NetDev", "Name", l.Name, "Kind", l.Kind, "MACAddress", l.MAC, "MTUBytes", number(l.MTU))
	switch l.Kind {
	case VLAN:
		u.section("VLAN", "Id", strconv.FormatInt(l.ID, 10), "Protocol", strings.ToLower(l.Protocol))
	case Bond:
		b := l.Bond
		u.section("Bond", "Mode", b.Mode, "MIIMonitorSec", ms(b.Monitor), "UpDelaySec", ms(b.UpDelay), "DownDelaySec", ms(b.DownDelay),
			"LACPTransmitRate", b.LACP, "TransmitHashPolicy", b.Hash, "AdSelect", b.Select, "FailOverMACPolicy", b.FailMAC,
			"ARPIntervalSec", ms(b.ARPInterval), "ARPIPTargets", strings.Join(b.ARP, " "))
	case Bridge:
		if l.Bridge != nil {
			l.Bridge.write(u)
		}
	}
	return u
}

func (b BridgeConfig) write(u *unit) {
	u.section("Bridge", "STP", map[bool]string{true: "yes", false: "no"}[b.STP])
	if !b.STP || b.ForwardDelay > 0 { // which the protocol needs
		u.set("ForwardDelaySec", fmt.Sprintf("%dms", b.ForwardDelay))
	}
	if b.STP {
		u.set("Priority", strconv.FormatInt(b.Priority, 10))
	}
	if b.VLANFiltering {
		pvid := "none"
		if b.DefaultVLAN > 0 {
			pvid = number(b.DefaultVLAN)
		}
		u.set("VLANFiltering", "yes", "DefaultPVID", pvid)
	}
}

// networkFile is what an interface has and what stands on it.
func (c Config) networkFile(l Link) *unit {
	u := &unit{}
	u.section("Match", l.match()...)
	bonded := l.Master != "" && c.Links[c.index(l.Master)].Kind == Bond
	var link []string
	if l.Kind == Physical && !bonded { // a bond gives its ports both
		link = append(link, "MACAddress", l.MAC, "MTUBytes", number(l.MTU))
	}
	if !c.online(l) { // a machine is on the network by what has addresses
		link = append(link, "RequiredForOnline", "no")
	}
	u.optional("Link", link...)
	u.section("Network", c.network(l)...)
	for _, a := range c.Addresses {
		if a.Link == l.Name && !a.Dynamic {
			a.write(u)
		}
	}
	for _, r := range c.Routes {
		if !r.Dynamic {
			c.writeRoute(u, l, r)
		}
	}
	for _, r := range c.Rules {
		if c.ruleLink(r) == l.Name {
			r.write(u)
		}
	}
	c.asks(u, l)
	return u
}

// online reports whether an interface gets addresses.
func (c Config) online(l Link) bool {
	return l.DHCP4 || l.DHCP6 || l.RA || slices.ContainsFunc(c.Addresses, func(a Address) bool { return a.Link == l.Name && !a.Dynamic })
}

// network are the pairs of [Network].
func (c Config) network(l Link) []string {
	var pairs []string
	add := func(key, value string) { pairs = append(pairs, key, value) }
	if l.Master != "" {
		m := c.Links[c.index(l.Master)]
		add(map[string]string{Bond: "Bond", Bridge: "Bridge"}[m.Kind], m.Name)
		add("PrimarySlave", yes(m.Bond != nil && m.Bond.Primary == l.Name))
	}
	for _, v := range c.Links {
		if v.Lower == l.Name {
			add("VLAN", v.Name)
		}
	}
	switch {
	case l.Master != "":
		add("LinkLocalAddressing", "no")
	case l.RA || l.DHCP6:
		add("IPv6AcceptRA", "yes")
	default:
		add("IPv6AcceptRA", "no")
	}
	add("DHCP", map[[2]bool]string{{true, true}: "yes", {true, false}: "ipv4", {false, true}: "ipv6"}[[2]bool{l.DHCP4, l.DHCP6}])
	if c.DNS.Dynamic {
		return pairs
	}
	first := c.primary()
	for _, s := range c.DNS.Servers {
		addr, zone, zoned := strings.Cut(s, "%")
		if zoned && zone == l.Name || !zoned && first == l.Name {
			add("DNS", addr)
		}
	}
	if first == l.Name {
		add("Domains", strings.Join(c.DNS.Search, " "))
	}
	return pairs
}

func (a Address) write(u *unit) {
	addr := a.Address
	if a.Peer != "" { // the prefix is that of the other end
		bits := netip.MustParsePrefix(a.Peer).Bits()
		addr = netip.PrefixFrom(netip.MustParsePrefix(a.Address).Addr(), bits).String()
	}
	u.section("Address", "Address", addr, "Peer", a.Peer)
	if a.Scope != "global" {
		u.set("Scope", a.Scope)
	}
	if a.NoRoute {
		u.set("AddPrefixRoute", "no")
	} else {
		u.set("RouteMetric", number(a.Metric))
	}
}

// asks is how an interface asks for addresses: as who it asked before, so that a
// server gives the same again, and with the interface identifiers of before.
func (c Config) asks(u *unit, l Link) {
	if l.DHCP4 {
		metric, table := c.learned(l, IPv4)
		u.section("DHCPv4", "ClientIdentifier", cmp.Or(l.DHCPID, "mac"), "UseDomains", yes(c.DNS.Dynamic && len(c.DNS.Search) > 0), "RouteMetric", metric, "RouteTable", table)
	}
	if l.DHCP6 && !l.RA {
		u.section("DHCPv6", "WithoutRA", "solicit")
	}
	if !l.RA && !l.DHCP6 {
		return
	}
	metric, table := c.learned(l, IPv6)
	pairs := []string{"RouteMetric", metric, "RouteTable", table}
	if !l.DHCP6 { // which a router can order otherwise
		pairs = append(pairs, "DHCPv6Client", "no")
	}
	made := "no" // addresses from the router's prefixes
	for _, a := range c.Addresses {
		p, err := netip.ParsePrefix(a.Address)
		if err != nil || a.Link != l.Name || !a.Dynamic || !p.Addr().Is6() || p.IsSingleIP() {
			continue
		}
		made = ""
		if id, ok := identifier(p); ok {
			pairs = append(pairs, "Token", "static:"+id)
		}
	}
	u.optional("IPv6AcceptRA", append(pairs, "UseAutonomousPrefix", made)...)
}

// identifier is the lower half of an address from a router's prefix, where it was
// not made from the MAC (RFC 4291, appendix A), as systemd-networkd does by
// itself.
func identifier(p netip.Prefix) (string, bool) {
	b := p.Addr().As16()
	if p.Bits() != 64 || binary.BigEndian.Uint16(b[11:]) == 0xfffe {
		return "", false
	}
	clear(b[:8])
	return netip.AddrFrom16(b).String(), true
}

// learned are metric and table of the default route that came with the
// addresses of an interface, where they are not those that systemd-networkd
// takes.
func (c Config) learned(l Link, family string) (metric, table string) {
	const usual = 1024
	routes := 0
	var found *Route
	for i, r := range c.Routes {
		if r.Family != family || r.Destination != Default || !r.Dynamic {
			continue
		}
		routes++
		if r.Link == l.Name && found == nil {
			found = &c.Routes[i]
		}
	}
	if found == nil {
		return "", ""
	}
	if found.Metric != usual && (found.Metric != 0 || routes > 1) {
		metric = strconv.FormatInt(found.Metric, 10)
	}
	if found.Table != tableMain {
		table = number(found.Table)
	}
	return metric, table
}
