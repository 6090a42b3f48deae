package accesspoint

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/ramsys/network"
)

// uplink asks for an address on the wireless card, and keeps it: one service for
// each time that the network is joined.
func (a appliance) uplink(ctx context.Context) error {
	card, err := need("wifi", "associated")
	if err != nil {
		return err
	}
	addresses := make(chan netlink.AddrUpdate, 64)
	if err := netlink.AddrSubscribe(addresses, ctx.Done()); err != nil {
		return fmt.Errorf("watch addresses: %w", err)
	}
	n, err := network.Start(ctx, network.Config{
		Sys: "/sys", ResolvConf: resolvConf,
		Card:   func(l *netlink.LinkAttrs) bool { return l.Name == card },
		Report: a.report,
	})
	if err != nil {
		return err
	}
	for range addresses {
		if len(n.Leases()) > 0 {
			continue
		}
		if err := a.unleased(); err != nil {
			return err
		}
	}
	if ctx.Err() == nil {
		return errors.New("watch addresses: the kernel sends no more")
	}
	// The lease is taken back: without a network there is no way out, and those
	// inside are told so at once.
	for end := time.Now().Add(2 * time.Second); len(n.Leases()) > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	return nil
}

// report is what comes of asking.
func (a appliance) report(_ string, lease *network.Lease, err error) {
	if err == nil {
		log.Print(lease)
		err = a.leased(*lease)
	} else {
		err = errors.Join(err, a.unleased())
	}
	if err != nil {
		log.Print(err)
	}
}

func (a appliance) unleased() error {
	return errors.Join(a.own.Delete("address"), a.own.Delete("gateway"))
}

func (a appliance) leased(l network.Lease) error {
	gateway := ""
	for _, r := range l.Routes {
		if r.Dst.Bits() == 0 && r.Via.IsValid() {
			gateway = r.Via.String()
		}
	}
	return errors.Join(a.own.Set("address", l.Address.String()), a.put("gateway", gateway))
}

// uplink6 tells whether routers on the wireless side advertise a way out. Nobody
// is asked for a prefix (see docs/access-point.md).
func (a appliance) uplink6(ctx context.Context) error {
	updates := make(chan netlink.RouteUpdate, 64)
	if err := netlink.RouteSubscribe(updates, ctx.Done()); err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	for {
		via, err := defaultRoute6()
		if err != nil {
			return err
		}
		if err := a.own.Set("default", via); err != nil {
			return err
		}
		if _, ok := <-updates; !ok {
			if ctx.Err() == nil {
				return errors.New("watch routes: the kernel sends no more")
			}
			return nil
		}
	}
}

// none is the value of an output that says so.
const none = "none"

// defaultRoute6 is the router of the default route; none: there is none.
func defaultRoute6() (string, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V6)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return "", fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		if isDefault(r.Dst) && r.Gw != nil && r.Type == unix.RTN_UNICAST {
			return r.Gw.String(), nil
		}
	}
	return none, nil
}

func isDefault(dst *net.IPNet) bool {
	if dst == nil {
		return true
	}
	ones, _ := dst.Mask.Size()
	return ones == 0
}

// upstreamNetworks are the networks that are reached over other links than one: a
// subnet must overlap none of them.
func upstreamNetworks(except int) ([]netip.Prefix, error) {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var list []netip.Prefix
	for _, r := range routes {
		if r.LinkIndex == except || isDefault(r.Dst) {
			continue
		}
		ip, ok := netip.AddrFromSlice(r.Dst.IP)
		ones, _ := r.Dst.Mask.Size()
		if ok {
			list = append(list, netip.PrefixFrom(ip.Unmap(), ones).Masked())
		}
		if gw, ok := netip.AddrFromSlice(r.Gw); ok {
			list = append(list, netip.PrefixFrom(gw.Unmap(), 32))
		}
	}
	return list, nil
}
