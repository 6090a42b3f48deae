package network

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/rfc1035label"
)

func ack(t *testing.T, ip string, opts ...dhcpv4.Option) *dhcpv4.DHCPv4 {
	t.Helper()
	mods := []dhcpv4.Modifier{dhcpv4.WithMessageType(dhcpv4.MessageTypeAck), dhcpv4.WithYourIP(net.ParseIP(ip))}
	for _, o := range opts {
		mods = append(mods, dhcpv4.WithOption(o))
	}
	d, err := dhcpv4.New(mods...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var byAddr = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
}

func TestLeaseOf(t *testing.T) {
	dest := func(s string) *net.IPNet { _, n, _ := net.ParseCIDR(s); return n }
	for _, tt := range []struct {
		name string
		ack  *dhcpv4.DHCPv4
		want Lease
	}{
		{"usual", ack(t, "10.0.2.15",
			dhcpv4.OptSubnetMask(net.CIDRMask(24, 32)), dhcpv4.OptRouter(net.IPv4(10, 0, 2, 2)),
			dhcpv4.OptDNS(net.IPv4(10, 0, 2, 3), net.IPv4(10, 0, 2, 3), net.IPv4zero),
			dhcpv4.OptDomainName("example.org"), dhcpv4.OptServerIdentifier(net.IPv4(10, 0, 2, 1)),
			dhcpv4.OptIPAddressLeaseTime(24*time.Hour), dhcpv4.OptGeneric(dhcpv4.OptionInterfaceMTU, []byte{5, 0xaa})),
			Lease{Interface: "eth0", Index: 2, Address: netip.MustParsePrefix("10.0.2.15/24"),
				Routes: []Route{{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.0.2.2")}},
				DNS:    []netip.Addr{netip.MustParseAddr("10.0.2.3")}, Search: []string{"example.org"},
				Server: netip.MustParseAddr("10.0.2.1"), MTU: 1450, Duration: 24 * time.Hour}},
		{"classless routes replace the router", ack(t, "192.0.2.7",
			dhcpv4.OptSubnetMask(net.CIDRMask(32, 32)), dhcpv4.OptRouter(net.IPv4(9, 9, 9, 9)),
			dhcpv4.OptClasslessStaticRoute(&dhcpv4.Route{Dest: dest("192.0.2.1/32"), Router: net.IPv4zero},
				&dhcpv4.Route{Dest: dest("0.0.0.0/0"), Router: net.IPv4(192, 0, 2, 1)})),
			Lease{Interface: "eth0", Index: 2, Address: netip.MustParsePrefix("192.0.2.7/32"),
				Routes: []Route{{netip.MustParsePrefix("192.0.2.1/32"), netip.Addr{}},
					{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("192.0.2.1")}},
				Duration: defaultDuration}},
		{"no mask, a short lease, domains that are none", ack(t, "10.1.2.3",
			dhcpv4.OptIPAddressLeaseTime(time.Second),
			dhcpv4.OptDomainSearch(&rfc1035label.Labels{Labels: []string{"a.example", "b\nnameserver 6.6.6.6"}})),
			Lease{Interface: "eth0", Index: 2, Address: netip.MustParsePrefix("10.1.2.3/8"),
				Search: []string{"a.example"}, Duration: shortest}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := leaseOf(tt.ack, "eth0", 2)
			if d := cmp.Diff(tt.want, got, byAddr); d != "" || err != nil {
				t.Error(d, err)
			}
		})
	}
}

func TestLeaseOfRefuses(t *testing.T) {
	for _, ip := range []string{"0.0.0.0", "224.0.0.1", "127.0.0.1", "255.255.255.255"} {
		if l, err := leaseOf(ack(t, ip), "eth0", 2); err == nil || !strings.Contains(err.Error(), ip) {
			t.Errorf("%s: got %v, %v", ip, l, err)
		}
	}
}

func FuzzLeaseOf(f *testing.F) {
	d, err := dhcpv4.New(dhcpv4.WithYourIP(net.IPv4(10, 0, 0, 1)), dhcpv4.WithOption(dhcpv4.OptSubnetMask(net.CIDRMask(8, 32))))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(d.ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := dhcpv4.FromBytes(b)
		if err != nil {
			return
		}
		l, err := leaseOf(d, "eth0", 1)
		if err != nil {
			return
		}
		if !l.Address.IsValid() || l.Address.Bits() == 0 || l.Duration < shortest {
			t.Errorf("%+v", l)
		}
		for line := range strings.Lines(resolvConf([]Lease{l})) {
			if !strings.HasPrefix(line, "nameserver ") && !strings.HasPrefix(line, "search ") {
				t.Errorf("resolv.conf has the line %q", line)
			}
		}
	})
}

func TestResolvConf(t *testing.T) {
	a := Lease{DNS: []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}, Search: []string{"x.org"}}
	b := Lease{DNS: []netip.Addr{netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")}, Search: []string{"x.org", "y.org"}}
	want := "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nsearch x.org y.org\n"
	if got := resolvConf([]Lease{a, b}); got != want {
		t.Errorf("got %q", got)
	}
	if got := resolvConf(nil); got != "" {
		t.Errorf("got %q", got)
	}
}
