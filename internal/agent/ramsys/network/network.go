// Package network brings a machine onto the network: every physical interface
// up, DHCPv4 on each one that has a carrier, all at once. IPv6 addresses and
// routes come from the kernel, which answers router advertisements by itself
// on every link that is up; name servers only come by DHCPv4.
//
//	link appears ─> up ─> carrier ─> DHCP ─> addresses, routes, resolv.conf ─> renewal
//	                        ^                                                    │
//	                        └───────────────── carrier lost ─────────────────────┘
//
// It knows no wireless networks, VLANs or static addresses.
package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Config is what a Network works with.
type Config struct {
	Sys        string // "/sys"
	ResolvConf string // the file to keep
	// Report gets every change: a lease, or what went wrong on an interface.
	Report func(iface string, lease *Lease, err error)
}

// Network keeps the interfaces configured until its context ends.
type Network struct {
	cfg Config

	mu     sync.Mutex
	leases map[string]Lease
	first  chan struct{} // closed with the first lease
}

// Start starts to configure interfaces, those that exist and those to come.
func Start(ctx context.Context, cfg Config) (*Network, error) {
	updates := make(chan netlink.LinkUpdate, 16)
	n := &Network{cfg: cfg, leases: map[string]Lease{}, first: make(chan struct{})}
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

// Wait returns when there is a lease.
func (n *Network) Wait(ctx context.Context) error {
	select {
	case <-n.first:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for a DHCP lease: %w", context.Cause(ctx))
	}
}

// watch owns the interfaces: which are up, and which have a DHCP client.
func (n *Network) watch(ctx context.Context, updates <-chan netlink.LinkUpdate) {
	up := map[int]bool{}
	clients := map[int]context.CancelFunc{}
	for u := range updates {
		link := u.Attrs()
		gone := u.Header.Type == unix.RTM_DELLINK
		if !gone && !up[link.Index] && n.wanted(link) {
			up[link.Index] = true
			n.setUp(u.Link)
		}
		stop, running := clients[link.Index]
		carrier := !gone && up[link.Index] && link.RawFlags&unix.IFF_LOWER_UP != 0
		switch {
		case carrier && !running && link.RawFlags&unix.IFF_LOOPBACK == 0:
			clientCtx, cancel := context.WithCancel(ctx)
			clients[link.Index] = cancel
			go n.keepLease(clientCtx, u.Link)
		case !carrier && running:
			stop()
			delete(clients, link.Index)
		}
		if gone {
			delete(up, link.Index)
		}
	}
	for _, stop := range clients {
		stop()
	}
}

// wanted says which links are brought up: the loopback, and Ethernet on a
// device, which excludes bridges, bonds, tunnels.
func (n *Network) wanted(link *netlink.LinkAttrs) bool {
	if link.RawFlags&unix.IFF_LOOPBACK != 0 {
		return true
	}
	_, err := os.Stat(filepath.Join(n.cfg.Sys, "class/net", link.Name, "device"))
	return err == nil && link.EncapType == "ether"
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
		errs = append(errs, withdraw(old))
	}
	errs = append(errs, apply(l))
	n.leases[l.Interface] = l
	errs = append(errs, n.writeResolvConf())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	select {
	case <-n.first:
	default:
		close(n.first)
	}
	return nil
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
	return errors.Join(withdraw(l), n.writeResolvConf())
}

// writeResolvConf replaces the file at once, so that nobody reads half of it.
func (n *Network) writeResolvConf() error {
	tmp := n.cfg.ResolvConf + ".new"
	if err := os.WriteFile(tmp, []byte(resolvConf(n.sorted())), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, n.cfg.ResolvConf)
}
