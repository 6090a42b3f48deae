// Package handover decides whether a running system may be left for the RAM
// system, and what of its network goes along. It is pure: facts in, documents and
// reasons out.
//
//	envscan.Facts --MayEnter, InUse--> nil, or all that stands in the way
//	envscan.Facts --Network----------> netconf.Config and what stays behind
//
// What is handed over is what network cards are beneath of: cards, bonds, VLANs
// and bridges. Tunnels, the insides of containers and wireless networks need
// keys, programs or peers that end with the system before.
package handover

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/netconf"
)

// Network is the configuration of a running system for those after it, and
// warnings for people: what of it stays behind, and what follows from that.
//
// Left out without a word is what each system makes by itself: addresses of the
// link and of the loopback interface, temporary addresses, multicast, and routes
// that come with an address.
func Network(f envscan.Facts) (netconf.Config, []string) {
	o := view(f)
	w := &warnings{}
	for _, g := range f.Scan.Gaps {
		if strings.HasPrefix(g.Fact, "net.") {
			w.add("%s could not be read (%s): what it would say is not handed over", g.Fact, g.Why)
		}
	}
	lost := &left{o: o}
	var c netconf.Config
	c.Addresses = o.addresses(lost)
	c.Routes = o.routes(lost, w, c.Addresses)
	c.Links = o.handed(c, w)
	o.requests(&c)
	reach(&c)
	c.Rules = o.rules(c, w)
	c.DNS = o.dns(c, w)
	lost.warn(w)
	o.missing(c, w)
	return c, w.list
}

// warnings are sentences for people, in order, each once.
type warnings struct{ list []string }

func (w *warnings) add(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(w.list, s) {
		w.list = append(w.list, s)
	}
}

// left is what stays behind since it is on links that are not handed over, by
// the reason for that.
type left struct {
	o       old
	reasons []*behind
}

type behind struct {
	why    string
	links  []string
	addrs  []string
	routes int
	wayOut bool // a default route is among them
}

func (l *left) of(link string, why error) *behind {
	var b *behind
	for _, r := range l.reasons {
		if r.why == why.Error() {
			b = r
		}
	}
	if b == nil {
		b = &behind{why: why.Error()}
		l.reasons = append(l.reasons, b)
	}
	if !slices.Contains(b.links, link) {
		b.links = append(b.links, link)
	}
	return b
}

func (l *left) warn(w *warnings) {
	for _, b := range l.reasons {
		var what []string
		if len(b.addrs) > 0 {
			what = append(what, strings.Join(b.addrs, ", "))
		}
		if b.routes > 0 {
			what = append(what, counted(b.routes, "route"))
		}
		through := ""
		if b.wayOut {
			through = "; a default route is among them"
		}
		w.add("%s: %s: left behind are %s%s", strings.Join(b.links, ", "), b.why, strings.Join(what, " and "), through)
	}
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// missing warns of families that can only be reached from their own networks
// after the handover, and could be reached from everywhere before.
func (o old) missing(c netconf.Config, w *warnings) {
	for _, family := range []string{netconf.IPv4, netconf.IPv6} {
		had := slices.ContainsFunc(o.f.Net.Route, func(r envscan.Route) bool {
			return r.Family == family && r.Destination == netconf.Default && r.Type == "unicast"
		})
		has := slices.ContainsFunc(c.Routes, func(r netconf.Route) bool {
			return r.Family == family && r.Destination == netconf.Default && r.Type == ""
		})
		if had && !has {
			w.add("no default route of %s is handed over: the machine will be reached from its own networks only", family)
		}
	}
}

// dns: a server that runs on the machine itself ends with it.
func (o old) dns(c netconf.Config, w *warnings) netconf.DNS {
	var d netconf.DNS
	for _, s := range o.f.Net.DNS.Server {
		addr, err := netip.ParseAddr(s)
		linked := slices.ContainsFunc(c.Links, func(l netconf.Link) bool { return l.Name == addr.Zone() })
		switch {
		case err != nil || addr.IsLoopback():
		case addr.IsLinkLocalUnicast() && addr.Is6() && !linked:
			w.add("the DNS server %s is on a link that is not handed over", s)
		default:
			d.Servers = append(d.Servers, addr.Unmap().String())
		}
	}
	if len(d.Servers) == 0 {
		w.add("no DNS server is known")
	}
	for _, name := range o.f.Net.DNS.Search {
		one := netconf.Config{DNS: netconf.DNS{Search: []string{name}}}
		if one.Validate() != nil {
			w.add("%q is no domain to search names in", name)
			continue
		}
		d.Search = append(d.Search, name)
	}
	// The servers are taken to be from where the way out is from.
	asks := slices.ContainsFunc(c.Links, func(l netconf.Link) bool { return l.DHCP4 })
	d.Dynamic = asks && !slices.ContainsFunc(c.Routes, func(r netconf.Route) bool {
		return r.Family == netconf.IPv4 && r.Destination == netconf.Default && !r.Dynamic
	})
	return d
}
