package network

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/netconf"
)

func nic(mac, path, driver string, port int64) netconf.NIC {
	return netconf.NIC{MAC: mac, Path: path, Driver: driver, Port: port}
}

func TestMatch(t *testing.T) {
	physical := func(name string, n netconf.NIC) netconf.Link {
		return netconf.Link{Name: name, Kind: netconf.Physical, NIC: &n}
	}
	at := func(index int, n netconf.NIC) seen { return seen{index: index, card: true, nic: n} }
	waited := func(s seen) seen { s.waited = true; return s }
	for _, tt := range []struct {
		name  string
		links []netconf.Link
		cards []seen
		known map[string]int
		want  map[string]int
	}{
		{"by MAC, in whatever case", []netconf.Link{physical("a", nic(macA, "", "", 0)), physical("b", nic(macB, "", "", 0))},
			[]seen{at(7, nic("02:00:00:00:00:0B", "pci-1", "e1000", 0)), at(8, nic(macA, "pci-2", "e1000", 1))}, nil, map[string]int{"a": 8, "b": 7}},
		{"what is no card is none", []netconf.Link{physical("a", nic(macA, "", "", 0))},
			[]seen{{index: 7, nic: nic(macA, "", "", 0)}}, nil, map[string]int{}},
		{"the virtual function comes first", []netconf.Link{physical("a", nic(macA, "vmbus-1", "hv_netvsc", 0))},
			[]seen{at(7, nic(macA, "pci-1", "mlx5_core", 0))}, nil, map[string]int{}},
		{"and then what it speeds up", []netconf.Link{physical("a", nic(macA, "vmbus-1", "hv_netvsc", 0))},
			[]seen{waited(at(7, nic(macA, "pci-1", "mlx5_core", 0))), at(8, nic(macA, "vmbus-1", "hv_netvsc", 0))}, nil, map[string]int{"a": 8}},
		{"nothing better came than the MAC", []netconf.Link{physical("a", nic(macA, "pci-1", "r8169", 0))},
			[]seen{waited(at(7, nic(macA, "pci-1", "r8168", 0)))}, nil, map[string]int{"a": 7}},
		{"by place", []netconf.Link{physical("a", nic("", "pci-1", "mlx4_en", 1))},
			[]seen{at(7, nic(macA, "pci-1", "mlx4_en", 0)), at(8, nic(macB, "pci-1", "mlx4_en", 1))}, nil, map[string]int{"a": 8}},
		{"by place that is not known", []netconf.Link{physical("a", nic("", "pci-1", "", 0))},
			[]seen{waited(at(7, nic(macA, "", "", 0)))}, nil, map[string]int{}},
		{"another MAC at the same place", []netconf.Link{physical("a", nic(macB, "pci-1", "e1000", 0))},
			[]seen{waited(at(7, nic(macA, "pci-1", "e1000", 0)))}, nil, map[string]int{}},
		{"one each", []netconf.Link{physical("a", nic("", "", "e1000", 0)), physical("b", nic("", "", "e1000", 0))},
			[]seen{at(7, nic(macA, "pci-1", "e1000", 0)), at(8, nic(macB, "pci-2", "e1000", 0))}, map[string]int{"b": 7}, map[string]int{"a": 8, "b": 7}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := match(tt.links, tt.cards, tt.known); !maps.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestNext(t *testing.T) {
	for _, tt := range []struct {
		name string
		want netconf.Link
		have seen
		o    others
		do   []step
	}{
		{"all is as it was", netconf.Link{Name: "a", Kind: netconf.Physical, MTU: 1500, MAC: macA}, seen{name: "a", mtu: 1500, mac: macA, up: true}, others{}, nil},
		{"everything, the name first and up last", netconf.Link{Name: "a", Kind: netconf.Physical, MTU: 9000, MAC: macB},
			seen{name: "eth0", mtu: 1500, mac: macA}, others{nameFree: true},
			[]step{{do: rename, name: "a"}, {do: setMAC, mac: macB}, {do: setMTU, to: 9000}, {do: setUp}}},
		{"the name is another's", netconf.Link{Name: "a", Kind: netconf.Physical}, seen{name: "eth0"}, others{}, []step{{do: setUp}}},
		{"it is up already", netconf.Link{Name: "a", Kind: netconf.Physical}, seen{name: "eth0", up: true}, others{nameFree: true}, nil},
		{"a port waits for its bond", netconf.Link{Name: "a", Kind: netconf.Physical, Master: "bond0"}, seen{name: "a"}, others{masterKind: netconf.Bond}, nil},
		{"a port of a bond has MAC and MTU from it, which sets it up", netconf.Link{Name: "a", Kind: netconf.Physical, Master: "bond0", MAC: macB, MTU: 9000},
			seen{name: "a", mac: macA, mtu: 1500}, others{masterKind: netconf.Bond, master: 9}, []step{{do: setMaster, to: 9}}},
		{"a port of a bond that leaves the MACs", netconf.Link{Name: "a", Kind: netconf.Physical, Master: "bond0", MAC: macB},
			seen{name: "a", mac: macA}, others{masterKind: netconf.Bond, master: 9, failMAC: "active"}, []step{{do: setMAC, mac: macB}, {do: setMaster, to: 9}}},
		{"a port that was tried on its own", netconf.Link{Name: "a", Kind: netconf.Physical, Master: "bond0"},
			seen{name: "eth0", up: true}, others{masterKind: netconf.Bond, master: 9, nameFree: true}, []step{{do: setDown}, {do: rename, name: "a"}, {do: setMaster, to: 9}}},
		{"a port that fell down", netconf.Link{Name: "a", Kind: netconf.Physical, Master: "bond0"},
			seen{name: "a", master: 9}, others{masterKind: netconf.Bond, master: 9}, []step{{do: setUp}}},
		{"a port of a bridge", netconf.Link{Name: "a", Kind: netconf.Physical, Master: "br0"},
			seen{name: "a"}, others{masterKind: netconf.Bridge, master: 9}, []step{{do: setMaster, to: 9}, {do: setUp}}},
		{"the bridge is not there yet", netconf.Link{Name: "a", Kind: netconf.Physical, Master: "br0"},
			seen{name: "a"}, others{masterKind: netconf.Bridge}, []step{{do: setUp}}},
		{"a VLAN waits for what it stands on", netconf.Link{Name: "v", Kind: netconf.VLAN, MTU: 1400}, seen{name: "v", mtu: 1500}, others{}, []step{{do: setMTU, to: 1400}}},
		{"and comes up then", netconf.Link{Name: "v", Kind: netconf.VLAN}, seen{name: "v"}, others{lowerUp: true}, []step{{do: setUp}}},
		{"a bond chooses", netconf.Link{Name: "b", Kind: netconf.Bond}, seen{name: "b", up: true, primary: 3}, others{primary: 4}, []step{{do: setPrimary, to: 4}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.do, next(tt.want, tt.have, tt.o), cmp.AllowUnexported(step{}), cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestServed(t *testing.T) {
	addrs := func(list ...netconf.Address) []netconf.Address { return list }
	for _, tt := range []struct {
		name string
		conf netconf.Config
		want []string
	}{
		{"a global address", netconf.Config{Addresses: addrs(netconf.Address{Link: "a", Address: "fe80::1/64"}, netconf.Address{Link: "b", Address: "10.0.0.1/8"})}, []string{"b"}},
		{"one that asks", netconf.Config{Links: []netconf.Link{{Name: "c", DHCP4: true}, {Name: "d"}}}, []string{"c"}},
		{"of the link only", netconf.Config{Addresses: addrs(netconf.Address{Link: "a", Address: "fe80::1/64"})}, []string{"a"}},
		{"of the link only by its scope", netconf.Config{Addresses: addrs(netconf.Address{Link: "a", Address: "10.0.0.1/8", Scope: "link"}, netconf.Address{Link: "b", Address: "10.0.0.2/8"})}, []string{"b"}},
		{"of no use", netconf.Config{}, nil},
	} {
		if got := slices.Sorted(maps.Keys(served(tt.conf))); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestPatience(t *testing.T) {
	bridge := func(b netconf.BridgeConfig) netconf.Config {
		return netconf.Config{Links: []netconf.Link{{Name: "br0", Bridge: &b}}}
	}
	for _, tt := range []struct {
		conf netconf.Config
		want time.Duration
	}{
		{netconf.Config{}, 0},
		{netconf.Config{Links: []netconf.Link{{Name: "a"}}}, 30 * time.Second},
		{bridge(netconf.BridgeConfig{ForwardDelay: 4000}), 30 * time.Second},
		{bridge(netconf.BridgeConfig{STP: true, ForwardDelay: 4000}), 38 * time.Second},
		{bridge(netconf.BridgeConfig{STP: true}), 60 * time.Second},
	} {
		if got := patience(tt.conf, 30*time.Second); got != tt.want {
			t.Errorf("%+v: got %v, want %v", tt.conf, got, tt.want)
		}
	}
}

func TestOrdered(t *testing.T) {
	via := netconf.Route{Destination: "default", Gateway: "10.0.0.1", Link: "a"}
	onLink := netconf.Route{Destination: "10.1.0.0/16", Gateway: "10.0.0.2", Link: "a", OnLink: true}
	hops := netconf.Route{Destination: "10.2.0.0/16", Hops: []netconf.Hop{{Gateway: "10.0.0.1", Link: "a"}, {Link: "b"}}}
	direct := netconf.Route{Destination: "10.0.0.1/32", Link: "a"}
	if d := cmp.Diff([]netconf.Route{direct, onLink, via, hops}, ordered([]netconf.Route{via, hops, onLink, direct})); d != "" {
		t.Error(d)
	}
	if got := linksOf(hops); !slices.Equal(got, []string{"a", "b"}) {
		t.Error(got)
	}
}

func TestBeside(t *testing.T) {
	ra := map[string]bool{"a": true}
	for _, tt := range []struct {
		route netconf.Route
		want  int64
	}{
		{netconf.Route{Family: "ipv6", Link: "a", Metric: 1024, Dynamic: true}, 1025},
		{netconf.Route{Family: "ipv6", Link: "a", Dynamic: true}, 1025},
		{netconf.Route{Family: "ipv6", Link: "a", Metric: 100, Dynamic: true}, 100},
		{netconf.Route{Family: "ipv6", Link: "a", Metric: 1024}, 1024},
		{netconf.Route{Family: "ipv6", Link: "b", Metric: 1024, Dynamic: true}, 1024},
		{netconf.Route{Family: "ipv4", Link: "a", Metric: 1024, Dynamic: true}, 1024},
	} {
		if got := beside(tt.route, ra); got.Metric != tt.want {
			t.Errorf("%+v: got %d, want %d", tt.route, got.Metric, tt.want)
		}
	}
}

func TestFreeName(t *testing.T) {
	if got := freeName(map[string]seen{"nic0": {}}, []netconf.Link{{Name: "nic1"}}); got != "nic2" {
		t.Error(got)
	}
}

// What a mode does not know is left out: the kernel would refuse the bond.
func TestBondOfMode(t *testing.T) {
	all := netconf.BondConfig{Monitor: 100, UpDelay: 200, LACP: "fast", Hash: "layer3+4", Select: "count", FailMAC: "follow",
		ARP: []string{"192.0.2.1"}, ARPInterval: 500}
	for _, tt := range []struct {
		name   string
		change func(*netconf.BondConfig)
		want   func(*netlink.Bond)
	}{
		{"802.3ad", func(c *netconf.BondConfig) { c.Mode = "802.3ad" }, func(b *netlink.Bond) {
			b.Mode, b.Miimon, b.UpDelay, b.LacpRate, b.AdSelect = netlink.BOND_MODE_802_3AD, 100, 200, netlink.BOND_LACP_RATE_FAST, netlink.BOND_AD_SELECT_COUNT
		}},
		{"active-backup", func(c *netconf.BondConfig) { c.Mode = "active-backup" }, func(b *netlink.Bond) {
			b.Mode, b.Miimon, b.UpDelay, b.FailOverMac = netlink.BOND_MODE_ACTIVE_BACKUP, 100, 200, netlink.BOND_FAIL_OVER_MAC_FOLLOW
		}},
		{"ARP", func(c *netconf.BondConfig) { c.Mode, c.Monitor = "balance-rr", 0 }, func(b *netlink.Bond) {
			b.Mode, b.ArpInterval = netlink.BOND_MODE_BALANCE_RR, 500
		}},
		{"ARP where it cannot be", func(c *netconf.BondConfig) { c.Mode, c.Monitor = "balance-alb", 0 }, func(b *netlink.Bond) {
			b.Mode = netlink.BOND_MODE_BALANCE_ALB
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, want := all, netlink.NewLinkBond(netlink.LinkAttrs{})
			tt.change(&c)
			want.XmitHashPolicy = netlink.BOND_XMIT_HASH_POLICY_LAYER3_4
			tt.want(want)
			got, err := bond(netlink.LinkAttrs{}, netconf.Link{Bond: &c})
			if err != nil {
				t.Fatal(err)
			}
			if (len(got.ArpIpTargets) == 1) != (want.ArpInterval > 0) {
				t.Error(got.ArpIpTargets)
			}
			got.ArpIpTargets = nil
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestVirtualRefuses(t *testing.T) {
	for _, l := range []netconf.Link{
		{Kind: netconf.Bond}, {Kind: netconf.Bond, Bond: &netconf.BondConfig{Mode: "fast"}},
		{Kind: netconf.Bond, Bond: &netconf.BondConfig{Mode: "balance-rr", ARPInterval: 1, ARP: []string{"::1"}}},
		{Kind: netconf.VLAN, Protocol: "802.1X"}, {Kind: "macsec"}, {Kind: netconf.Bridge, MAC: "x"},
	} {
		if v, err := virtual(l, "x", 1); err == nil {
			t.Errorf("%+v: got %+v", l, v)
		}
	}
}

func TestWireRefuses(t *testing.T) {
	index := func(string) int { return 1 }
	for _, r := range []netconf.Route{
		{Family: "ipv4", Destination: "2001:db8::/32"}, {Family: "ipv6", Destination: "default", Gateway: "192.0.2.1"},
		{Family: "ipv4", Destination: "10.0.0.0"}, {Family: "ipv4", Destination: "default", Type: "nat"}, {Family: "ipv4", Scope: "site"},
		{Family: "ipv4", Source: "::1"}, {Family: "ipv4", Hops: []netconf.Hop{{Gateway: "x"}}},
	} {
		if _, err := routeParts(r, index, false); err == nil {
			t.Errorf("%+v is a route", r)
		}
	}
	for _, r := range []netconf.Rule{{Family: "ipv4", From: "::/0"}, {Family: "ipv4", Mark: "red"}, {Family: "ipv4", Mark: "1/x"}, {Action: "goto"}} {
		if _, err := ruleParts(r, func(s string) string { return s }); err == nil {
			t.Errorf("%+v is a rule", r)
		}
	}
	for _, a := range []netconf.Address{{Address: "192.0.2.1"}, {Address: "192.0.2.1/32", Peer: "x"}, {Address: "192.0.2.1/32", Scope: "site"}} {
		if _, err := addressParts(a, 1); err == nil {
			t.Errorf("%+v is an address", a)
		}
	}
}

func TestLast(t *testing.T) {
	for network, want := range map[string]string{"192.0.2.7/24": "192.0.2.255", "10.1.2.3/8": "10.255.255.255", "192.0.2.5/30": "192.0.2.7", "0.0.0.0/0": "255.255.255.255"} {
		if got := last(netip.MustParsePrefix(network)); got.String() != want {
			t.Errorf("%s: got %v, want %s", network, got, want)
		}
	}
}

func TestHandedDNS(t *testing.T) {
	got := resolvConf([]Lease{handedDNS(netconf.DNS{Servers: []string{"127.0.0.53", "::1", "192.0.2.1", "x", "2001:db8::1"}, Search: []string{"a.example", "b\nc"}})})
	if want := "nameserver 192.0.2.1\nnameserver 2001:db8::1\nsearch a.example\n"; got != want {
		t.Errorf("got %q", got)
	}
}

// A dump that other changes interrupt is repeated, but not for ever.
func TestDump(t *testing.T) {
	calls := 0
	list, err := dump(func() ([]int, error) {
		if calls++; calls < 3 {
			return nil, nl.ErrDumpInterrupted
		}
		return []int{1}, nil
	})
	if len(list) != 1 || err != nil || calls != 3 {
		t.Error(list, err, calls)
	}
	if _, err := dump(func() ([]int, error) { return nil, nl.ErrDumpInterrupted }); err == nil {
		t.Error("no error")
	}
	if _, err := dump(func() ([]int, error) { calls++; return nil, unix.EPERM }); err == nil || calls != 4 {
		t.Error(err, calls)
	}
}

func TestNeeds6(t *testing.T) {
	for _, tt := range []struct {
		conf netconf.Config
		want bool
	}{
		{netconf.Config{Links: []netconf.Link{{DHCP4: true}}, Addresses: []netconf.Address{{Address: "192.0.2.1/24"}}}, false},
		{netconf.Config{Links: []netconf.Link{{RA: true}}}, true},
		{netconf.Config{Addresses: []netconf.Address{{Address: "fe80::1/64"}}}, true},
	} {
		if got := needs6(tt.conf); got != tt.want {
			t.Errorf("%+v: got %v", tt.conf, got)
		}
	}
}

func TestTexts(t *testing.T) {
	for got, want := range map[string]string{
		routeText(netconf.Route{Family: "ipv4", Destination: "default", Gateway: "192.0.2.1", Link: "a", Metric: 5, Table: 7}):              "ipv4 route to default via 192.0.2.1 by a with metric 5 in table 7",
		routeText(netconf.Route{Family: "ipv6", Destination: "::/0", From: "2001:db8::/32", Hops: []netconf.Hop{{Link: "a"}, {Link: "b"}}}): "ipv6 route to ::/0 from 2001:db8::/32 by a, b",
		ruleText(netconf.Rule{Family: "ipv4", Priority: 9, From: "10.0.0.0/8", Mark: "0x1"}):                                                "ipv4 rule 9 from 10.0.0.0/8 with mark 0x1",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
