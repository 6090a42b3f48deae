package handover

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/netconf"
)

// old is the network of a running system, by the names of its interfaces.
type old struct {
	f      envscan.Facts
	nics   map[string]envscan.NIC
	soft   map[string]envscan.NetLink
	master map[string]string
}

func view(f envscan.Facts) old {
	o := old{f: f, nics: map[string]envscan.NIC{}, soft: map[string]envscan.NetLink{}, master: map[string]string{}}
	for _, n := range f.HW.NIC {
		o.nics[n.Name] = n
	}
	for _, l := range f.Net.Links {
		o.soft[l.Name] = l
		for _, p := range l.Ports {
			o.master[p] = l.Name
		}
	}
	return o
}

// looped reports whether a link stands on itself, which no kernel allows but a
// document may say.
func (o old) looped(name string) bool {
	seen := map[string]bool{}
	var reach func(from string)
	reach = func(from string) {
		l := o.soft[from]
		under := l.Ports
		if l.Kind == netconf.VLAN {
			under = []string{l.Lower}
		}
		for _, u := range under {
			if !seen[u] {
				seen[u] = true
				reach(u)
			}
		}
	}
	reach(name)
	return seen[name]
}

// why says why a link cannot be handed over; nil: it can.
func (o old) why(name string) error {
	if o.looped(name) {
		return errors.New("it stands on itself")
	}
	one := netconf.Config{Links: []netconf.Link{{Name: name, Kind: netconf.Bridge}}}
	if name != "lo" && one.Validate() != nil {
		return fmt.Errorf("the name %q cannot be configured", name)
	}
	if m, ok := o.soft[o.master[name]]; ok && m.Kind != netconf.Bond && m.Kind != netconf.Bridge {
		return fmt.Errorf("it is a port of %s (%s), which is not handed over", m.Name, m.Kind)
	}
	if s, ok := o.f.State.Links[name]; ok && !s.Up {
		return errors.New("it is switched off")
	}
	if n, ok := o.nics[name]; ok {
		return o.card(n)
	}
	l, ok := o.soft[name]
	switch {
	case !ok && name == "lo":
		return errors.New("the loopback interface has it, and only what announces it makes that reachable")
	case !ok:
		return errors.New("nothing is known of this interface")
	case l.Kind == netconf.VLAN && l.Lower == "":
		return errors.New("a VLAN that stands on a card of another network namespace")
	case l.Kind == netconf.VLAN:
		if err := o.why(l.Lower); err != nil {
			return fmt.Errorf("a VLAN on %s: %w", l.Lower, err)
		}
		return nil
	case l.Kind == netconf.Bond || l.Kind == netconf.Bridge:
		if len(o.portsOf(l)) == 0 {
			return fmt.Errorf("a %s without a network card beneath", l.Kind)
		}
		return nil
	}
	return errors.New(foreign(l.Kind))
}

// foreign is what links are that are not handed over.
func foreign(kind string) string {
	switch kind {
	case "wireguard":
		return "a WireGuard tunnel, whose keys are not handed over"
	case "tun":
		return "made by a program such as a VPN, which ends with the system before"
	case "veth":
		return "a virtual cable to a container or another network namespace"
	case "vrf":
		return "a VRF, which is not handed over"
	case "team":
		return "a team, which is not handed over; a bond would be"
	case "openvswitch":
		return "a switch of Open vSwitch, which ends with the system before; a bridge would be handed over"
	case "":
		return "of no kind that is handed over"
	}
	return "of the kind " + kind + ", which is not handed over"
}

// card says why a network card cannot be handed over.
func (o old) card(n envscan.NIC) error {
	switch {
	case n.Wireless:
		return errors.New("a wireless card, and passwords of its networks are not handed over")
	case n.Kind != "ethernet" && n.Kind != "":
		return fmt.Errorf("a card of the kind %s, which the RAM system does not set up", n.Kind)
	}
	own := identity(o, n)
	for _, other := range o.f.HW.NIC {
		if other.Name != n.Name && identity(o, other) == own {
			return fmt.Errorf("a card without a permanent MAC that cannot be told from %s", other.Name)
		}
	}
	if own == (netconf.NIC{}) {
		return errors.New("a card with neither a permanent MAC nor a place on a bus")
	}
	return nil
}

// identity is what a card is found by again: its own MAC, or where it is and
// what drives it. Cards that share a MAC, such as the two faces of one that a
// hypervisor passes through, need both.
func identity(o old, n envscan.NIC) netconf.NIC {
	place := netconf.NIC{Path: n.Path, Driver: n.Driver, Port: n.Port}
	if n.HWAddr == "" || n.HWAddrFrom != "permanent" {
		return place
	}
	mac := strings.ToLower(n.HWAddr)
	for _, other := range o.f.HW.NIC {
		if other.Name != n.Name && strings.EqualFold(other.HWAddr, mac) {
			place.MAC = mac
			return place
		}
	}
	return netconf.NIC{MAC: mac}
}

// portsOf are the ports of a bond or bridge that are handed over: not those of
// virtual machines and containers.
func (o old) portsOf(l envscan.NetLink) []string {
	var ports []string
	for _, p := range l.Ports {
		if o.why(p) == nil {
			ports = append(ports, p)
		}
	}
	return ports
}

// handed are the links that addresses and routes are on and what is beneath
// them: cards first, and each other link after those that it stands on.
func (o old) handed(c netconf.Config, w *warnings) []netconf.Link {
	need := map[string]bool{}
	for _, a := range c.Addresses {
		o.beneath(a.Link, need)
	}
	for _, r := range c.Routes {
		for _, h := range ways(r) {
			o.beneath(h.Link, need)
		}
	}
	list := []netconf.Link{}
	for _, n := range o.f.HW.NIC {
		if need[n.Name] {
			list = append(list, o.physical(n, need, w))
			delete(need, n.Name)
		}
	}
	for len(need) > 0 {
		before := len(need)
		for _, l := range o.f.Net.Links { // by kind and name
			if need[l.Name] && !slices.ContainsFunc(o.under(l), func(name string) bool { return need[name] }) {
				list = append(list, o.software(l, w))
				delete(need, l.Name)
			}
		}
		if len(need) == before { // names that are in no list, which why refuses
			break
		}
	}
	for i := range list {
		if m := o.master[list[i].Name]; slices.ContainsFunc(list, func(l netconf.Link) bool { return l.Name == m }) {
			list[i].Master = m
		}
	}
	return list
}

// under are the links that one stands on.
func (o old) under(l envscan.NetLink) []string {
	if l.Kind == netconf.VLAN {
		return []string{l.Lower}
	}
	return o.portsOf(l)
}

func (o old) beneath(name string, need map[string]bool) {
	if name == "" || need[name] {
		return
	}
	need[name] = true
	if l, ok := o.soft[name]; ok {
		for _, u := range o.under(l) {
			o.beneath(u, need)
		}
	}
}

// usualMTU is that of Ethernet.
const usualMTU = 1500

func mtu(n, usual int64) int64 {
	if n == usual {
		return 0
	}
	return n
}

func (o old) physical(n envscan.NIC, need map[string]bool, w *warnings) netconf.Link {
	id := identity(o, n)
	l := netconf.Link{Name: n.Name, Kind: netconf.Physical, NIC: &id, MTU: mtu(o.f.State.Links[n.Name].MTU, usualMTU)}
	current := strings.ToLower(n.Current)
	if m := o.soft[o.master[n.Name]]; m.Kind != netconf.Bond && current != id.MAC {
		l.MAC = current // else the bond's
	}
	for _, other := range o.f.HW.NIC {
		if id.MAC == "" && other.Name != n.Name && other.Path == n.Path && other.Driver == n.Driver {
			w.add("%s has no permanent MAC, and %s is at the same place: the installed system may take one for the other", n.Name, other.Name)
		}
	}
	return l
}

func (o old) software(l envscan.NetLink, w *warnings) netconf.Link {
	n := netconf.Link{Name: l.Name, Kind: l.Kind, MAC: l.HWAddr}
	switch l.Kind {
	case netconf.VLAN:
		n.Lower, n.Protocol = l.Lower, l.Protocol
		if l.VLAN != nil {
			n.ID = *l.VLAN
		}
		lowerMAC, lowerMTU := o.nics[l.Lower].Current, o.f.State.Links[l.Lower].MTU
		if s, ok := o.soft[l.Lower]; ok {
			lowerMAC, lowerMTU = s.HWAddr, s.MTU
		}
		if n.MAC == lowerMAC {
			n.MAC = ""
		}
		n.MTU = mtu(l.MTU, lowerMTU)
	case netconf.Bond:
		n.MTU, n.Bond = mtu(l.MTU, usualMTU), o.bond(l, w)
	case netconf.Bridge:
		n.MTU, n.Bridge = mtu(l.MTU, usualMTU), o.bridge(l, w)
	}
	return n
}

func (o old) bond(l envscan.NetLink, w *warnings) *netconf.BondConfig {
	b := &netconf.BondConfig{Mode: l.Mode}
	if l.Bond == nil {
		return b
	}
	b.Monitor, b.UpDelay, b.DownDelay = l.Bond.Monitor, l.Bond.UpDelay, l.Bond.DownDelay
	b.LACP, b.Hash, b.Select, b.FailMAC = l.Bond.LACP, l.Bond.Hash, l.Bond.Select, l.Bond.FailMAC
	if b.Hash == "vlan+srcmac" { // only what is sent goes other ways
		b.Hash = ""
		w.add("%s chooses ports by vlan+srcmac, which systemd-networkd does not know: it will by layer2", l.Name)
	}
	if slices.Contains(o.portsOf(l), l.Bond.Primary) {
		b.Primary = l.Bond.Primary
	}
	if l.Bond.ARPInterval > 0 && len(l.Bond.ARP) > 0 {
		b.ARP, b.ARPInterval = l.Bond.ARP, l.Bond.ARPInterval
	}
	return b
}

// bridge: the facts do not say which VLANs a port carries. With one port nothing
// is passed from port to port, so that the bridge need not filter, and all reach
// the machine itself.
func (o old) bridge(l envscan.NetLink, w *warnings) *netconf.BridgeConfig {
	if l.Bridge == nil {
		return &netconf.BridgeConfig{}
	}
	b := netconf.BridgeConfig(*l.Bridge)
	switch one := len(o.portsOf(l)) == 1; {
	case b.VLANFiltering && one:
		b.VLANFiltering, b.DefaultVLAN = false, 0
		w.add("%s will not filter by VLAN: it has one network card beneath, and which VLANs that carries is not known", l.Name)
	case b.VLANFiltering:
		w.add("%s filters by VLAN, and which VLANs its ports carry is not handed over: only frames without a tag will pass", l.Name)
	default:
		b.DefaultVLAN = 0
	}
	return &b
}
