package envscan

import (
	"cmp"
	"encoding/binary"
	"net"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// kernelLink is an interface as the kernel lists it.
type kernelLink struct {
	index   int64
	flags   uint32
	encap   uint16 // ARPHRD_*
	name    string
	mac     string
	kind    string // rtnl_link_ops: empty for most of what is hardware
	parent  string // device; since Linux 5.14
	master  int64
	lower   int64 // 0: none, or one of another network namespace
	mtu     int64
	carrier bool
	data    attributes // of its kind
}

// parseLink reads struct ifinfomsg and what follows (linux/rtnetlink.h).
func parseLink(b []byte) (kernelLink, error) {
	a, err := message(b, unix.SizeofIfInfomsg)
	if err != nil {
		return kernelLink{}, err
	}
	info, err := a.nested(unix.IFLA_LINKINFO)
	if err != nil {
		return kernelLink{}, err
	}
	data, err := info.nested(unix.IFLA_INFO_DATA)
	if err != nil {
		return kernelLink{}, err
	}
	l := kernelLink{
		encap:   binary.NativeEndian.Uint16(b[2:]),
		index:   int64(binary.NativeEndian.Uint32(b[4:])),
		flags:   binary.NativeEndian.Uint32(b[8:]),
		name:    a.text(unix.IFLA_IFNAME),
		kind:    info.text(unix.IFLA_INFO_KIND),
		parent:  a.text(unix.IFLA_PARENT_DEV_NAME),
		master:  a.number(unix.IFLA_MASTER),
		mtu:     a.number(unix.IFLA_MTU),
		carrier: a.number(unix.IFLA_CARRIER) == 1,
		data:    data,
	}
	if !a.has(unix.IFLA_LINK_NETNSID) {
		l.lower = a.number(unix.IFLA_LINK)
	}
	if l.encap == unix.ARPHRD_ETHER || l.encap == unix.ARPHRD_INFINIBAND {
		l.mac = net.HardwareAddr(a[unix.IFLA_ADDRESS]).String()
	}
	return l, nil
}

// kernelLinks are all interfaces by their index.
func kernelLinks(ask asker) (map[int64]kernelLink, error) {
	msgs, err := ask(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return nil, err
	}
	all := map[int64]kernelLink{}
	for _, m := range msgs {
		l, err := parseLink(m)
		if err != nil {
			return nil, err
		}
		all[l.index] = l
	}
	return all, nil
}

// software are the links that are no hardware, and the state of each.
func (s *scanner) software(all map[int64]kernelLink) ([]NetLink, map[string]Link) {
	list, states := []NetLink{}, map[string]Link{}
	for _, l := range all {
		if l.encap == unix.ARPHRD_LOOPBACK || s.hasDevice(l) {
			continue
		}
		list = append(list, netLinkOf(l, all))
		states[l.name] = Link{Up: l.flags&unix.IFF_UP != 0, Carrier: l.carrier && l.flags&unix.IFF_UP != 0, MTU: l.mtu}
	}
	slices.SortFunc(list, func(a, b NetLink) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return list, states
}

// hasDevice reports whether a link is hardware. What has a kind and no parent is
// not; a kernel before 5.14 tells no parents, but has them in /sys.
func (s *scanner) hasDevice(l kernelLink) bool {
	return l.parent != "" || l.kind == "" && s.exists("/sys/class/net/"+l.name+"/device")
}

func netLinkOf(l kernelLink, all map[int64]kernelLink) NetLink {
	n := NetLink{Name: l.name, Kind: l.kind, HWAddr: l.mac, Master: all[l.master].name, Lower: all[l.lower].name, Ports: []string{}, MTU: l.mtu}
	for _, p := range all {
		if p.master == l.index {
			n.Ports = append(n.Ports, p.name)
		}
	}
	slices.Sort(n.Ports)
	switch d := l.data; l.kind {
	case "vlan":
		n.VLAN = d.numberIf(nl.IFLA_VLAN_ID)
		n.Protocol = vlanProtocols[string(d[nl.IFLA_VLAN_PROTOCOL])]
	case "vxlan":
		n.VLAN = d.numberIf(nl.IFLA_VXLAN_ID)
		n.Lower = all[d.number(nl.IFLA_VXLAN_LINK)].name
	case "vrf":
		n.Table = d.numberIf(nl.IFLA_VRF_TABLE)
	case "macvlan", "macvtap":
		n.Mode = named(macvlanModes, d.number(nl.IFLA_MACVLAN_MODE))
	case "tun":
		n.Mode = named(tunTypes, d.number(nl.IFLA_TUN_TYPE))
	case "bond":
		n.Mode = named(bondModes, d.number(nl.IFLA_BOND_MODE))
		n.Bond = bondOf(d, n.Mode, all)
	case "bridge":
		n.Bridge = bridgeOf(d)
	}
	return n
}

// bondOf leaves out the settings that a bond of its mode does not use: bond(4),
// Documentation/networking/bonding.rst.
func bondOf(d attributes, mode string, all map[int64]kernelLink) *Bond {
	b := &Bond{
		Monitor:     d.number(nl.IFLA_BOND_MIIMON),
		UpDelay:     d.number(nl.IFLA_BOND_UPDELAY),
		DownDelay:   d.number(nl.IFLA_BOND_DOWNDELAY),
		Primary:     all[d.number(nl.IFLA_BOND_PRIMARY)].name,
		ARP:         []string{},
		ARPInterval: d.number(nl.IFLA_BOND_ARP_INTERVAL),
	}
	switch mode {
	case "802.3ad":
		b.LACP = named(map[int64]string{0: "slow", 1: "fast"}, d.number(nl.IFLA_BOND_AD_LACP_RATE))
		b.Select = named(map[int64]string{0: "stable", 1: "bandwidth", 2: "count"}, d.number(nl.IFLA_BOND_AD_SELECT))
	case "active-backup":
		b.FailMAC = named(map[int64]string{0: "none", 1: "active", 2: "follow"}, d.number(nl.IFLA_BOND_FAIL_OVER_MAC))
	}
	if slices.Contains([]string{"balance-xor", "802.3ad", "balance-tlb"}, mode) {
		b.Hash = named(hashPolicies, d.number(nl.IFLA_BOND_XMIT_HASH_POLICY))
	}
	targets, err := d.nested(nl.IFLA_BOND_ARP_IP_TARGET)
	if err != nil {
		return b
	}
	for i := range uint16(len(targets)) {
		b.ARP = append(b.ARP, targets.address(i))
	}
	return b
}

func bridgeOf(d attributes) *Bridge {
	return &Bridge{
		STP:           d.number(nl.IFLA_BR_STP_STATE) != 0,
		ForwardDelay:  d.number(nl.IFLA_BR_FORWARD_DELAY) * 10, // USER_HZ is 100
		Priority:      d.number(nl.IFLA_BR_PRIORITY),
		VLANFiltering: d.number(nl.IFLA_BR_VLAN_FILTERING) != 0,
		DefaultVLAN:   d.number(nl.IFLA_BR_VLAN_DEFAULT_PVID),
	}
}

// Values of the kernel, with the names that ip-link(8) has for them.
var (
	vlanProtocols = map[string]string{"\x81\x00": "802.1Q", "\x88\xa8": "802.1ad"} // on the wire
	macvlanModes  = map[int64]string{1: "private", 2: "vepa", 4: "bridge", 8: "passthru", 16: "source"}
	tunTypes      = map[int64]string{unix.IFF_TUN: "tun", unix.IFF_TAP: "tap"}
	bondModes     = map[int64]string{0: "balance-rr", 1: "active-backup", 2: "balance-xor", 3: "broadcast", 4: "802.3ad", 5: "balance-tlb", 6: "balance-alb"}
	hashPolicies  = map[int64]string{0: "layer2", 1: "layer3+4", 2: "layer2+3", 3: "encap2+3", 4: "encap3+4", 5: "vlan+srcmac"}
)
