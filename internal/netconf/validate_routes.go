package netconf

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// The values of Family, and the destination of a default route.
const (
	IPv4    = "ipv4"
	IPv6    = "ipv6"
	Default = "default"
)

// tableMain and tableLocal are the kernel's (linux/rtnetlink.h).
const (
	tableMain  = 254
	tableLocal = 255
)

var domain = lazyregexp.New(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$`)

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// prefix: text is a CIDR of the family; with host bits only if they are allowed.
func (p *problems) prefix(what, text, family string, host bool) netip.Prefix {
	v, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		p.add("%s: %w", what, err)
	case family != "" && familyOf(v.Addr()) != family || v.Addr().Is4In6():
		p.add("%s %s is not of the family %s", what, text, family)
	case !host && v != v.Masked():
		p.add("%s %s must be %s", what, text, v.Masked())
	}
	return v
}

// address: text is an address, without a zone, of a family if one is given.
func (p *problems) address(what, text, family string) {
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil:
		p.add("%s: %w", what, err)
	case a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast():
		p.add("%s %s is no address of one machine", what, text)
	case family != "" && familyOf(a) != family:
		p.add("%s %s is not of the family %s", what, text, family)
	}
}

func (p *problems) link(c Config, name string) {
	p.unless(c.index(name) >= 0, "no link %q", name)
}

func (p *problems) family(name string) bool {
	ok := name == IPv4 || name == IPv6
	p.unless(ok, "family %q must be %s or %s", name, IPv4, IPv6)
	return ok
}

func (c Config) validateAddress(i int) []error {
	a := c.Addresses[i]
	p := &problems{of: "address " + a.Address + " of " + a.Link}
	p.link(c, a.Link)
	v := p.prefix("address", a.Address, "", true)
	if v.IsValid() {
		p.unless(v.Bits() > 0 && !v.Addr().IsUnspecified() && !v.Addr().IsMulticast() && !v.Addr().IsLoopback(), "it is no address of one machine")
		if a.Peer != "" {
			p.prefix("peer", a.Peer, familyOf(v.Addr()), true)
		}
	}
	p.oneOf("scope", a.Scope, "global", "link", "host")
	p.within("metric", a.Metric, 0, maxNumber)
	p.unless(!slices.ContainsFunc(c.Addresses[:i], func(b Address) bool { return b.Link == a.Link && b.Address == a.Address && b.Peer == a.Peer }), "it is there twice")
	return p.errs
}

func (c Config) validateRoute(r Route) []error {
	p := &problems{of: "route " + r.String()}
	if !p.family(r.Family) {
		return p.errs
	}
	if r.Destination != Default {
		p.prefix("destination", r.Destination, r.Family, false)
	}
	if r.From != "" {
		p.unless(r.Family == IPv6, "only routes of IPv6 depend on where packets are from")
		p.prefix("from", r.From, r.Family, false)
	}
	if r.Source != "" {
		p.address("source", r.Source, r.Family)
	}
	p.oneOf("type", r.Type, "unicast", "blackhole", "unreachable", "prohibit", "throw")
	p.oneOf("scope", r.Scope, "global", "link", "host")
	p.unless(r.Family == IPv4 || r.Scope == "" || r.Scope == "global", "IPv6 knows no scope of a route")
	p.within("metric", r.Metric, 0, maxNumber)
	p.within("MTU", r.MTU, 0, 65536)
	p.within("table", r.Table, 0, maxNumber)
	p.unless(r.Table != tableLocal, "the table local is the kernel's own")
	c.validateWay(p, r)
	return p.errs
}

// validateWay is about where a route leads.
func (c Config) validateWay(p *problems, r Route) {
	one := Hop{Gateway: r.Gateway, Link: r.Link, OnLink: r.OnLink}
	switch {
	case r.Type != "" && r.Type != "unicast":
		p.unless(one == Hop{} && len(r.Hops) == 0, "a route of the type %s leads nowhere", r.Type)
	case len(r.Hops) > 0:
		p.unless(one == Hop{}, "a route with several ways has none of its own")
		for _, h := range r.Hops {
			c.validateHop(p, h, r.Family)
			p.unless(h.Gateway != "", "each of several ways must have a gateway")
			p.within("weight", h.Weight, 0, 256)
		}
	default:
		c.validateHop(p, one, r.Family)
	}
}

// validateHop: an IPv4 route may have an IPv6 gateway (RFC 5549), not the other
// way around.
func (c Config) validateHop(p *problems, h Hop, family string) {
	p.link(c, h.Link)
	p.unless(!h.OnLink || h.Gateway != "", "only a gateway can be on the link")
	if h.Gateway != "" {
		if family == IPv4 {
			family = ""
		}
		p.address("gateway", h.Gateway, family)
	}
}

// String is the route as people write it.
func (r Route) String() string {
	words := []string{r.Destination}
	add := func(word, value string) {
		if value != "" && value != "0" {
			words = append(words, word, value)
		}
	}
	add("via", r.Gateway)
	add("dev", r.Link)
	for _, h := range r.Hops {
		add("via", h.Gateway)
		add("dev", h.Link)
	}
	add("table", strconv.FormatInt(r.Table, 10))
	add("metric", strconv.FormatInt(r.Metric, 10))
	return strings.Join(words, " ")
}

func (c Config) validateRule(r Rule) []error {
	p := &problems{of: "rule " + strconv.FormatInt(r.Priority, 10)}
	if !p.family(r.Family) {
		return p.errs
	}
	p.within("priority", r.Priority, 0, maxNumber)
	if r.From != "" {
		p.prefix("from", r.From, r.Family, false)
	}
	if r.To != "" {
		p.prefix("to", r.To, r.Family, false)
	}
	for _, name := range []string{r.In, r.Out} {
		if name != "" && name != "lo" { // lo: packets of this machine
			p.link(c, name)
		}
	}
	if r.Mark != "" {
		_, _, ok := r.mark()
		p.unless(ok, "mark %q must be one from 0x1 on, with or without a mask: 0x1/0xff", r.Mark)
	}
	p.within("tos", r.TOS, 0, 255)
	p.oneOf("action", r.Action, "lookup", "blackhole", "unreachable", "prohibit")
	p.within("table", r.Table, 0, maxNumber)
	p.unless(r.Table == 0 || r.lookup(), "a rule with the action %s asks no table", r.Action)
	if r.Suppress != nil {
		p.within("suppress", *r.Suppress, 0, 128)
	}
	return p.errs
}

func (r Rule) lookup() bool { return r.Action == "" || r.Action == "lookup" }

// mark is what packets are marked with, and which bits of that count.
func (r Rule) mark() (mark, mask uint64, ok bool) {
	text, bits, masked := strings.Cut(r.Mark, "/")
	mark, err := strconv.ParseUint(text, 0, 32)
	mask = maxNumber
	if masked && err == nil {
		mask, err = strconv.ParseUint(bits, 0, 32)
	}
	// Zero means none to systemd-networkd.
	return mark, mask, err == nil && mark > 0 && mask > 0
}

func (c Config) validateDNS() []error {
	p := &problems{of: "DNS"}
	for _, s := range c.DNS.Servers {
		addr, zone, zoned := strings.Cut(s, "%")
		p.address("server", addr, "")
		if zoned {
			p.link(c, zone)
		}
	}
	for _, name := range c.DNS.Search {
		p.unless(domain.MatchString(name) && len(name) < 255, "search: %q is no domain", name)
	}
	return p.errs
}
