package netconf_test

import (
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/netconf"
)

func TestValidate(t *testing.T) {
	type change func(*netconf.Config)
	link := func(i int, f func(*netconf.Link)) change {
		return func(c *netconf.Config) { f(&c.Links[i]) }
	}
	route := func(r netconf.Route) change {
		return func(c *netconf.Config) { c.Routes = []netconf.Route{r} }
	}
	rule := func(r netconf.Rule) change {
		return func(c *netconf.Config) { c.Rules = []netconf.Rule{r} }
	}
	address := func(a netconf.Address) change {
		return func(c *netconf.Config) { c.Addresses = append(c.Addresses, a) }
	}
	dns := func(d netconf.DNS) change { return func(c *netconf.Config) { c.DNS = d } }
	big := int64(129)
	const eth0, eth2, bond0, bond1, vlan, br0 = 0, 2, 5, 6, 7, 9
	for _, tt := range []struct {
		name   string
		change change
		want   string
	}{
		{"empty", func(c *netconf.Config) { *c = netconf.Config{} }, ""},
		{"everything", func(*netconf.Config) {}, ""},

		{"pattern as a name", link(vlan, func(l *netconf.Link) { l.Name = "bond*" }), `"bond*" is no name of an interface`},
		{"newline in a name", link(vlan, func(l *netconf.Link) { l.Name = "a\nb" }), "is no name of an interface"},
		{"long name", link(vlan, func(l *netconf.Link) { l.Name = "abcdefghijklmnop" }), "is no name of an interface"},
		{"loopback", link(vlan, func(l *netconf.Link) { l.Name = "lo" }), "is no name of an interface"},
		{"twice", link(1, func(l *netconf.Link) { l.Name = "eth0" }), "link eth0: it is there twice"},
		{"MAC", link(eth0, func(l *netconf.Link) { l.MAC = "02:00" }), `MAC "02:00" must be written like`},
		{"upper case", link(eth0, func(l *netconf.Link) { l.NIC.MAC = "AA:00:00:00:00:01" }), "must be written like"},
		{"group", link(eth0, func(l *netconf.Link) { l.MAC = "03:00:00:00:00:01" }), "MAC 03:00:00:00:00:01 is of no single interface"},
		{"zero", link(eth0, func(l *netconf.Link) { l.MAC = "00:00:00:00:00:00" }), "is of no single interface"},
		{"MTU", link(eth0, func(l *netconf.Link) { l.MTU = 60 }), "MTU 60 must be"},
		{"kind", link(eth0, func(l *netconf.Link) { l.Kind = "team" }), `unknown kind "team"`},
		{"no card", link(eth0, func(l *netconf.Link) { l.NIC = nil }), "nothing says which network card it is"},
		{"any card", link(eth0, func(l *netconf.Link) { l.NIC = &netconf.NIC{} }), "nothing says which network card it is"},
		{"the same card", link(1, func(l *netconf.Link) { l.NIC = &netconf.NIC{MAC: "02:00:00:00:00:01"} }), "link eth1: it is the same network card as eth0"},
		{"path", link(1, func(l *netconf.Link) { l.NIC.Path = "pci-*" }), `bus path "pci-*"`},
		{"driver", link(1, func(l *netconf.Link) { l.NIC.Driver = "a b" }), `driver "a b"`},
		{"card of a bond", link(bond0, func(l *netconf.Link) { l.NIC = &netconf.NIC{MAC: "02:00:00:00:00:09"} }), "if and only if"},
		{"no master", link(eth2, func(l *netconf.Link) { l.Master = "bond9" }), `no link "bond9" to be a port of`},
		{"port of a card", link(eth2, func(l *netconf.Link) { l.Master = "eth3" }), "eth3 is no bond and no bridge"},
		{"port of an earlier link", link(br0, func(l *netconf.Link) { l.Master = "bond1" }), "link br0: bond1, which it is a port of, must come after it"},
		{"port of itself", link(br0, func(l *netconf.Link) { l.Master = "br0" }), "must come after it"},
		{"asking port", link(eth2, func(l *netconf.Link) { l.DHCP4 = true }), "a port of bond0 cannot ask for addresses"},
		{"VLAN on nothing", link(vlan, func(l *netconf.Link) { l.Lower = "" }), `"", which it stands on, must come before it`},
		{"VLAN on itself", link(vlan, func(l *netconf.Link) { l.Lower = "bond0.7" }), `"bond0.7", which it stands on, must come before it`},
		{"VLANs on each other", link(vlan, func(l *netconf.Link) { l.Lower = "inner" }), `"inner", which it stands on, must come before it`},
		{"VLAN ID", link(vlan, func(l *netconf.Link) { l.ID = 4095 }), "VLAN 4095 must be from 0 to 4094"},
		{"VLAN protocol", link(vlan, func(l *netconf.Link) { l.Protocol = "QinQ" }), `protocol "QinQ" must be one of`},
		{"ID of a bridge", link(br0, func(l *netconf.Link) { l.ID = 7 }), "settings of a VLAN on a link that is none"},
		{"bond on a bridge", link(br0, func(l *netconf.Link) { l.Bond = &netconf.BondConfig{} }), "settings of a bond on a link that is none"},
		{"bridge on a bond", link(bond0, func(l *netconf.Link) { l.Bridge = &netconf.BridgeConfig{} }), "settings of a bridge on a link that is none"},
		{"no mode", link(bond0, func(l *netconf.Link) { l.Bond = nil }), "the bond has no mode"},
		{"mode", link(bond0, func(l *netconf.Link) { l.Bond.Mode = "best" }), `mode "best" must be one of`},
		{"hash", link(bond1, func(l *netconf.Link) { l.Bond.Hash = "layer4\nx" }), "hashPolicy"},
		{"rate", link(bond1, func(l *netconf.Link) { l.Bond.LACP = "x" }), "lacpRate"},
		{"select", link(bond1, func(l *netconf.Link) { l.Bond.Select = "x" }), "adSelect"},
		{"fail over", link(bond0, func(l *netconf.Link) { l.Bond.FailMAC = "x" }), "failOverMAC"},
		{"delay", link(bond1, func(l *netconf.Link) { l.Bond.UpDelay = -1 }), "upDelay -1"},
		{"both monitors", link(bond0, func(l *netconf.Link) { l.Bond.Monitor = 1 }), "not both"},
		{"ARP without an interval", link(bond0, func(l *netconf.Link) { l.Bond.ARPInterval = 0 }), "arp must be 1 to 16"},
		{"ARP of IPv6", link(bond0, func(l *netconf.Link) { l.Bond.ARP[0] = "::1" }), `"::1" is no IPv4 address`},
		{"primary", link(bond0, func(l *netconf.Link) { l.Bond.Primary = "eth0" }), `primary "eth0" is no port of it`},
		{"bridge priority", link(br0, func(l *netconf.Link) { l.Bridge.Priority = 65536 }), "priority 65536"},
		{"bridge VLAN", link(br0, func(l *netconf.Link) { l.Bridge.DefaultVLAN = 4095 }), "4095"},

		{"address of no link", address(netconf.Address{Link: "x", Address: "192.0.2.1/24"}), `address 192.0.2.1/24 of x: no link "x"`},
		{"no prefix", address(netconf.Address{Link: "eth0", Address: "192.0.2.1"}), "address 192.0.2.1 of eth0"},
		{"any address", address(netconf.Address{Link: "eth0", Address: "0.0.0.0/0"}), "no address of one machine"},
		{"multicast", address(netconf.Address{Link: "eth0", Address: "ff02::1/64"}), "no address of one machine"},
		{"peer of the other family", address(netconf.Address{Link: "eth0", Address: "192.0.2.1/32", Peer: "2001:db8::1/128"}), "peer 2001:db8::1/128 is not of the family ipv4"},
		{"scope", address(netconf.Address{Link: "eth0", Address: "192.0.2.1/32", Scope: "site"}), `scope "site"`},
		{"address metric", address(netconf.Address{Link: "eth0", Address: "192.0.2.1/32", Metric: 1 << 32}), "metric 4294967296"},
		{"address twice", address(netconf.Address{Link: "br0", Address: "10.3.0.1/24"}), "address 10.3.0.1/24 of br0: it is there twice"},

		{"route family", route(netconf.Route{Family: "inet", Destination: "default", Link: "eth0"}), `family "inet"`},
		{"host bits", route(netconf.Route{Family: "ipv4", Destination: "10.0.0.1/8", Link: "eth0"}), "destination 10.0.0.1/8 must be 10.0.0.0/8"},
		{"other family", route(netconf.Route{Family: "ipv4", Destination: "2001:db8::/64", Link: "eth0"}), "not of the family ipv4"},
		{"no destination", route(netconf.Route{Family: "ipv4", Link: "eth0"}), "destination"},
		{"route without a link", route(netconf.Route{Family: "ipv4", Destination: "default", Gateway: "192.0.2.1"}), `route default via 192.0.2.1: no link ""`},
		{"route by no link", route(netconf.Route{Family: "ipv4", Destination: "default", Link: "x"}), `route default dev x: no link "x"`},
		{"IPv4 gateway of IPv6", route(netconf.Route{Family: "ipv6", Destination: "default", Gateway: "192.0.2.1", Link: "eth0"}), "gateway 192.0.2.1 is not of the family ipv6"},
		{"gateway with a zone", route(netconf.Route{Family: "ipv6", Destination: "default", Gateway: "fe80::1%eth0", Link: "eth0"}), "is no address of one machine"},
		{"on the link without a gateway", route(netconf.Route{Family: "ipv4", Destination: "default", Link: "eth0", OnLink: true}), "only a gateway can be on the link"},
		{"two ways", route(netconf.Route{Family: "ipv4", Destination: "default", Link: "eth0", Hops: []netconf.Hop{{Gateway: "192.0.2.1", Link: "eth0"}}}), "has none of its own"},
		{"hop without a gateway", route(netconf.Route{Family: "ipv4", Destination: "default", Hops: []netconf.Hop{{Link: "eth0"}}}), "must have a gateway"},
		{"weight", route(netconf.Route{Family: "ipv4", Destination: "default", Hops: []netconf.Hop{{Gateway: "192.0.2.1", Link: "eth0", Weight: 257}}}), "weight 257"},
		{"blackhole with a link", route(netconf.Route{Family: "ipv4", Destination: "default", Link: "eth0", Type: "blackhole"}), "a route of the type blackhole leads nowhere"},
		{"type", route(netconf.Route{Family: "ipv4", Destination: "default", Type: "local"}), `type "local"`},
		{"table local", route(netconf.Route{Family: "ipv4", Destination: "default", Link: "eth0", Table: 255}), "the kernel's own"},
		{"scope of IPv6", route(netconf.Route{Family: "ipv6", Destination: "default", Link: "eth0", Scope: "link"}), "IPv6 knows no scope"},
		{"from of IPv4", route(netconf.Route{Family: "ipv4", Destination: "default", Link: "eth0", From: "10.0.0.0/8"}), "only routes of IPv6"},
		{"source", route(netconf.Route{Family: "ipv4", Destination: "default", Link: "eth0", Source: "10.0.0.1/32"}), "source"},
		{"route metric", route(netconf.Route{Family: "ipv4", Destination: "default", Link: "eth0", Metric: -1}), "metric -1"},
		{"route MTU", route(netconf.Route{Family: "ipv4", Destination: "default", Link: "eth0", MTU: 70000}), "MTU 70000"},

		{"rule family", rule(netconf.Rule{}), `rule 0: family ""`},
		{"rule from", rule(netconf.Rule{Family: "ipv4", From: "2001:db8::/64"}), "from 2001:db8::/64 is not of the family"},
		{"rule to", rule(netconf.Rule{Family: "ipv6", To: "2001:db8::1/64"}), "to 2001:db8::1/64 must be"},
		{"rule in", rule(netconf.Rule{Family: "ipv4", In: "x"}), `no link "x"`},
		{"rule out", rule(netconf.Rule{Family: "ipv4", Out: "x"}), `no link "x"`},
		{"mark of zero", rule(netconf.Rule{Family: "ipv4", Mark: "0x0/0x1"}), `mark "0x0/0x1"`},
		{"mark", rule(netconf.Rule{Family: "ipv4", Mark: "0x1\nTable=1"}), "mark"},
		{"TOS", rule(netconf.Rule{Family: "ipv4", TOS: 256}), "tos 256"},
		{"action", rule(netconf.Rule{Family: "ipv4", Action: "goto"}), `action "goto"`},
		{"table of a blackhole", rule(netconf.Rule{Family: "ipv4", Action: "blackhole", Table: 3}), "asks no table"},
		{"suppress", rule(netconf.Rule{Family: "ipv4", Suppress: &big}), "suppress 129"},

		{"DNS server", dns(netconf.DNS{Servers: []string{"dns.example.org"}}), "DNS: server"},
		{"DNS zone", dns(netconf.DNS{Servers: []string{"fe80::1%x"}}), `DNS: no link "x"`},
		{"DNS search", dns(netconf.DNS{Search: []string{"a b"}}), `"a b" is no domain`},
		{"DNS search with a line", dns(netconf.DNS{Search: []string{"a\nDNS=192.0.2.1"}}), "is no domain"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := everything(t)
			tt.change(&c)
			err := c.Validate()
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// Everything that is wrong is reported, not the first of it.
func TestValidateAll(t *testing.T) {
	c := everything(t)
	c.Links[0].MTU, c.Addresses[0].Link, c.Routes[0].Family, c.Rules[0].TOS, c.DNS.Search[0] = 1, "x", "", -1, "-"
	err := c.Validate()
	for _, want := range []string{"MTU 1 must", `no link "x"`, `family ""`, "tos -1", `"-" is no domain`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
