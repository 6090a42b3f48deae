package network

import (
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/netconf"
)

// modules are what the kinds of links need.
var modules = map[string]string{netconf.Bond: "bonding", netconf.VLAN: "8021q", netconf.Bridge: "bridge"}

// virtual is the interface to create for a link that is no card. A VLAN stands
// on the interface with index lower.
func virtual(l netconf.Link, name string, lower int) (netlink.Link, error) {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, int(l.MTU)
	if l.MAC != "" {
		mac, err := net.ParseMAC(l.MAC)
		if err != nil {
			return nil, err
		}
		attrs.HardwareAddr = mac
	}
	switch l.Kind {
	case netconf.Bond:
		return bond(attrs, l)
	case netconf.Bridge:
		return &netlink.Bridge{LinkAttrs: attrs}, nil
	case netconf.VLAN:
		attrs.ParentIndex = lower
		v := &netlink.Vlan{LinkAttrs: attrs, VlanId: int(l.ID), VlanProtocol: netlink.VLAN_PROTOCOL_8021Q}
		switch l.Protocol {
		case "", "802.1Q":
		case "802.1ad":
			v.VlanProtocol = netlink.VLAN_PROTOCOL_8021AD
		default:
			return nil, fmt.Errorf("unknown protocol %q", l.Protocol)
		}
		return v, nil
	}
	return nil, fmt.Errorf("unknown kind %q", l.Kind)
}

// bond has the settings that its mode knows: the kernel refuses a bond with
// others.
func bond(attrs netlink.LinkAttrs, l netconf.Link) (*netlink.Bond, error) {
	if l.Bond == nil {
		return nil, fmt.Errorf("the bond has no mode")
	}
	c, b := *l.Bond, netlink.NewLinkBond(attrs)
	var errs []error
	b.Mode = choose(&errs, netlink.StringToBondModeMap, "mode", c.Mode)
	lacp := b.Mode == netlink.BOND_MODE_802_3AD
	balanced := b.Mode == netlink.BOND_MODE_BALANCE_TLB || b.Mode == netlink.BOND_MODE_BALANCE_ALB
	switch {
	case c.Monitor != 0:
		b.Miimon, b.UpDelay, b.DownDelay = int(c.Monitor), orDefault(c.UpDelay), orDefault(c.DownDelay)
	case c.ARPInterval != 0 && !lacp && !balanced:
		b.ArpInterval = int(c.ARPInterval)
		for _, a := range c.ARP {
			ip := net.ParseIP(a).To4()
			if ip == nil {
				return nil, fmt.Errorf("%q is no IPv4 address to ask for by ARP", a)
			}
			b.ArpIpTargets = append(b.ArpIpTargets, ip)
		}
	}
	if lacp && c.LACP != "" {
		b.LacpRate = choose(&errs, netlink.StringToBondLacpRateMap, "LACP rate", c.LACP)
	}
	if lacp && c.Select != "" {
		b.AdSelect = choose(&errs, netlink.StringToBondAdSelectMap, "selection", c.Select)
	}
	if c.Hash != "" {
		b.XmitHashPolicy = choose(&errs, netlink.StringToBondXmitHashPolicyMap, "hash policy", c.Hash)
	}
	if c.FailMAC != "" && b.Mode == netlink.BOND_MODE_ACTIVE_BACKUP {
		b.FailOverMac = choose(&errs, netlink.StringToBondFailOverMacMap, "failOverMAC", c.FailMAC)
	}
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return b, nil
}

func choose[T any](errs *[]error, names map[string]T, what, name string) T {
	v, ok := names[name]
	if !ok {
		*errs = append(*errs, fmt.Errorf("unknown %s %q", what, name))
	}
	return v
}

// orDefault is a setting of a bond; -1 is the kernel's default.
func orDefault(n int64) int {
	if n == 0 {
		return -1
	}
	return int(n)
}

// hasPrimary: the mode prefers one port.
func hasPrimary(mode string) bool {
	return mode == "active-backup" || mode == "balance-tlb" || mode == "balance-alb"
}

// bridgeParts is an RTM_NEWLINK with the settings of a bridge. Forwarding delays
// are in 1/100 s.
func bridgeParts(index int, c netconf.BridgeConfig) parts {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(index)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bridge"))
	data := info.AddRtAttr(nl.IFLA_INFO_DATA, nil)
	if c.ForwardDelay != 0 {
		data.AddRtAttr(nl.IFLA_BR_FORWARD_DELAY, nl.Uint32Attr(uint32(c.ForwardDelay/10)))
	}
	stp := uint32(0)
	if c.STP {
		stp = 1
	}
	data.AddRtAttr(nl.IFLA_BR_STP_STATE, nl.Uint32Attr(stp))
	if c.Priority != 0 {
		data.AddRtAttr(nl.IFLA_BR_PRIORITY, nl.Uint16Attr(uint16(c.Priority)))
	}
	if c.VLANFiltering {
		data.AddRtAttr(nl.IFLA_BR_VLAN_FILTERING, nl.Uint8Attr(1))
		if c.DefaultVLAN != 0 {
			data.AddRtAttr(nl.IFLA_BR_VLAN_DEFAULT_PVID, nl.Uint16Attr(uint16(c.DefaultVLAN)))
		}
	}
	return parts{msg, info}
}

// create makes the interface of a link that is no card.
func create(l netconf.Link, name string, lower int) error {
	v, err := virtual(l, name, lower)
	if err != nil {
		return err
	}
	if err := netlink.LinkAdd(v); err != nil {
		return err
	}
	if l.Kind != netconf.Bridge || l.Bridge == nil {
		return nil
	}
	made, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return send(unix.RTM_NEWLINK, 0, bridgeParts(made.Attrs().Index, *l.Bridge))
}

// primaryParts is an RTM_NEWLINK that chooses the preferred port of a bond.
func primaryParts(bond, port int) parts {
	msg := nl.NewIfInfomsg(unix.AF_UNSPEC)
	msg.Index = int32(bond)
	info := nl.NewRtAttr(unix.IFLA_LINKINFO, nil)
	info.AddRtAttr(nl.IFLA_INFO_KIND, nl.NonZeroTerminated("bond"))
	info.AddRtAttr(nl.IFLA_INFO_DATA, nil).AddRtAttr(nl.IFLA_BOND_PRIMARY, nl.Uint32Attr(uint32(port)))
	return parts{msg, info}
}
