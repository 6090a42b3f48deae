package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The first DISCOVER is often lost: the switch's port still learns. So the
// first repetition comes soon, and the next ones later and later (the client
// doubles the time), before the error is reported and it all starts again.
const (
	firstTimeout = time.Second
	attempts     = 4
)

// keepLease gets and renews the lease of one interface until ctx ends, which
// is when the carrier is lost.
func (n *Network) keepLease(ctx context.Context, link netlink.Link) {
	name := link.Attrs().Name
	report := func(l *Lease, err error) {
		if ctx.Err() == nil {
			n.cfg.Report(name, l, err)
		}
	}
	for ctx.Err() == nil {
		if err := n.oneLease(ctx, link, report); err != nil {
			report(nil, err)
		}
		if err := n.drop(name); err != nil {
			report(nil, err)
		}
		pause(ctx, firstTimeout)
	}
}

// oneLease gets a lease and returns when it is lost.
func (n *Network) oneLease(ctx context.Context, link netlink.Link, report func(*Lease, error)) error {
	attrs := link.Attrs()
	client, err := nclient4.New(attrs.Name, nclient4.WithTimeout(firstTimeout), nclient4.WithRetry(attempts),
		nclient4.WithHWAddr(attrs.HardwareAddr))
	if err != nil {
		return fmt.Errorf("DHCP on %s: %w", attrs.Name, err)
	}
	defer client.Close()
	given, err := client.Request(ctx, options)
	if err != nil {
		return fmt.Errorf("DHCP on %s: no lease: %w", attrs.Name, err)
	}
	for renewed := false; ; renewed = true {
		lease, err := leaseOf(given.ACK, attrs.Name, attrs.Index)
		if err != nil {
			return err
		}
		if err := n.publish(lease); err != nil {
			return err
		}
		if !renewed {
			report(&lease, nil)
		}
		if given, err = renew(ctx, client, given, lease.Duration); err != nil {
			return fmt.Errorf("DHCP on %s: lease not renewed: %w", attrs.Name, err)
		}
	}
}

// renew waits for half of the lease's time and asks again until it expires.
func renew(ctx context.Context, c *nclient4.Client, l *nclient4.Lease, lasts time.Duration) (*nclient4.Lease, error) {
	expires := time.Now().Add(lasts)
	pause(ctx, lasts/2)
	for {
		next, err := c.Renew(ctx, l, options)
		if err == nil || ctx.Err() != nil || time.Now().After(expires) {
			return next, err
		}
		pause(ctx, lasts/8)
	}
}

// options asks for what leaseOf reads.
func options(d *dhcpv4.DHCPv4) {
	d.UpdateOption(dhcpv4.OptParameterRequestList(
		dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer,
		dhcpv4.OptionDomainName, dhcpv4.OptionDNSDomainSearchList,
		dhcpv4.OptionInterfaceMTU, dhcpv4.OptionClasslessStaticRoute))
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// apply sets what a lease says on its interface. Every interface has its own
// route metric: of several default routes the first interface's is used.
func apply(l Lease) error {
	link, err := netlink.LinkByIndex(l.Index)
	if err != nil {
		return fmt.Errorf("find %s: %w", l.Interface, err)
	}
	if l.MTU != 0 && l.MTU != link.Attrs().MTU {
		if err := netlink.LinkSetMTU(link, l.MTU); err != nil {
			return fmt.Errorf("set MTU %d on %s: %w", l.MTU, l.Interface, err)
		}
	}
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(l.Address)}); err != nil {
		return fmt.Errorf("set address %s on %s: %w", l.Address, l.Interface, err)
	}
	for _, r := range l.Routes {
		if err := netlink.RouteReplace(route(l, r)); err != nil {
			return fmt.Errorf("set route to %s via %s: %w", r.Dst, r.Via, err)
		}
	}
	return nil
}

// withdraw removes the address; the kernel removes its routes along.
func withdraw(l Lease) error {
	link, err := netlink.LinkByIndex(l.Index)
	if _, gone := err.(netlink.LinkNotFoundError); gone {
		return nil
	}
	if err == nil {
		err = netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(l.Address)})
	}
	if err != nil {
		return fmt.Errorf("remove address %s from %s: %w", l.Address, l.Interface, err)
	}
	return nil
}

func route(l Lease, r Route) *netlink.Route {
	nr := &netlink.Route{LinkIndex: l.Index, Dst: ipNet(r.Dst), Priority: 100 + l.Index, Protocol: unix.RTPROT_DHCP}
	if r.Via.IsValid() {
		nr.Gw = r.Via.AsSlice()
		// A gateway outside of the subnet (a /32 from a cloud) is on the link all the same.
		nr.SetFlag(netlink.FLAG_ONLINK)
	} else {
		nr.Scope = netlink.SCOPE_LINK
	}
	return nr
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
