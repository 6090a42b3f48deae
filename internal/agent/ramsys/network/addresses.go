package network

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/netconf"
)

// setAddresses sets those that are missing on the links that are up, and returns
// all that there are.
func (t *takeover) setAddresses(list []seen) map[owned][]int {
	have, err := addresses()
	t.try("list addresses", err)
	if err != nil {
		return nil // and the next pass asks again
	}
	byIndex := indexed(list)
	for _, a := range t.conf.Addresses {
		s, ok := byIndex[t.index[a.Link]]
		if !ok || !s.up {
			continue
		}
		t.n.hand(a, s.index)
		if isSet(a, s.index, have) {
			continue
		}
		p, err := addressParts(a, s.index)
		if err == nil {
			err = send(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, p)
		}
		t.try(fmt.Sprintf("set address %s of link %s", a.Address, a.Link), err)
		if prefix, parseErr := netip.ParsePrefix(a.Address); err == nil && parseErr == nil {
			key := owned{s.index, prefix.Addr()}
			have[key] = append(have[key], bitsOf(a))
		}
	}
	return have
}

// isSet: the address is there.
func isSet(a netconf.Address, index int, have map[owned][]int) bool {
	p, err := netip.ParsePrefix(a.Address)
	return err == nil && slices.Contains(have[owned{index, p.Addr()}], bitsOf(a))
}

// bitsOf the network of an address, which is that of the peer if there is one.
func bitsOf(a netconf.Address) int {
	text := a.Address
	if a.Peer != "" {
		text = a.Peer
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return -1
	}
	return p.Bits()
}

func addressesOf(c netconf.Config, link string) []netconf.Address {
	var list []netconf.Address
	for _, a := range c.Addresses {
		if a.Link == link {
			list = append(list, a)
		}
	}
	return list
}

// hasGlobal6: an interface has an IPv6 address that is good beyond the link.
func hasGlobal6(index int, have map[owned][]int) bool {
	for o := range have {
		if o.index == index && o.addr.Is6() && o.addr.IsGlobalUnicast() {
			return true
		}
	}
	return false
}

// setRoutes sets all routes, which changes nothing where they are.
func (t *takeover) setRoutes(list []seen) {
	byIndex := indexed(list)
	up := func(name string) bool { return byIndex[t.index[name]].up }
	for _, r := range ordered(t.conf.Routes) {
		if slices.ContainsFunc(linksOf(r), func(name string) bool { return !up(name) }) {
			continue
		}
		r = beside(r, t.ra)
		err := t.route(r, false)
		if unreachable(err) {
			// The route to the gateway may have been one that nobody wrote down.
			err = t.route(r, true)
		}
		t.try("set "+routeText(r), err)
	}
}

func (t *takeover) route(r netconf.Route, onLink bool) error {
	p, err := routeParts(r, func(name string) int { return t.index[name] }, onLink)
	if err != nil {
		return err
	}
	err = send(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, p)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}

// unreachable: the kernel does not know how to reach the gateway.
func unreachable(err error) bool {
	return errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH)
}

func (t *takeover) setRules() {
	for _, r := range t.conf.Rules {
		if !t.there(r.In) || !t.there(r.Out) {
			continue
		}
		p, err := ruleParts(r, t.nameOf)
		if err == nil {
			err = send(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, p)
		}
		if errors.Is(err, unix.EEXIST) {
			err = nil
		}
		t.try("set "+ruleText(r), err)
	}
}

// there: the link is there; one that is none of the handover (lo) is.
func (t *takeover) there(link string) bool {
	_, ok := t.index[link]
	return ok || !slices.ContainsFunc(t.conf.Links, func(l netconf.Link) bool { return l.Name == link })
}

// nameOf is how the interface of a link is called now.
func (t *takeover) nameOf(link string) string {
	if index, ok := t.index[link]; ok {
		if l, err := netlink.LinkByIndex(index); err == nil {
			return l.Attrs().Name
		}
	}
	return link
}

// routeText is a route for people: "ipv4 route to default via 192.0.2.1 by eth0".
func routeText(r netconf.Route) string {
	text := r.Family + " route to " + r.Destination
	if r.From != "" {
		text += " from " + r.From
	}
	if r.Gateway != "" {
		text += " via " + r.Gateway
	}
	if links := linksOf(r); len(links) > 0 {
		text += " by " + strings.Join(links, ", ")
	}
	if r.Metric != 0 {
		text += fmt.Sprintf(" with metric %d", r.Metric)
	}
	if r.Table != 0 {
		text += fmt.Sprintf(" in table %d", r.Table)
	}
	return text
}

// ruleText is a rule for people: "ipv4 rule 1000 from 192.0.2.1/32".
func ruleText(r netconf.Rule) string {
	text := fmt.Sprintf("%s rule %d", r.Family, r.Priority)
	for _, part := range [][2]string{{"from", r.From}, {"to", r.To}, {"in by", r.In}, {"out by", r.Out}, {"with mark", r.Mark}} {
		if part[1] != "" {
			text += " " + part[0] + " " + part[1]
		}
	}
	return text
}
