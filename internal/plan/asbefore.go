package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/netconf"
	"github.com/victorinix/vic/internal/request"
)

// asBefore is the network of the system before, in which cards are called what
// they were asked to be called. The names of cards that it needs to be called
// something go into t.nics.
func (t target) asBefore() (netconf.Config, error) {
	cfg := t.req.System.Network.Config
	if t.req.System.Network.Mode != request.NetworkAsBefore || cfg == nil {
		return netconf.Config{}, nil
	}
	wishes, cards := map[string]string{}, map[string]int{}
	for i, card := range t.facts.HW.NIC {
		name, ok := linkOf(*cfg, card)
		if !ok {
			continue
		}
		cards[name] = i
		if t.nics[i].Wished {
			wishes[name] = t.nics[i].Name
		}
	}
	out := cfg.Rename(wishes)
	if err := out.Validate(); err != nil {
		return out, fmt.Errorf("name network cards: %w", err)
	}
	needed := netconf.Named(out)
	for name, i := range cards {
		if again, ok := needed[name]; ok && !t.nics[i].Wished {
			t.nics[i].Name = again
		}
	}
	return out, nil
}

// linkOf finds what the document calls a card.
func linkOf(cfg netconf.Config, card envscan.NIC) (name string, ok bool) {
	i := slices.IndexFunc(cfg.Links, func(l netconf.Link) bool { return l.Kind == netconf.Physical && l.NIC != nil && isCard(*l.NIC, card) })
	if i < 0 {
		return "", false
	}
	return cfg.Links[i].Name, true
}

// isCard tells whether a card fits all that is known of it.
func isCard(n netconf.NIC, card envscan.NIC) bool {
	mac := card.HWAddrFrom == "permanent" && strings.EqualFold(n.MAC, card.HWAddr)
	if n == (netconf.NIC{MAC: n.MAC}) {
		return mac
	}
	return (n.MAC == "" || mac) && (n.Path == "" || n.Path == card.Path) && (n.Driver == "" || n.Driver == card.Driver) && n.Port == card.Port
}

// absentCards are those that the system before had in use, and that this one
// does not see: a warning each.
func (t target) absentCards() []string {
	var w []string
	for _, l := range t.before.Links {
		if l.Kind != netconf.Physical || slices.ContainsFunc(t.facts.HW.NIC, func(card envscan.NIC) bool { return isCard(*l.NIC, card) }) {
			continue
		}
		w = append(w, fmt.Sprintf("the network card that was %s in the system before (%s) is not there: it is configured, but may not be found", l.Name, strings.TrimSpace(l.NIC.MAC+" "+l.NIC.Path+" "+l.NIC.Driver)))
	}
	return w
}

// networkBefore are the files that make the network what it was. Cards that the
// system before did not use get none. What links has written stays.
func (t target) networkBefore() []named {
	written := map[string]bool{}
	for _, l := range t.links() {
		written[l.name] = true
	}
	var s []named
	for _, f := range netconf.Networkd(t.before) {
		if !written[f.Path] {
			s = append(s, named{f.Path, WriteFile{Path: f.Path, Mode: f.Mode, Content: f.Content}})
		}
	}
	return s
}
