package network

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/victorinix/vic/internal/netconf"
)

const (
	macA = "02:00:00:00:00:0a"
	macB = "02:00:00:00:00:0b"
	macC = "02:00:00:00:00:0c"
)

func TestStatic(t *testing.T) {
	namespace(t, func(t *testing.T) {
		p := newPeer(t)
		p.cable("eth0", macA, "out")
		p.cable("eth1", macB, "other")
		p.sh(`ip address add 172.16.0.1/32 dev out; ip address add fe80::1/64 dev out nodad
			ip address add 2001:db8:f::1/128 dev out nodad
			ip route add 192.0.2.7 dev out; ip route add 2001:db8::7 dev out`)
		n, r := start(t, netconf.Config{
			Links: []netconf.Link{{Name: "lan", Kind: netconf.Physical, NIC: &netconf.NIC{MAC: macA, Driver: "veth"}, MTU: 1400}},
			Addresses: []netconf.Address{
				{Link: "lan", Address: "192.0.2.7/32"},
				{Link: "lan", Address: "2001:db8::7/128"},
				{Link: "lan", Address: "198.51.100.7/24", NoRoute: true, Dynamic: true},
				{Link: "lan", Address: "203.0.113.7/24", Metric: 500},
				{Link: "lan", Address: "10.7.0.1/32", Peer: "10.7.0.2/32", Scope: "link"},
			},
			Routes: []netconf.Route{
				{Family: "ipv4", Destination: "default", Gateway: "172.16.0.1", Link: "lan", OnLink: true, Source: "192.0.2.7", MTU: 1300},
				{Family: "ipv6", Destination: "default", Gateway: "2001:db8:f::1", Link: "lan", Metric: 30},
				{Family: "ipv6", Destination: "2001:db8:f::1/128", Link: "lan"},
				{Family: "ipv4", Destination: "10.1.0.0/16", Gateway: "172.16.0.9", Link: "lan"},
				{Family: "ipv4", Destination: "10.2.0.0/16", Type: "blackhole"},
				{Family: "ipv6", Destination: "2001:db8:2::/48", From: "2001:db8::/64", Gateway: "fe80::1", Link: "lan"},
			},
			DNS: netconf.DNS{Servers: []string{"127.0.0.53", "192.0.2.53", "2001:db8::53"}, Search: []string{"example.org"}},
		})
		online(t, n)
		p.reach("192.0.2.7")
		p.reach("2001:db8::7")
		must(t, "address show dev lan", "192.0.2.7/32", "2001:db8::7/128", "198.51.100.7/24", "203.0.113.7/24 metric 500 brd 203.0.113.255", "10.7.0.1 peer 10.7.0.2/32 scope link")
		must(t, "route", "default via 172.16.0.1 dev lan proto static src 192.0.2.7 onlink mtu 1300", "blackhole 10.2.0.0/16",
			"10.1.0.0/16 via 172.16.0.9 dev lan proto static onlink", "203.0.113.0/24 dev lan proto kernel scope link src 203.0.113.7 metric 500")
		must(t, "-6 route", "default via 2001:db8:f::1 dev lan proto static metric 30", "2001:db8:2::/48 from 2001:db8::/64 via fe80::1 dev lan")
		if routes := shown(t, "route"); strings.Contains(routes, "198.51.100.0/24") {
			t.Errorf("an address without a route has one:\n%s", routes)
		}
		all := links(t)
		if l := all["lan"]; l.MTU != 1400 || l.MAC != macA {
			t.Errorf("%+v", l)
		}
		if slices.Contains(all["eth1"].Flags, "UP") {
			t.Errorf("a card that was not handed over is up: %+v", all["eth1"])
		}
		text, err := os.ReadFile(n.cfg.ResolvConf)
		if want := "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.org\n"; err != nil || string(text) != want {
			t.Errorf("%v %q", err, text)
		}
		if len(r.errors()) > 0 || len(r.all()) != 5 || r.all()[0].String() != "lan 192.0.2.7/32 via 172.16.0.1, as before" {
			t.Errorf("%q %v", r.errors(), r.all())
		}
		if len(n.Leases()) != 0 {
			t.Errorf("no lease was given, and yet: %v", n.Leases())
		}
		// What is taken away comes back.
		ip(t, "address del 192.0.2.7/32 dev lan\naddress del 2001:db8::7/128 dev lan")
		eventually(t, "the addresses and the route are back", func() bool {
			return hasLine(shown(t, "route"), "default via 172.16.0.1 dev lan proto static src 192.0.2.7") && hasLine(shown(t, "address"), "2001:db8::7/128")
		})
	})
}

// Names collide: what was eth0 is eth1 now, and the other way round; a third
// card has the name of a bridge.
func TestNames(t *testing.T) {
	namespace(t, func(t *testing.T) {
		p := newPeer(t)
		p.cable("eth0", macB, "tob")
		p.cable("eth1", macA, "toa")
		p.cable("br0", macC, "toc")
		n, _ := start(t, netconf.Config{
			Links: []netconf.Link{card("eth0", macA), card("eth1", macB),
				{Name: "br0", Kind: netconf.Bridge, MAC: "02:00:00:00:00:bb", Bridge: &netconf.BridgeConfig{ForwardDelay: 4000, Priority: 4096}}},
			Addresses: []netconf.Address{{Link: "eth0", Address: "192.0.2.1/24"}, {Link: "eth1", Address: "198.51.100.1/24"}},
		})
		online(t, n)
		eventually(t, "the names are those of before", func() bool {
			all := links(t)
			return all["eth0"].MAC == macA && all["eth1"].MAC == macB && all["br0"].Info.Kind == "bridge" && all["br0"].MAC == "02:00:00:00:00:bb"
		})
		must(t, "address", "eth0 inet 192.0.2.1/24", "eth1 inet 198.51.100.1/24")
		must(t, "-d link show dev br0", "forward_delay 400", "priority 4096")
	})
}

// A card whose name cannot be had, as the one that has it is up.
func TestNameTaken(t *testing.T) {
	namespace(t, func(t *testing.T) {
		p := newPeer(t)
		p.cable("eth0", macB, "tob")
		p.cable("eth1", macA, "toa")
		ip(t, "link set eth0 up")
		n, r := start(t, netconf.Config{
			Links:     []netconf.Link{card("eth0", macA)},
			Addresses: []netconf.Address{{Link: "eth0", Address: "192.0.2.1/24"}},
			Routes:    []netconf.Route{{Family: "ipv4", Destination: "default", Gateway: "192.0.2.9", Link: "eth0"}},
			Rules:     []netconf.Rule{{Family: "ipv4", Priority: 7, In: "eth0", Table: 254}},
		})
		online(t, n)
		must(t, "address", "eth1 inet 192.0.2.1/24")
		must(t, "route", "default via 192.0.2.9 dev eth1")
		eventually(t, "the rule has the name that there is", func() bool { return hasLine(shown(t, "rule"), "7: from all iif eth1 lookup main") })
		if len(r.errors()) > 0 {
			t.Error(r.errors())
		}
	})
}

// Drivers find cards while this runs, in any order.
func TestLate(t *testing.T) {
	namespace(t, func(t *testing.T) {
		p := newPeer(t)
		n, r := start(t, netconf.Config{
			Links:     []netconf.Link{card("a", macA), card("b", macB), {Name: "br0", Kind: netconf.Bridge}},
			Addresses: []netconf.Address{{Link: "a", Address: "192.0.2.1/24"}, {Link: "b", Address: "198.51.100.1/24"}},
			Routes: []netconf.Route{
				{Family: "ipv4", Destination: "default", Hops: []netconf.Hop{
					{Gateway: "192.0.2.9", Link: "a", Weight: 3}, {Gateway: "198.51.100.9", Link: "b"}}},
				{Family: "ipv4", Destination: "10.0.0.0/8", Gateway: "192.0.2.9", Link: "a", Source: "198.51.100.1"},
				{Family: "ipv6", Destination: "2001:db8:9::/48", Hops: []netconf.Hop{{Gateway: "fe80::9", Link: "a", Weight: 2}, {Gateway: "fe80::9", Link: "b"}}},
				{Family: "ipv4", Destination: "10.9.0.0/16", Gateway: "fe80::9", Link: "b"},
			},
		})
		time.Sleep(50 * time.Millisecond)
		p.cable("eth0", macB, "tob")
		online(t, n)
		must(t, "address", "b inet 198.51.100.1/24")
		p.cable("eth0", macA, "toa")
		eventually(t, "the routes over both", func() bool {
			routes := strings.Join(strings.Fields(shown(t, "route")), " ")
			return strings.Contains(routes, `default proto static \ nexthop via 192.0.2.9 dev a weight 3 \ nexthop via 198.51.100.9 dev b weight 1`) &&
				strings.Contains(routes, "10.0.0.0/8 via 192.0.2.9 dev a proto static src 198.51.100.1")
		})
		must(t, "route", "10.9.0.0/16 via inet6 fe80::9 dev b")
		must(t, "-6 route", "nexthop via fe80::9 dev a weight 2")
		// A card that goes, and comes back elsewhere.
		ip(t, "link del dev a")
		p.cable("usb0", macA, "toa")
		eventually(t, "the card is back", func() bool { return hasLine(shown(t, "address"), "a inet 192.0.2.1/24") })
		if len(r.errors()) > 0 {
			t.Error(r.errors())
		}
	})
}

func TestTwoDefaults(t *testing.T) {
	namespace(t, func(t *testing.T) {
		p := newPeer(t)
		p.cable("x", macA, "toa")
		p.cable("y", macB, "tob")
		p.sh(`ip address add 192.0.2.9/24 dev toa; ip address add 198.51.100.9/24 dev tob; ip address add 203.0.113.1/32 dev lo`)
		suppress := int64(0)
		n, r := start(t, netconf.Config{
			Links:     []netconf.Link{card("x", macA), card("y", macB)},
			Addresses: []netconf.Address{{Link: "x", Address: "192.0.2.1/24"}, {Link: "y", Address: "198.51.100.1/24"}},
			Routes: []netconf.Route{
				{Family: "ipv4", Destination: "default", Gateway: "192.0.2.9", Link: "x", Metric: 100},
				{Family: "ipv4", Destination: "default", Gateway: "198.51.100.9", Link: "y", Metric: 200},
				{Family: "ipv4", Destination: "default", Gateway: "198.51.100.9", Link: "y", Table: 1000},
				{Family: "ipv4", Destination: "198.51.100.0/24", Link: "y", Scope: "link", Table: 1000},
			},
			Rules: []netconf.Rule{
				{Family: "ipv4", Priority: 1000, From: "198.51.100.1/32", Table: 1000},
				{Family: "ipv4", Priority: 1001, Mark: "0x1/0xff", Not: true, Table: 254, Suppress: &suppress},
				{Family: "ipv4", Priority: 1002, To: "10.0.0.0/8", Action: "prohibit"},
				{Family: "ipv6", Priority: 1003, In: "x", Table: 1000, Suppress: &suppress},
			},
		})
		online(t, n)
		eventually(t, "all is set", func() bool {
			return hasLine(shown(t, "-6 rule"), "1003: from all iif x lookup 1000 suppress_prefixlength 0")
		})
		must(t, "rule", "1000: from 198.51.100.1 lookup 1000", "1001: not from all fwmark 0x1/0xff lookup main suppress_prefixlength 0",
			"1002: from all to 10.0.0.0/8 prohibit")
		must(t, "route get 203.0.113.1", "203.0.113.1 via 192.0.2.9 dev x")
		must(t, "route get 203.0.113.1 from 198.51.100.1", "203.0.113.1 from 198.51.100.1 via 198.51.100.9 dev y table 1000")
		if len(r.errors()) > 0 {
			t.Error(r.errors())
		}
	})
}

func TestBridge(t *testing.T) {
	namespace(t, func(t *testing.T) {
		p := newPeer(t)
		p.cable("eth0", macA, "out")
		p.sh("ip address add 192.0.2.9/24 dev out")
		lan := card("lan", macA)
		lan.Master = "br0"
		n, r := start(t, netconf.Config{
			Links:     []netconf.Link{lan, {Name: "br0", Kind: netconf.Bridge, MAC: macA, MTU: 1400, Bridge: &netconf.BridgeConfig{}}},
			Addresses: []netconf.Address{{Link: "br0", Address: "192.0.2.1/24"}},
		})
		online(t, n)
		p.reach("192.0.2.1")
		eventually(t, "it is as it was", func() bool {
			all := links(t)
			return all["lan"].Master == "br0" && all["br0"].MAC == macA && all["br0"].MTU == 1400
		})
		if len(r.errors()) > 0 {
			t.Error(r.errors())
		}
	})
}

// The server gives the address of before; nothing of the handover goes with the
// lease.
func TestDHCPSame(t *testing.T) {
	namespace(t, func(t *testing.T) {
		p := newPeer(t)
		p.cable("eth0", macA, "out")
		p.sh("ip address add 192.0.2.9/24 dev out")
		p.dnsmasq(macA+" 192.0.2.77", "--interface=out", "--dhcp-range=192.0.2.50,192.0.2.99", "--dhcp-option=option:dns-server,192.0.2.53")
		lan := card("eth0", macA)
		lan.DHCP4 = true
		n, r := start(t, netconf.Config{
			Links:     []netconf.Link{lan},
			Addresses: []netconf.Address{{Link: "eth0", Address: "192.0.2.77/24", Dynamic: true}},
			Routes:    []netconf.Route{{Family: "ipv4", Destination: "default", Gateway: "192.0.2.9", Link: "eth0", Metric: 100, Dynamic: true}},
		})
		online(t, n)
		eventually(t, "a lease", func() bool { return len(n.Leases()) == 1 })
		if l := n.Leases()[0]; l.String() != "eth0 192.0.2.77/24 via 192.0.2.9" {
			t.Errorf("another lease: %v", l)
		}
		// The carrier goes, and with it the lease.
		p.sh("ip link set out down")
		eventually(t, "no lease", func() bool { return len(n.Leases()) == 0 })
		must(t, "address", "eth0 inet 192.0.2.77/24")
		must(t, "route", "default via 192.0.2.9 dev eth0 proto static metric 100")
		p.sh("ip link set out up")
		eventually(t, "a lease again", func() bool { return len(n.Leases()) == 1 })
		if len(r.errors()) > 0 {
			t.Error(r.errors())
		}
	})
}

// The server knows another network: both addresses are there.
func TestDHCPOther(t *testing.T) {
	namespace(t, func(t *testing.T) {
		p := newPeer(t)
		p.cable("eth0", macA, "out")
		p.sh("ip address add 198.51.100.9/24 dev out; ip address add 192.0.2.9/24 dev out")
		p.dnsmasq("", "--interface=out", "--dhcp-authoritative", "--dhcp-range=198.51.100.50,198.51.100.99", "--dhcp-option=option:router,198.51.100.9")
		lan := card("eth0", macA)
		lan.DHCP4 = true
		n, _ := start(t, netconf.Config{
			Links:     []netconf.Link{lan},
			Addresses: []netconf.Address{{Link: "eth0", Address: "192.0.2.77/24", Dynamic: true}},
			Routes:    []netconf.Route{{Family: "ipv4", Destination: "default", Gateway: "192.0.2.9", Link: "eth0", Metric: 100, Dynamic: true}},
		})
		online(t, n)
		eventually(t, "a lease", func() bool { return len(n.Leases()) == 1 })
		lease := n.Leases()[0].Address.String()
		must(t, "address", "eth0 inet 192.0.2.77/24", "eth0 inet "+lease)
		must(t, "route get 203.0.113.1", "203.0.113.1 via 192.0.2.9 dev eth0 src 192.0.2.77")
		must(t, "route", "default via 198.51.100.9 dev eth0 proto dhcp")
		p.sh("ip link set out down")
		eventually(t, "the lease and its route are gone", func() bool {
			return !strings.Contains(shown(t, "address"), lease) && !strings.Contains(shown(t, "route"), "198.51.100.9")
		})
		must(t, "address", "eth0 inet 192.0.2.77/24")
	})
}

func TestRA(t *testing.T) {
	namespace(t, func(t *testing.T) {
		if err := sysctl("ipv6/conf/default/accept_dad", "0"); err != nil { // saves a second
			t.Fatal(err)
		}
		p := newPeer(t)
		p.cable("eth0", macA, "out")
		p.cable("eth1", macB, "other")
		p.sh("ip address add 2001:db8:5::1/64 dev out nodad; ip address add 2001:db8:6::1/64 dev other nodad")
		p.dnsmasq("", "--enable-ra", "--interface=out", "--interface=other", "--dhcp-range=2001:db8:5::,ra-only", "--dhcp-range=2001:db8:6::,ra-only")
		lan := card("eth0", macA)
		lan.RA = true
		n, r := start(t, netconf.Config{
			Links: []netconf.Link{lan, card("eth1", macB)},
			Addresses: []netconf.Address{{Link: "eth0", Address: "2001:db8:5::77/64", Dynamic: true},
				{Link: "eth0", Address: "2001:db8:5:0:0:ff:fe00:a/64", Dynamic: true}, {Link: "eth1", Address: "2001:db8:7::1/64"}},
			Routes: []netconf.Route{{Family: "ipv6", Destination: "default", Gateway: "2001:db8:5::1", Link: "eth0", Metric: 1024, Dynamic: true}},
		})
		online(t, n)
		p.reach("2001:db8:5::77")
		must(t, "-6 route", "default via 2001:db8:5::1 dev eth0 proto static metric 1025")
		eventually(t, "the kernel has heard the router", func() bool {
			return hasLine(shown(t, "-6 route"), "dev eth0 proto ra metric 1024")
		})
		must(t, "-6 address", "eth0 inet6 2001:db8:5::77/64 scope global", "eth0 inet6 2001:db8:5::ff:fe00:a/64 scope global")
		if text := shown(t, "-6 address"); strings.Contains(text, "2001:db8:6:") {
			t.Errorf("eth1 listened to a router:\n%s", text)
		}
		if len(r.errors()) > 0 {
			t.Error(r.errors())
		}
	})
}

// Nothing was handed over: all cards come up and ask.
func TestWithoutHandover(t *testing.T) {
	namespace(t, func(t *testing.T) {
		p := newPeer(t)
		p.cable("eth0", macA, "out")
		p.cable("eth1", macB, "other")
		p.sh("ip address add 192.0.2.9/24 dev out")
		p.dnsmasq("", "--interface=out", "--dhcp-range=192.0.2.50,192.0.2.99", "--dhcp-option=option:mtu,1400")
		sys := t.TempDir()
		n, r := begin(t, netconf.Config{}, func(c *Config) { c.Handover, c.Sys = nil, sys })
		online(t, n)
		l := n.Leases()
		if len(l) != 1 || l[0].Interface != "eth0" || l[0].Before {
			t.Fatal(l)
		}
		must(t, "address", "eth0 inet "+l[0].Address.String())
		must(t, "route", "default via 192.0.2.9 dev eth0 proto dhcp metric 10"+strconv.Itoa(l[0].Index)+" onlink")
		all := links(t)
		if all["eth0"].MTU != 1400 || !slices.Contains(all["eth1"].Flags, "UP") {
			t.Errorf("%+v", all)
		}
		// The carrier goes and comes within a second: the kernel tells of one change.
		counter := filepath.Join(sys, "class/net/eth0/carrier_down_count")
		if err := errors.Join(os.MkdirAll(filepath.Dir(counter), 0o755), os.WriteFile(counter, []byte("1\n"), 0o644)); err != nil {
			t.Fatal(err)
		}
		ip(t, "link set eth0 alias changed")
		eventually(t, "it asks again, for the same address", func() bool {
			told := r.all()
			return len(told) == 2 && told[1].Address == l[0].Address
		})
		p.sh("ip link set out down")
		eventually(t, "the lease is taken back", func() bool {
			return len(n.Leases()) == 0 && !strings.Contains(shown(t, "route"), "192.0.2.") && !strings.Contains(shown(t, "address"), "192.0.2.")
		})
	})
}

// A handover without addresses: whatever the router gives is good.
func TestRAOnly(t *testing.T) {
	namespace(t, func(t *testing.T) {
		if err := sysctl("ipv6/conf/default/accept_dad", "0"); err != nil {
			t.Fatal(err)
		}
		p := newPeer(t)
		p.cable("eth0", macA, "out")
		p.sh("ip address add 2001:db8:5::1/64 dev out nodad")
		lan := card("lan", macA)
		lan.RA = true
		n, _ := start(t, netconf.Config{Links: []netconf.Link{lan}})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := n.Wait(ctx); err == nil {
			t.Error("online without an address")
		}
		p.dnsmasq("", "--enable-ra", "--interface=out", "--dhcp-range=2001:db8:5::,ra-only")
		online(t, n)
		p.reach("2001:db8:5::ff:fe00:a")
	})
}

// None of the links of before has a carrier: every card is tried.
func TestFallback(t *testing.T) {
	namespace(t, func(t *testing.T) {
		p := newPeer(t)
		p.cable("eth0", macA, "dead")
		p.sh("ip link set dead down")
		p.cable("eth1", macB, "out")
		p.sh("ip address add 192.0.2.9/24 dev out")
		p.dnsmasq("", "--interface=out", "--dhcp-range=192.0.2.50,192.0.2.99")
		n, r := start(t, netconf.Config{
			Links:     []netconf.Link{card("lan", macA)},
			Addresses: []netconf.Address{{Link: "lan", Address: "203.0.113.1/24"}},
		}, func(c *Config) { c.patience = time.Second })
		eventually(t, "the card of before is up", func() bool { return slices.Contains(links(t)["lan"].Flags, "UP") })
		if l := links(t)["eth1"]; len(r.errors()) == 0 && slices.Contains(l.Flags, "UP") {
			t.Errorf("too early: %+v", l)
		}
		online(t, n)
		if l := n.Leases(); len(l) != 1 || l[0].Interface != "eth1" {
			t.Error(l)
		}
		if len(r.errors()) != 1 || !strings.Contains(r.errors()[0], "trying DHCP on all network cards") {
			t.Error(r.errors())
		}
		// Better late than never.
		p.sh("ip link set dead up")
		eventually(t, "the link of before", func() bool {
			return len(r.all()) == 2 && r.all()[1].Before
		})
	})
}

// The kernel gave up telling of changes, as there were too many: it is asked to
// go on.
func TestNotice(t *testing.T) {
	namespace(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var r told
		n := &Network{cfg: Config{Report: r.report}}
		lost := changes{make(chan netlink.LinkUpdate), make(chan netlink.AddrUpdate), func() {}}
		close(lost.links)
		close(lost.addrs)
		changed := make(chan struct{}, 1)
		go n.notice(ctx, lost, changed)
		next := func(what string) {
			t.Helper()
			select {
			case <-changed:
			case <-time.After(patient):
				t.Fatalf("%s is not noticed: %v", what, r.errors())
			}
		}
		next("the loss")
		ip(t, "link add x type veth peer name y")
		next("a change")
	})
}
