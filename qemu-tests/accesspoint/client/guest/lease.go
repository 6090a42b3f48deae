package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/qemu-tests/accesspoint/client/wire"
)

// card is the only network card.
func card() (netlink.Link, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list network cards: %w", err)
	}
	for _, l := range all {
		if l.Attrs().Flags&net.FlagLoopback == 0 && l.Type() == "device" {
			return l, nil
		}
	}
	return nil, errors.New("there is no network card")
}

// plug asks for a lease, and takes what it says.
func plug(ctx context.Context) (*wire.Lease, error) {
	l, err := card()
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(l); err != nil {
		return nil, fmt.Errorf("set up %s: %w", l.Attrs().Name, err)
	}
	dhcp, err := nclient4.New(l.Attrs().Name, nclient4.WithTimeout(time.Second), nclient4.WithRetry(3), nclient4.WithHWAddr(l.Attrs().HardwareAddr))
	if err != nil {
		return nil, fmt.Errorf("DHCP: %w", err)
	}
	defer dhcp.Close()
	given, err := dhcp.Request(ctx, dhcpv4.WithRequestedOptions(
		dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionDomainName))
	if err != nil {
		return nil, fmt.Errorf("DHCP: %w", err)
	}
	lease, err := leaseOf(given.ACK)
	if err != nil {
		return nil, err
	}
	return lease, take(l, lease)
}

func leaseOf(ack *dhcpv4.DHCPv4) (*wire.Lease, error) {
	ones, _ := ack.SubnetMask().Size()
	routers := addrs(ack.Router())
	own := addrs([]net.IP{ack.YourIPAddr})
	if len(own) != 1 || len(routers) != 1 || ones == 0 {
		return nil, fmt.Errorf("DHCP: a lease that nobody can use: %s", ack.Summary())
	}
	return &wire.Lease{Address: netip.PrefixFrom(own[0], ones), Router: routers[0], DNS: addrs(ack.DNS()), Domain: ack.DomainName()}, nil
}

func addrs(ips []net.IP) (list []netip.Addr) {
	for _, ip := range ips {
		if a, ok := netip.AddrFromSlice(ip); ok {
			list = append(list, a.Unmap())
		}
	}
	return list
}

// take sets address and default route, and writes down the name servers.
func take(l netlink.Link, lease *wire.Lease) error {
	address := &net.IPNet{IP: lease.Address.Addr().AsSlice(), Mask: net.CIDRMask(lease.Address.Bits(), 32)}
	if err := netlink.AddrReplace(l, &netlink.Addr{IPNet: address}); err != nil {
		return fmt.Errorf("set address %s: %w", lease.Address, err)
	}
	if err := netlink.RouteReplace(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: lease.Router.AsSlice()}); err != nil {
		return fmt.Errorf("set route via %s: %w", lease.Router, err)
	}
	var text strings.Builder
	for _, server := range lease.DNS {
		fmt.Fprintf(&text, "nameserver %s\n", server)
	}
	fmt.Fprintf(&text, "search %s\n", lease.Domain)
	return errors.Join(os.MkdirAll("/etc", 0o755), os.WriteFile("/etc/resolv.conf", []byte(text.String()), 0o644))
}

// ipv6 are the card's addresses that count beyond the link, and the router of the
// default route. Nobody but the kernel sets any.
func ipv6() ([]string, error) {
	l, err := card()
	if err != nil {
		return nil, err
	}
	have, err := netlink.AddrList(l, netlink.FAMILY_V6)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	var lines []string
	for _, a := range have {
		if a.IP.IsGlobalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0 {
			lines = append(lines, a.IPNet.String())
		}
	}
	routes, err := netlink.RouteList(l, netlink.FAMILY_V6)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if r.Gw != nil && (r.Dst == nil || r.Dst.IP.IsUnspecified()) {
			return append(lines, r.Gw.String()), nil
		}
	}
	return nil, fmt.Errorf("there is no router; addresses: %v", lines)
}
