package handover

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/netconf"
)

const otherAddress = "log in by an address of a network card, or of a bond, VLAN or bridge that stands on one"

// InUse refuses to leave a system by whose address local somebody is logged in
// (the third word of $SSH_CONNECTION) if that address would not be there
// afterwards; it says why, and what to do.
func InUse(f envscan.Facts, local netip.Addr) error {
	local = local.Unmap()
	if local.IsLoopback() {
		return fmt.Errorf("this session came in by %s, through something on the machine itself, which ends with this system: %s", local, otherAddress)
	}
	o := view(f)
	var refused error
	for _, a := range f.Net.Address {
		p, err := netip.ParsePrefix(a.Address)
		if err != nil || p.Addr() != local.WithZone("") || local.Zone() != "" && local.Zone() != a.Interface {
			continue
		}
		err = o.stays(a, p)
		if err == nil {
			return nil
		}
		refused = fmt.Errorf("this session came in by %s on %s, which will not be there afterwards: %w", local, a.Interface, err)
	}
	if refused != nil {
		return refused
	}
	return fmt.Errorf("this session came in by %s, which no interface of the machine has: %s", local, otherAddress)
}

// stays says why an address will not be there.
func (o old) stays(a envscan.Address, p netip.Prefix) error {
	if err := o.holds(a.Interface); err != nil {
		return fmt.Errorf("%w: %s", err, otherAddress)
	}
	if a.Temporary {
		return errors.New("it is a temporary address: log in by another")
	}
	if p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
		mac := o.soft[a.Interface].HWAddr
		if n, ok := o.nics[a.Interface]; ok {
			mac = n.Current
		}
		if !madeFrom(p.Addr(), mac) {
			return errors.New("an address of the link that was not made from the MAC: log in by another")
		}
	}
	return o.tagged(a.Interface)
}

// tagged refuses a VLAN on a bridge that has several ports and filters by VLAN.
func (o old) tagged(name string) error {
	l := o.soft[name]
	if l.Kind != netconf.VLAN {
		return nil
	}
	if b := o.soft[l.Lower]; b.Bridge != nil && b.Bridge.VLANFiltering && len(o.portsOf(b)) > 1 {
		return fmt.Errorf("a VLAN on %s, and which VLANs the ports of that carry is not handed over: %s", b.Name, "log in by an address of another interface")
	}
	return o.tagged(l.Lower)
}

// madeFrom reports whether an address of the link is the one that a kernel makes
// from a MAC (RFC 4291, appendix A).
func madeFrom(a netip.Addr, mac string) bool {
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 {
		return false
	}
	id := a.As16()
	return slices.Equal(id[8:], []byte{hw[0] ^ 2, hw[1], hw[2], 0xff, 0xfe, hw[3], hw[4], hw[5]})
}
