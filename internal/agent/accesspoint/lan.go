package accesspoint

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/accesspoint"
)

// lan makes the bridge of the Ethernet side, and keeps its subnet off whatever the
// wireless side is.
func (a appliance) lan(ctx context.Context) error {
	names, err := need("cards", "lan")
	if err != nil {
		return err
	}
	bridge, err := makeBridge(strings.Fields(names))
	if err != nil {
		return err
	}
	ula := accesspoint.ULA(bridge.Attrs().HardwareAddr.String())
	updates := make(chan netlink.RouteUpdate, 64)
	if err := netlink.RouteSubscribe(updates, ctx.Done()); err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	subnet := a.options.Subnet
	for moved := false; ; {
		upstream, err := upstreamNetworks(bridge.Attrs().Index)
		if err != nil {
			return err
		}
		// One that collides with nothing stays, also when the wish becomes free:
		// whoever is plugged in has an address of it.
		next := accesspoint.ChooseSubnet(subnet, upstream)
		if err := a.serve(bridge, next, ula); err != nil {
			return err
		}
		if next != subnet {
			log.Printf("%s is in use on the wireless side: the Ethernet side moves to %s", subnet, next)
			moved = true
		}
		subnet = next
		if moved {
			moved = false
			if err := replug(ctx, bridge); err != nil {
				return err
			}
		}
		if _, ok := <-updates; !ok {
			if ctx.Err() == nil {
				return errors.New("watch routes: the kernel sends no more")
			}
			return nil
		}
	}
}

// makeBridge makes the bridge of the cards, and leaves no other cards in it. It has
// the address of the first, whatever comes later.
func makeBridge(names []string) (netlink.Link, error) {
	cards, err := links(names)
	if err != nil {
		return nil, err
	}
	bridge, err := netlink.LinkByName(accesspoint.LAN)
	if _, gone := err.(netlink.LinkNotFoundError); gone {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = accesspoint.LAN, cards[0].Attrs().HardwareAddr
		if err = netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			return nil, fmt.Errorf("make bridge %s: %w", accesspoint.LAN, err)
		}
		bridge, err = netlink.LinkByName(accesspoint.LAN)
	}
	if err != nil {
		return nil, fmt.Errorf("find bridge %s: %w", accesspoint.LAN, err)
	}
	if err := setSysctl("net/ipv6/conf/"+accesspoint.LAN+"/accept_ra", "0"); err != nil {
		return nil, err
	}
	for _, card := range cards {
		if err := addPort(card, bridge); err != nil {
			return nil, err
		}
	}
	if err := dropPorts(bridge, names); err != nil {
		return nil, err
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return nil, fmt.Errorf("set up %s: %w", accesspoint.LAN, err)
	}
	return bridge, nil
}

func links(names []string) ([]netlink.Link, error) {
	var list []netlink.Link
	for _, name := range names {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return nil, fmt.Errorf("find %s: %w", name, err)
		}
		list = append(list, l)
	}
	if len(list) == 0 {
		return nil, accesspoint.ErrNoEthernet
	}
	return list, nil
}

// addPort puts a card into the bridge. It has no addresses of its own.
func addPort(card, bridge netlink.Link) error {
	name := card.Attrs().Name
	if err := setSysctl("net/ipv6/conf/"+strings.ReplaceAll(name, ".", "/")+"/disable_ipv6", "1"); err != nil {
		return err
	}
	if card.Attrs().MasterIndex != bridge.Attrs().Index {
		if err := netlink.LinkSetMaster(card, bridge); err != nil {
			return fmt.Errorf("put %s into %s: %w", name, accesspoint.LAN, err)
		}
	}
	if err := netlink.LinkSetUp(card); err != nil {
		return fmt.Errorf("set up %s: %w", name, err)
	}
	return nil
}

// ports are the cards in the bridge.
func ports(bridge netlink.Link) ([]netlink.Link, error) {
	all, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list network cards: %w", err)
	}
	var list []netlink.Link
	for _, l := range all {
		if l.Attrs().MasterIndex == bridge.Attrs().Index {
			list = append(list, l)
		}
	}
	return list, nil
}

func dropPorts(bridge netlink.Link, keep []string) error {
	list, err := ports(bridge)
	if err != nil {
		return err
	}
	for _, l := range list {
		if strings.Contains(" "+strings.Join(keep, " ")+" ", " "+l.Attrs().Name+" ") {
			continue
		}
		if err := netlink.LinkSetNoMaster(l); err != nil {
			return fmt.Errorf("take %s out of %s: %w", l.Attrs().Name, accesspoint.LAN, err)
		}
	}
	return nil
}

// serve gives the bridge its addresses, takes away all others of vic's, and tells.
func (a appliance) serve(bridge netlink.Link, subnet, ula netip.Prefix) error {
	want := []netip.Prefix{accesspoint.Gateway(subnet), accesspoint.Gateway(ula)}
	have, err := netlink.AddrList(bridge, netlink.FAMILY_ALL)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("list addresses: %w", err)
	}
	for _, h := range have {
		ip, _ := netip.AddrFromSlice(h.IP)
		if ip = ip.Unmap(); ip.IsLinkLocalUnicast() || ip == want[0].Addr() || ip == want[1].Addr() {
			continue
		}
		if err := netlink.AddrDel(bridge, &h); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %s: %w", ip, err)
		}
	}
	for _, w := range want {
		addr := &netlink.Addr{IPNet: &net.IPNet{IP: w.Addr().AsSlice(), Mask: net.CIDRMask(w.Bits(), w.Addr().BitLen())}}
		if w.Addr().Is6() {
			addr.Flags = unix.IFA_F_NODAD // nobody else has it, and a bridge without a cable could not ask
		}
		if err := netlink.AddrReplace(bridge, addr); err != nil {
			return fmt.Errorf("set address %s on %s: %w", w, accesspoint.LAN, err)
		}
	}
	return errors.Join(a.own.Set("subnet", subnet.String()), a.own.Set("ula", ula.String()), a.own.Set("address", want[0].Addr().String()))
}

// replug has whoever is plugged in notice that the network is another: as if the
// cables were pulled for a moment.
func replug(ctx context.Context, bridge netlink.Link) error {
	list, err := ports(bridge)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range list {
		errs = append(errs, netlink.LinkSetDown(l))
	}
	select {
	case <-time.After(2 * time.Second):
	case <-ctx.Done():
	}
	for _, l := range list {
		errs = append(errs, netlink.LinkSetUp(l))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("replug the Ethernet side: %w", err)
	}
	return nil
}
