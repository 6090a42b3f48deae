package network

import (
	"context"
	"errors"
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

// A client is a DHCP client at work.
type client struct {
	stop  context.CancelFunc
	ended chan struct{}
}

func (n *Network) startClient(ctx context.Context, link netlink.Link, wish netip.Addr) client {
	ctx, stop := context.WithCancel(ctx)
	c := client{stop, make(chan struct{})}
	go func() {
		defer close(c.ended)
		n.keepLease(ctx, link, wish)
	}()
	return c
}

// end returns when the lease is taken back: the next client of the same
// interface must not lose its own to that.
func (c client) end() {
	c.stop()
	<-c.ended
}

// keepLease gets and renews the lease of one interface until ctx ends, which
// is when the carrier is lost. It asks for the address wish, if there is one.
func (n *Network) keepLease(ctx context.Context, link netlink.Link, wish netip.Addr) {
	name, said := link.Attrs().Name, ""
	report := func(l *Lease, err error) {
		text := ""
		if err != nil {
			text = err.Error()
		}
		// Beside a handover nobody waits for a lease: once is enough.
		again := n.cfg.Handover != nil && text != "" && text == said
		if said = text; ctx.Err() == nil && !again {
			n.cfg.Report(name, l, err)
		}
	}
	for ctx.Err() == nil {
		if err := n.oneLease(ctx, link, wish, report); err != nil {
			report(nil, err)
		}
		if err := n.drop(name); err != nil {
			report(nil, err)
		}
		pause(ctx, firstTimeout)
	}
}

// oneLease gets a lease and returns when it is lost.
func (n *Network) oneLease(ctx context.Context, link netlink.Link, wish netip.Addr, report func(*Lease, error)) error {
	attrs := link.Attrs()
	client, err := nclient4.New(attrs.Name, nclient4.WithTimeout(firstTimeout), nclient4.WithRetry(attempts),
		nclient4.WithHWAddr(attrs.HardwareAddr))
	if err != nil {
		return fmt.Errorf("DHCP on %s: %w", attrs.Name, err)
	}
	defer client.Close()
	given, err := request(ctx, client, wish)
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

// request asks for an address. A client that had one before asks the servers to
// confirm that (RFC 2131 §4.3.2, INIT-REBOOT), and is told so or not; where
// nobody answers, or with no, it asks for any, by preference that one.
func request(ctx context.Context, c *nclient4.Client, wish netip.Addr) (*nclient4.Lease, error) {
	if !wish.IsValid() {
		return c.Request(ctx, options)
	}
	requested := dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(wish.AsSlice()))
	confirm, err := dhcpv4.New(dhcpv4.WithHwAddr(c.InterfaceAddr()), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), requested, options)
	if err != nil {
		return nil, err
	}
	// One question, or two: the port of a switch may be deaf at first.
	short, cancel := context.WithTimeout(ctx, 3*firstTimeout)
	defer cancel()
	ack, err := c.SendAndRead(short, c.RemoteAddr(), confirm, nclient4.IsMessageType(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak))
	if err == nil && ack.MessageType() == dhcpv4.MessageTypeAck {
		return &nclient4.Lease{Offer: ack, ACK: ack, CreationTime: time.Now()}, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	offer, err := c.DiscoverOffer(ctx, options, requested)
	if err != nil {
		return nil, err
	}
	return c.RequestFromOffer(ctx, offer, options)
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

// apply sets what a lease says on its interface, beside what was handed over.
func (n *Network) apply(l Lease) error {
	link, err := netlink.LinkByIndex(l.Index)
	if err != nil {
		return fmt.Errorf("find %s: %w", l.Interface, err)
	}
	if l.MTU != 0 && l.MTU != link.Attrs().MTU && !n.handedOn(l.Index) {
		if err := netlink.LinkSetMTU(link, l.MTU); err != nil {
			return fmt.Errorf("set MTU %d on %s: %w", l.MTU, l.Interface, err)
		}
	}
	if !n.handed[owned{l.Index, l.Address.Addr()}] {
		if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(l.Address)}); err != nil {
			return fmt.Errorf("set address %s on %s: %w", l.Address, l.Interface, err)
		}
	}
	for _, r := range l.Routes {
		if err := netlink.RouteReplace(n.route(l, r)); err != nil {
			return fmt.Errorf("set route to %s via %s: %w", r.Dst, r.Via, err)
		}
	}
	return nil
}

// withdraw removes the routes and the address, unless that was handed over.
func (n *Network) withdraw(l Lease) error {
	link, err := netlink.LinkByIndex(l.Index)
	if _, gone := err.(netlink.LinkNotFoundError); gone {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find %s: %w", l.Interface, err)
	}
	for _, r := range l.Routes {
		// The kernel may have removed it, with the last address.
		if err := netlink.RouteDel(n.route(l, r)); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove route to %s from %s: %w", r.Dst, l.Interface, err)
		}
	}
	if n.handed[owned{l.Index, l.Address.Addr()}] {
		return nil
	}
	if err := netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(l.Address)}); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("remove address %s from %s: %w", l.Address, l.Interface, err)
	}
	return nil
}

// Metrics of the routes of leases. Every interface has its own: of several
// default routes the first interface's is used. Beside a handover they are worth
// less than whatever that has, and replace none of it.
const (
	leaseMetric  = 100
	besideMetric = 1 << 20
)

func (n *Network) route(l Lease, r Route) *netlink.Route {
	nr := &netlink.Route{LinkIndex: l.Index, Dst: ipNet(r.Dst), Priority: leaseMetric + l.Index, Protocol: unix.RTPROT_DHCP}
	if n.cfg.Handover != nil {
		nr.Priority = besideMetric + l.Index
	}
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
