package netconf

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// section is the link in whose file a route is: the first of its ways, network
// cards before others since those need no name then.
func (c Config) section(r Route) string {
	switch {
	case r.Link != "":
		return r.Link
	case len(r.Hops) == 0:
		return c.primary()
	}
	for _, h := range r.Hops {
		if c.Links[c.index(h.Link)].Kind == Physical {
			return h.Link
		}
	}
	return r.Hops[0].Link
}

// primary is the link of the best default route, or else the first one that
// gets addresses.
func (c Config) primary() string {
	var defaults []Route
	for _, r := range c.Routes {
		if r.Destination == Default && (r.Type == "" || r.Type == "unicast") && (r.Table == 0 || r.Table == tableMain) && len(r.Hops)+len(r.Link) > 0 {
			defaults = append(defaults, r)
		}
	}
	if len(defaults) > 0 {
		best := slices.MinFunc(defaults, func(a, b Route) int {
			return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Metric, b.Metric))
		})
		return c.section(best)
	}
	if i := slices.IndexFunc(c.Links, c.online); i >= 0 {
		return c.Links[i].Name
	}
	if len(c.Links) > 0 {
		return c.Links[len(c.Links)-1].Name
	}
	return ""
}

// writeRoute writes what of a route belongs to a link: the route itself, and the
// way to gateways that no address says are there. In [Route] only a single
// gateway can be declared to be on the link.
func (c Config) writeRoute(u *unit, l Link, r Route) {
	for _, h := range r.Hops {
		if h.Link == l.Name && h.OnLink {
			gw := netip.MustParseAddr(h.Gateway)
			u.section("Route", "Destination", netip.PrefixFrom(gw, gw.BitLen()).String(), "Table", table(r.Table))
		}
	}
	if c.section(r) != l.Name {
		return
	}
	// Without an address in the file, gateways are taken to be on the link unless
	// it is said that they are not.
	onLink := yes(r.OnLink)
	static := slices.ContainsFunc(c.Addresses, func(a Address) bool { return a.Link == l.Name && !a.Dynamic })
	if r.Gateway != "" && !r.OnLink && !static {
		onLink = "no"
	}
	r.write(u, l.Name, onLink)
}

func table(n int64) string {
	if n == tableMain {
		return ""
	}
	return number(n)
}

func (r Route) write(u *unit, link, onLink string) {
	dst, scope, kind := r.Destination, r.Scope, r.Type
	if dst == Default {
		dst = map[string]string{IPv4: "0.0.0.0/0", IPv6: "::/0"}[r.Family]
	}
	if kind == "unicast" {
		kind = ""
	}
	// What is not said to be further away is taken to be on the link.
	if r.Family == IPv4 && kind == "" && r.Gateway == "" && len(r.Hops) == 0 {
		scope = cmp.Or(scope, "global")
	} else if scope == "global" {
		scope = ""
	}
	u.section("Route", "Destination", dst, "Source", r.From, "Gateway", r.Gateway, "GatewayOnLink", onLink)
	for _, h := range r.Hops {
		way := h.Gateway
		if h.Link != link {
			way += "@" + h.Link
		}
		if h.Weight > 1 {
			way += " " + number(h.Weight)
		}
		u.set("MultiPathRoute", way)
	}
	u.set("PreferredSource", r.Source, "Scope", scope, "Metric", number(r.Metric), "MTUBytes", number(r.MTU), "Table", table(r.Table), "Type", kind)
}

// ruleLink is the link in whose file a rule is: one that it names, or has
// addresses that it is about, or routes of its table.
func (c Config) ruleLink(r Rule) string {
	for _, name := range []string{r.In, r.Out} {
		if c.index(name) >= 0 {
			return name
		}
	}
	if from, err := netip.ParsePrefix(r.From); err == nil {
		for _, a := range c.Addresses {
			if p, err := netip.ParsePrefix(a.Address); err == nil && from.Contains(p.Addr()) {
				return a.Link
			}
		}
	}
	for _, route := range c.Routes {
		if r.lookup() && r.Table != 0 && r.Table != tableMain && route.Table == r.Table && route.Family == r.Family {
			return c.section(route)
		}
	}
	return c.primary()
}

func (r Rule) write(u *unit) {
	u.section("RoutingPolicyRule", "Priority", strconv.FormatInt(r.Priority, 10), "Family", r.Family, "InvertRule", yes(r.Not),
		"From", r.From, "To", r.To, "IncomingInterface", r.In, "OutgoingInterface", r.Out, "TypeOfService", number(r.TOS))
	if mark, mask, ok := r.mark(); ok && mask != maxNumber {
		u.set("FirewallMark", fmt.Sprintf("%d/%d", mark, mask))
	} else if ok {
		u.set("FirewallMark", strconv.FormatUint(mark, 10))
	}
	if r.Suppress != nil {
		u.set("SuppressPrefixLength", strconv.FormatInt(*r.Suppress, 10))
	}
	if r.lookup() {
		u.set("Table", strconv.FormatInt(cmp.Or(r.Table, tableMain), 10))
	} else {
		u.set("Type", r.Action)
	}
}

// kernelName is what the kernel numbers by itself: a card that is to have such a
// name may find it taken.
var kernelName = lazyregexp.New(`^(eth|usb|wlan|wwan|ib)([0-9]+)$`)

// Named are the names, by those in the document, that network cards must have in
// the installed system, since a rule or a route with several ways calls them by
// name. Names that the kernel gives by itself are replaced by others.
func Named(c Config) map[string]string {
	names := map[string]string{}
	need := func(name string) {
		if i := c.index(name); i >= 0 && c.Links[i].Kind == Physical && names[name] == "" {
			names[name] = c.stable(name)
		}
	}
	for _, r := range c.Rules {
		need(r.In)
		need(r.Out)
	}
	for _, r := range c.Routes {
		if r.Dynamic {
			continue
		}
		for _, h := range r.Hops {
			if h.Link != c.section(r) {
				need(h.Link)
			}
		}
	}
	return names
}

func (c Config) stable(name string) string {
	m := kernelName.FindStringSubmatch(name)
	if m == nil {
		return name
	}
	n := "lan" + m[2]
	for c.index(n) >= 0 {
		n += "a"
	}
	return n
}

// Rename returns the document with other names for links: of those in names, by
// the old ones.
func (c Config) Rename(names map[string]string) Config {
	rename := func(s *string) {
		if n, ok := names[*s]; ok {
			*s = n
		}
	}
	c.Links, c.Addresses, c.Routes, c.Rules = slices.Clone(c.Links), slices.Clone(c.Addresses), slices.Clone(c.Routes), slices.Clone(c.Rules)
	for i := range c.Links {
		c.Links[i].rename(rename)
	}
	for i := range c.Addresses {
		rename(&c.Addresses[i].Link)
	}
	for i := range c.Routes {
		c.Routes[i].Hops = slices.Clone(c.Routes[i].Hops)
		rename(&c.Routes[i].Link)
		for k := range c.Routes[i].Hops {
			rename(&c.Routes[i].Hops[k].Link)
		}
	}
	for i := range c.Rules {
		rename(&c.Rules[i].In)
		rename(&c.Rules[i].Out)
	}
	c.DNS.Servers = slices.Clone(c.DNS.Servers)
	for i, s := range c.DNS.Servers {
		if addr, zone, ok := strings.Cut(s, "%"); ok {
			rename(&zone)
			c.DNS.Servers[i] = addr + "%" + zone
		}
	}
	return c
}

func (l *Link) rename(rename func(*string)) {
	rename(&l.Name)
	rename(&l.Master)
	rename(&l.Lower)
	if l.Bond != nil {
		b := *l.Bond
		rename(&b.Primary)
		l.Bond = &b
	}
}
