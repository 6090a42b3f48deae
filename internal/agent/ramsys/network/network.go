// Package network brings a machine onto the network: every physical interface
// up, DHCPv4 on each one that has a carrier, all at once. IPv6 addresses and
// routes come from the kernel, which answers router advertisements by itself
// on every link that is up; name servers only come by DHCPv4.
//
//	link appears ─> up ─> carrier ─> DHCP ─> addresses, routes, resolv.conf ─> renewal
//	                        ^                                                    │
//	                        └───────────────── carrier lost ─────────────────────┘
//
// After a kexec the system before hands over its network, and the machine keeps
// it (handover.go): cards by their identity, bonds, VLANs, bridges, all addresses
// also of DHCP and routers, routes, rules. DHCP goes on beside, and never takes
// away what was handed over. DHCPv6 does not: its addresses stay as they were.
//
// It knows no wireless networks.
package network

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/netconf"
)

// Config is what a Network works with.
type Config struct {
	Sys        string // "/sys"
	ResolvConf string // the file to keep
	// Report gets every change: a lease, an address of the handover that is set
	// (Lease.Before), or what went wrong on an interface.
	Report func(iface string, lease *Lease, err error)
	// Handover is the network of the system before, to be taken over. nil: every
	// physical interface comes up and asks for an address.
	Handover *netconf.Config
	// Card says which interfaces are brought up and ask for an address. nil: those
	// that are Ethernet hardware.
	Card func(*netlink.LinkAttrs) bool
	// Need loads a kernel module (bonding, 8021q, bridge, ipv6); one that is built
	// in is no error. nil: all are there.
	Need func(module string) error

	card     func(*netlink.LinkAttrs) bool // whether an interface is a card; tests have none
	patience time.Duration                 // see patience
}

// Network keeps the interfaces configured until its context ends.
type Network struct {
	cfg Config

	mu     sync.Mutex
	leases map[string]Lease
	handed map[owned]bool // addresses of the handover
	first  chan struct{}  // closed when the machine is online
}

// Start starts to configure interfaces, those that exist and those to come.
func Start(ctx context.Context, cfg Config) (*Network, error) {
	if cfg.card == nil {
		cfg.card = cfg.Card
	}
	if cfg.card == nil {
		cfg.card = isCard(cfg.Sys)
	}
	if cfg.patience == 0 {
		cfg.patience = carrierPatience
	}
	if cfg.Need == nil {
		cfg.Need = func(string) error { return nil }
	}
	n := &Network{cfg: cfg, leases: map[string]Lease{}, handed: map[owned]bool{}, first: make(chan struct{})}
	if cfg.Handover != nil {
		return n, n.takeOver(ctx)
	}
	updates := make(chan netlink.LinkUpdate, 16)
	err := netlink.LinkSubscribeWithOptions(updates, ctx.Done(), netlink.LinkSubscribeOptions{
		ListExisting: true,
		ErrorCallback: func(err error) {
			if ctx.Err() == nil {
				cfg.Report("", nil, fmt.Errorf("watch network interfaces: %w", err))
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("watch network interfaces: %w", err)
	}
	go n.watch(ctx, updates)
	return n, nil
}

// carrierPatience is how long the links of a handover may take to have a
// carrier, before DHCP is tried on all cards.
const carrierPatience = 30 * time.Second

// Leases returns the leases that there are, by index of their interface.
func (n *Network) Leases() []Lease {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sorted()
}

func (n *Network) sorted() []Lease {
	var all []Lease
	for _, l := range n.leases {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b Lease) int { return a.Index - b.Index })
	return all
}

// Wait returns when the machine is online: there is a lease, or the addresses of
// the handover are set on a link with a carrier.
func (n *Network) Wait(ctx context.Context) error {
	select {
	case <-n.first:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the network: %w", context.Cause(ctx))
	}
}

// watch owns the interfaces: which are up, and which have a DHCP client.
func (n *Network) watch(ctx context.Context, updates <-chan netlink.LinkUpdate) {
	up := map[int]bool{}
	clients, losses := map[int]client{}, map[int]string{}
	for u := range updates {
		link := u.Attrs()
		gone := u.Header.Type == unix.RTM_DELLINK
		if !gone && !up[link.Index] && n.wanted(link) {
			up[link.Index] = true
			n.setUp(u.Link)
		}
		c, running := clients[link.Index]
		carrier := !gone && up[link.Index] && link.RawFlags&unix.IFF_LOWER_UP != 0
		switch {
		case carrier && !running && link.RawFlags&unix.IFF_LOOPBACK == 0:
			clients[link.Index] = n.startClient(ctx, u.Link, netip.Addr{})
			losses[link.Index] = n.losses(link)
		case carrier && running && losses[link.Index] != n.losses(link):
			had := n.address(link.Name)
			c.end()
			clients[link.Index] = n.startClient(ctx, u.Link, had)
			losses[link.Index] = n.losses(link)
		case !carrier && running:
			c.end()
			delete(clients, link.Index)
		}
		if gone {
			delete(up, link.Index)
		}
	}
	for _, c := range clients {
		c.end()
	}
}

// losses says how often a link has lost its carrier. The kernel tells of a loss and
// a return within a second as of one change, with the carrier back
// (net/core/link_watch.c): it may be another network all the same.
func (n *Network) losses(link *netlink.LinkAttrs) string {
	// A kernel before 4.16 does not count them.
	count, _ := os.ReadFile(filepath.Join(n.cfg.Sys, "class/net", link.Name, "carrier_down_count"))
	return string(count)
}

// address is the one that an interface has a lease of, or none.
func (n *Network) address(name string) netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.leases[name].Address.Addr()
}

// wanted says which links are brought up: the loopback, and cards.
func (n *Network) wanted(link *netlink.LinkAttrs) bool {
	return link.RawFlags&unix.IFF_LOOPBACK != 0 || n.cfg.card(link)
}

func (n *Network) setUp(link netlink.Link) {
	if err := netlink.LinkSetUp(link); err != nil {
		n.cfg.Report(link.Attrs().Name, nil, fmt.Errorf("set up %s: %w", link.Attrs().Name, err))
	}
}

// publish makes a lease effective and known.
func (n *Network) publish(l Lease) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	old, had := n.leases[l.Interface]
	var errs []error
	if had && old.Address != l.Address {
		errs = append(errs, n.withdraw(old))
	}
	errs = append(errs, n.apply(l))
	n.leases[l.Interface] = l
	errs = append(errs, n.writeResolvConf())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	n.onlineLocked()
	return nil
}

// online: the machine can be reached.
func (n *Network) online() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.onlineLocked()
}

func (n *Network) onlineLocked() {
	select {
	case <-n.first:
	default:
		close(n.first)
	}
}

// drop takes back the lease of an interface.
func (n *Network) drop(iface string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	l, had := n.leases[iface]
	if !had {
		return nil
	}
	delete(n.leases, iface)
	return errors.Join(n.withdraw(l), n.writeResolvConf())
}

// writeResolvConf replaces the file at once, so that nobody reads half of it.
func (n *Network) writeResolvConf() error {
	tmp := n.cfg.ResolvConf + ".new"
	if err := os.WriteFile(tmp, []byte(resolvConf(append(n.given(), n.sorted()...))), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, n.cfg.ResolvConf)
}

// given are the name servers of the handover, as a lease.
func (n *Network) given() []Lease {
	if n.cfg.Handover == nil {
		return nil
	}
	return []Lease{handedDNS(n.cfg.Handover.DNS)}
}

// hand notes that an address of the handover is on an interface: no lease takes
// it away.
func (n *Network) hand(a netconf.Address, index int) {
	if p, err := netip.ParsePrefix(a.Address); err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.handed[owned{index, p.Addr()}] = true
	}
}

// handedOn: an interface has addresses of the handover.
func (n *Network) handedOn(index int) bool {
	for o := range n.handed {
		if o.index == index {
			return true
		}
	}
	return false
}
