package handover_test

import (
	"slices"

	"github.com/victorinix/vic/envscan"
)

// machine is a network that the test builds in a network namespace, as the
// program that it is named for leaves it in the kernel.
type machine struct {
	name  string
	cards []string // interfaces that stand for network cards
	setup string   // of ip(8)
	dns   envscan.DNS
	// as makes of the facts what the kernel of the test does not have.
	as func(*envscan.Facts)
	// absent: links of kinds that the kernel of the test does not have are handed
	// over.
	absent bool
}

var resolver = envscan.DNS{Server: []string{"192.0.2.53", "2001:db8::53"}, Search: []string{"example.org"}}

var machines = []machine{
	{
		name: "dhcp-networkd", cards: []string{"e0"}, dns: resolver,
		setup: `
address add 192.0.2.7/24 dev e0 metric 1024 valid_lft 3600 preferred_lft 3600
route add default via 192.0.2.1 dev e0 proto dhcp src 192.0.2.7 metric 1024
route add 192.0.2.1 dev e0 proto dhcp scope link src 192.0.2.7 metric 1024
-6 address add 2001:db8:1:0:ff:fe00:1:7/64 dev e0 nodad noprefixroute valid_lft 3600 preferred_lft 3600
-6 address add 2001:db8:1::77/128 dev e0 nodad noprefixroute valid_lft 3600 preferred_lft 3600
-6 route add 2001:db8:1::/64 dev e0 proto ra metric 1024
-6 route add default via fe80::1 dev e0 proto ra metric 1024`,
	},
	{
		name: "dhcp-dhclient", cards: []string{"e0"}, dns: resolver,
		setup: `
address add 192.0.2.7/24 dev e0 valid_lft 3600 preferred_lft 3600
route add default via 192.0.2.1 dev e0
route add 10.0.0.0/8 via 192.0.2.9 dev e0`,
	},
	{
		name: "dhcp-networkmanager", cards: []string{"e0"}, dns: resolver,
		setup: `
address add 192.0.2.7/24 dev e0 noprefixroute valid_lft 3600 preferred_lft 3600
route add 192.0.2.0/24 dev e0 proto kernel scope link src 192.0.2.7 metric 100
route add default via 192.0.2.1 dev e0 proto dhcp src 192.0.2.7 metric 100
-6 address add 2001:db8:1::a1b2:c3d4:e5f6:789/64 dev e0 nodad noprefixroute valid_lft 3600 preferred_lft 3600
-6 route add 2001:db8:1::/64 dev e0 proto ra metric 100
-6 route add default via fe80::1 dev e0 proto ra metric 100`,
	},
	{
		name: "static-networkmanager", cards: []string{"e0"}, dns: resolver,
		setup: `
address add 192.0.2.7/24 dev e0 noprefixroute
route add 192.0.2.0/24 dev e0 proto kernel scope link src 192.0.2.7 metric 100
route add default via 192.0.2.1 dev e0 proto static metric 100`,
	},
	{
		name: "static-onlink", cards: []string{"e0"}, dns: resolver,
		setup: `
link set e0 mtu 1400
address add 192.0.2.7/29 dev e0
address add 192.0.2.65/32 dev e0
address add 10.7.0.1 peer 10.7.0.2/32 dev e0
-6 address add 2001:db8:1::7/64 dev e0 nodad
route add default via 198.51.100.1 dev e0 onlink mtu 1300
route add 10.20.0.0/16 via 10.7.0.2 dev e0 src 192.0.2.65
route add blackhole 10.30.0.0/16
-6 route add default via 2001:db8:ffff::1 dev e0 onlink metric 30
-6 route add unreachable 2001:db8:4::/48`,
	},
	{
		name: "host-address", cards: []string{"e0"}, dns: resolver,
		setup: `
address add 203.0.113.7/32 dev e0
route add 172.31.1.1 dev e0 scope link
route add default via 172.31.1.1 dev e0
-6 address add 2001:db8:1::1/128 dev e0 nodad
-6 route add 2001:db8:ff::1 dev e0
-6 route add default via 2001:db8:ff::1 dev e0`,
	},
	{
		name: "two-cards", cards: []string{"e0", "e1"}, dns: resolver,
		setup: `
address add 192.0.2.7/24 dev e0
address add 198.51.100.7/24 dev e1
-6 address add 2001:db8:2::7/64 dev e1 nodad
route add default via 192.0.2.1 dev e0 metric 100
route add default via 198.51.100.1 dev e1 metric 200
route add default via 192.0.2.1 dev e0 table 101
route add 192.0.2.0/24 dev e0 table 101 scope link
route add default via 198.51.100.1 dev e1 table 102
route add 10.9.0.0/16 nexthop via 192.0.2.1 dev e0 weight 3 nexthop via 198.51.100.1 dev e1
-6 route add default via fe80::1 dev e1 metric 1024
rule add priority 1000 from 192.0.2.7 lookup 101
rule add priority 1001 from 198.51.100.7 lookup 102
rule add priority 1002 iif e1 lookup 102
rule add priority 1003 not fwmark 0x1/0xff lookup 101 suppress_prefixlength 0
rule add priority 1004 from 10.66.0.0/16 prohibit
rule add priority 1005 ipproto tcp dport 53 lookup 102
rule add priority 1006 lookup 51820
-6 rule add priority 1000 to 2001:db8:9::/48 unreachable`,
	},
	{
		name: "bridge", cards: []string{"e0"}, dns: envscan.DNS{Server: []string{"127.0.0.53"}, Stub: true},
		setup: `
link add br0 address 02:00:00:00:00:01 type bridge forward_delay 0
link set br0 addrgenmode none
link set e0 master br0
link set br0 up
address add 192.0.2.7/24 dev br0
route add default via 192.0.2.1 dev br0
link add docker0 address 02:00:00:00:00:d0 type bridge
link add veth1 address 02:00:00:00:00:d1 type veth peer name pveth1
link set veth1 addrgenmode none
link set docker0 addrgenmode none
link set veth1 master docker0 up
link set docker0 up
address add 172.17.0.1/16 dev docker0
link add wg0 address 02:00:00:00:00:d2 type veth peer name pwg0
link set wg0 addrgenmode none
link set wg0 up
address add 10.99.0.1/24 dev wg0
route add 10.98.0.0/16 dev wg0
rule add priority 5210 lookup 52`,
		as: func(f *envscan.Facts) {
			l := link(f, "wg0")
			l.Kind, l.HWAddr = "wireguard", ""
		},
	},
	{
		name: "bond-vlan", absent: true, cards: []string{"e0", "e1", "e2"}, dns: resolver,
		setup: `
link add bond0 address 02:00:00:00:00:01 type bridge
link set bond0 addrgenmode none
link set bond0 mtu 1500
link set e0 master bond0
link set e1 master bond0
link set bond0 up
link add bond0.100 address 02:00:00:00:00:01 type veth peer name p100
link set bond0.100 addrgenmode none
link set bond0.100 up
link set p100 up
address add 192.0.2.7/24 dev bond0.100
-6 address add 2001:db8:1::7/64 dev bond0.100 nodad
route add default via 192.0.2.1 dev bond0.100
-6 route add default via 2001:db8:1::1 dev bond0.100`,
		as: func(f *envscan.Facts) {
			one := int64(100)
			b := link(f, "bond0")
			b.Kind, b.Mode, b.Bridge = "bond", "802.3ad", nil
			b.Bond = &envscan.Bond{Monitor: 100, UpDelay: 200, DownDelay: 200, LACP: "fast", Hash: "layer3+4", Select: "bandwidth", ARP: []string{}}
			v := link(f, "bond0.100")
			v.Kind, v.Lower, v.VLAN, v.Protocol = "vlan", "bond0", &one, "802.1Q"
			f.HW.NIC[1].Current = f.HW.NIC[0].Current // as a bond does
		},
	},
	{
		name: "ra-only", cards: []string{"e0"}, dns: envscan.DNS{Server: []string{"2001:db8:1::53", "fe80::1%e0"}},
		setup: `
-6 address add 2001:db8:1:0:0:ff:fe00:1/64 dev e0 nodad valid_lft 3600 preferred_lft 3600
-6 route add default via fe80::1 dev e0 proto ra metric 1024`,
		as: func(f *envscan.Facts) {
			for i := range f.Net.Address {
				f.Net.Address[i].From = "kernel_ra"
			}
		},
	},
}

func link(f *envscan.Facts, name string) *envscan.NetLink {
	i := slices.IndexFunc(f.Net.Links, func(l envscan.NetLink) bool { return l.Name == name })
	return &f.Net.Links[i]
}
