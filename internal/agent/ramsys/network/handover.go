package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/victorinix/vic/internal/netconf"
)

// A takeover gives the machine the network of the system before. It is one
// loop: whenever anything changes, and while something is missing every now and
// then, it looks at what there is and does what is missing, from the cards up to
// the rules. So the order in which drivers find cards does not matter, and what
// goes away for a while (a card, a carrier, an address that a router's
// advertisement made expire) is set again when it can be.
//
// What is there beside the handover stays as it is.
type takeover struct {
	n        *Network
	conf     netconf.Config
	ra       map[string]bool // links that listen to routers
	served   map[string]bool
	started  time.Time
	patience time.Duration

	index    map[string]int // of the links that are there
	first    map[int]sight  // of each interface
	complete map[string]bool
	problems map[string]*problem
	clients  map[int]client // DHCP, by index of the interface
	fallback bool
	prepared bool
}

// problem is something that did not work, the last time that it was tried.
type problem struct {
	text   string
	since  time.Time
	told   bool
	passed bool // it was tried again in this pass
}

// grace is how long something may not work before it is told: a route waits for
// the address of another card.
const grace = 2 * time.Second

func newTakeover(n *Network, conf netconf.Config) *takeover {
	t := &takeover{
		n: n, conf: conf, ra: map[string]bool{}, served: served(conf), started: time.Now(),
		patience: patience(conf, n.cfg.patience),
		index:    map[string]int{}, first: map[int]sight{}, complete: map[string]bool{},
		problems: map[string]*problem{}, clients: map[int]client{},
	}
	for _, l := range conf.Links {
		t.ra[l.Name] = l.RA
	}
	return t
}

// run works until ctx ends.
func (t *takeover) run(ctx context.Context, changed <-chan struct{}) {
	delay, inRow := soonest, 0
	for ctx.Err() == nil {
		t.pass(ctx)
		select {
		case <-changed:
			delay = soonest
			pause(ctx, settle) // one change seldom comes alone
			if inRow++; inRow > often {
				pause(ctx, calm) // a card that plays dead, or a driver that forgets what it was told
			}
			select {
			case <-changed:
			default:
			}
		case <-time.After(delay):
			delay, inRow = min(2*delay, longest), 0
		case <-ctx.Done():
		}
	}
	for _, c := range t.clients {
		c.end()
	}
}

const (
	settle  = 5 * time.Millisecond
	often   = 20 // changes in a row
	calm    = 200 * time.Millisecond
	soonest = 250 * time.Millisecond
	longest = 5 * time.Second
)

// prepare does what comes before all interfaces.
func (t *takeover) prepare() {
	// When the first of several addresses in a network goes, the kernel would
	// remove the others too.
	errs := []error{sysctl("ipv4/conf/all/promote_secondaries", "1")}
	if _, err := os.Stat(proc + "ipv6"); errors.Is(err, os.ErrNotExist) && needs6(t.conf) {
		errs = append(errs, t.n.cfg.Need("ipv6"))
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	err = errors.Join(append(errs, err)...)
	t.prepared = err == nil
	t.try("prepare", err)
}

const proc = "/proc/sys/net/"

func sysctl(name, value string) error {
	return os.WriteFile(filepath.Join(proc, name), []byte(value), 0o644)
}

// pass looks at what there is and does what is missing.
func (t *takeover) pass(ctx context.Context) {
	for _, p := range t.problems {
		p.passed = false
	}
	if !t.prepared {
		t.prepare()
	}
	list, err := t.setLinks()
	t.try("list interfaces", err)
	if err == nil {
		t.setVLANs(list)
		have := t.setAddresses(list)
		t.setRoutes(list)
		t.setRules()
		t.judge(list, have)
		t.serve(ctx, list)
	}
	for what, p := range t.problems {
		if !p.passed {
			delete(t.problems, what)
		}
	}
}

// setLinks does what is missing of the links until nothing more can be done: a
// port, which comes first, waits for its bond. It lists what there is then.
func (t *takeover) setLinks() ([]seen, error) {
	const deep = 10 // links on links
	list, err := t.look()
	for range deep {
		changed := false
		for _, l := range t.conf.Links {
			if err != nil {
				return nil, err
			}
			if t.link(l, list) {
				changed = true
				list, err = t.look()
			}
		}
		if !changed {
			break
		}
	}
	return list, err
}

// try keeps what did not work, and tells it when that does not change.
func (t *takeover) try(what string, err error) {
	if err == nil {
		delete(t.problems, what)
		return
	}
	p := t.problems[what]
	if p == nil || p.text != err.Error() {
		p = &problem{text: err.Error(), since: time.Now()}
		t.problems[what] = p
	}
	p.passed = true
	if !p.told && time.Since(p.since) >= grace {
		p.told = true
		t.n.cfg.Report("", nil, fmt.Errorf("%s: %w", what, err))
	}
}

// look lists the interfaces, and says which are which links of the handover.
func (t *takeover) look() ([]seen, error) {
	list, err := t.n.look(t.first)
	if err != nil {
		return nil, err
	}
	byIndex := indexed(list)
	for index := range t.first {
		if _, ok := byIndex[index]; !ok {
			delete(t.first, index)
		}
	}
	for name, index := range t.index {
		if _, ok := byIndex[index]; !ok {
			delete(t.index, name)
			delete(t.complete, name)
		}
	}
	t.index = match(t.conf.Links, list, t.index)
	return list, nil
}

func indexed(list []seen) map[int]seen {
	m := map[int]seen{}
	for _, s := range list {
		m[s.index] = s
	}
	return m
}

func named(list []seen) map[string]seen {
	m := map[string]seen{}
	for _, s := range list {
		m[s.name] = s
	}
	return m
}

// judge says which links are as they were, and whether the machine is online.
func (t *takeover) judge(list []seen, have map[owned][]int) {
	byIndex := indexed(list)
	for _, l := range t.conf.Links {
		s := byIndex[t.index[l.Name]]
		mine := addressesOf(t.conf, l.Name)
		missing := func(a netconf.Address) bool { return !isSet(a, s.index, have) }
		done := s.carrier && len(mine) > 0 && !slices.ContainsFunc(mine, missing)
		if done && !t.complete[l.Name] {
			for _, a := range mine {
				lease := t.lease(a, s)
				t.n.cfg.Report(s.name, &lease, nil)
			}
		}
		t.complete[l.Name] = done
		if t.served[l.Name] && (done || s.carrier && l.RA && len(mine) == 0 && hasGlobal6(s.index, have)) {
			t.n.online()
		}
	}
}

// lease is an address of the handover as a lease, for Report.
func (t *takeover) lease(a netconf.Address, s seen) Lease {
	l := Lease{Interface: s.name, Index: s.index, Before: true}
	l.Address, _ = netip.ParsePrefix(a.Address) // isSet read it before
	for _, r := range t.conf.Routes {
		via, err := netip.ParseAddr(r.Gateway)
		if err == nil && r.Link == a.Link && r.Destination == "default" && via.Is4() == l.Address.Addr().Is4() {
			l.Routes = append(l.Routes, Route{netip.PrefixFrom(unspecified(via), 0), via})
		}
	}
	return l
}

func unspecified(like netip.Addr) netip.Addr {
	if like.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// serve runs the DHCP clients that there should be, and, when none of the links
// of the handover gets a carrier, tries all cards.
func (t *takeover) serve(ctx context.Context, list []seen) {
	reached := slices.ContainsFunc(list, func(s seen) bool {
		return s.carrier && slices.ContainsFunc(t.conf.Links, func(l netconf.Link) bool {
			return t.served[l.Name] && t.index[l.Name] == s.index
		})
	})
	if reached {
		t.patience = never
	}
	if !t.fallback && time.Since(t.started) >= t.patience {
		t.fallback = true
		t.n.cfg.Report("", nil, fmt.Errorf("no link of the system before has a carrier after %v: trying DHCP on all network cards",
			time.Since(t.started).Round(time.Second)))
	}
	want := map[int]bool{}
	for _, s := range list {
		if t.fallback && s.card && s.master == 0 {
			if !s.up {
				t.try("set up "+s.name, t.do(netconf.Link{Name: s.name, RA: true}, s.index, step{do: setUp}))
			}
			want[s.index] = s.carrier
		}
		for _, l := range t.conf.Links {
			if l.DHCP4 && t.index[l.Name] == s.index {
				want[s.index] = s.carrier
			}
		}
	}
	t.runClients(ctx, want)
}

const never = 1 << 62

// runClients starts and stops DHCP clients.
func (t *takeover) runClients(ctx context.Context, want map[int]bool) {
	for index, c := range t.clients {
		if !want[index] {
			c.end()
			delete(t.clients, index)
		}
	}
	for index, wanted := range want {
		if _, ok := t.clients[index]; ok || !wanted {
			continue
		}
		link, err := netlink.LinkByIndex(index)
		if err != nil {
			continue // it went; that is a change, and the next pass knows
		}
		t.clients[index] = t.n.startClient(ctx, link, t.requested(index))
	}
}

// requested is the address to ask a DHCP server for: the one of before.
func (t *takeover) requested(index int) netip.Addr {
	var found netip.Addr
	for _, a := range t.conf.Addresses {
		p, err := netip.ParsePrefix(a.Address)
		if err == nil && p.Addr().Is4() && t.index[a.Link] == index && (a.Dynamic || !found.IsValid()) {
			found = p.Addr()
		}
	}
	return found
}
