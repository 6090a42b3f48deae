// Package accesspoint boots the reverse Wi-Fi access point in a virtual machine, with
// simulated radios in it (radio/), and another machine (client/) that is plugged into
// its Ethernet port.
package accesspoint

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/accesspoint/appliance"
	"github.com/victorinix/vic/qemu-tests/accesspoint/client"
	"github.com/victorinix/vic/qemu-tests/accesspoint/client/wire"
	"github.com/victorinix/vic/qemu-tests/accesspoint/reach"
	"github.com/victorinix/vic/qemu-tests/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// TestAccessPoint is the appliance from power-on to a client that gets out, and what
// can happen to its wireless side.
func TestAccessPoint(t *testing.T) {
	lab.Need(t)
	arches := []string{"amd64", "arm64"}
	switch {
	case os.Getenv("VIC_TEST_MATRIX") != "":
		tooltest.Need(t, "qemu-system-aarch64")
	case os.Getenv("VIC_TEST_ALONE") != "":
		arches = arches[:1]
	default:
		t.Skip("runs two machines at once; VIC_TEST_ALONE=1 has it run on amd64, VIC_TEST_MATRIX=1 also on arm64")
	}
	for _, arch := range arches {
		t.Run(arch, func(t *testing.T) { works(t, arch) })
	}
}

func works(t *testing.T, arch string) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	a := accessPoint{Appliance: appliance.New(t, arch)}
	began := time.Now()
	a.client = a.Plug(t)
	a.plug(t)
	a.getsOut(t, "4")
	t.Logf("serving %.1f s after the machine was started", time.Since(began).Seconds())
	a.getsOut(t, "6")
	t.Run("names", a.names)
	t.Run("what a client may not", a.refuses)
	t.Run("nothing gets in", a.nothingGetsIn)
	t.Run("the access point goes and comes back", a.goes)
	t.Run("wrong password", a.wrongPassword)
	t.Run("the cable is pulled", func(t *testing.T) { a.cablePulled(ctx, t) })
}

// accessPoint is one that tests look at, through the client.
type accessPoint struct {
	*appliance.Appliance
	client *client.Client
	lease  wire.Lease
	ula    netip.Prefix // the client's address by router advertisements
	router netip.Addr   // its IPv6 router: a link-local address
}

// plug has the client come to its addresses.
func (a *accessPoint) plug(t *testing.T) {
	t.Helper()
	a.Eventually(t, "a lease", func() error {
		lease, err := a.client.Plug()
		if err == nil {
			a.lease = *lease
		}
		return err
	})
	subnet, router := netip.MustParsePrefix("192.168.77.0/24"), netip.MustParseAddr("192.168.77.1")
	if l := a.lease; l.Address.Masked() != subnet || l.Router != router || !slices.Equal(l.DNS, []netip.Addr{router}) || l.Domain != "lan" {
		t.Errorf("the lease is %+v", l)
	}
	a.Eventually(t, "an IPv6 address and a router", func() error {
		lines, err := a.client.IPv6()
		if err != nil {
			return err
		}
		if len(lines) != 2 {
			return fmt.Errorf("it has %q", lines)
		}
		a.ula, err = netip.ParsePrefix(lines[0])
		if err == nil {
			a.router, err = netip.ParseAddr(lines[1])
		}
		return err
	})
	if a.ula.Bits() != 64 || !a.ula.Addr().IsPrivate() || !a.router.IsLinkLocalUnicast() {
		t.Errorf("the address is %s, by the router %s", a.ula, a.router)
	}
}

// page fetches the page of the simulated internet.
func (a *accessPoint) page(family, url string) error {
	page, err := a.client.Get(family, url)
	if err == nil && page != "the internet\n" {
		err = fmt.Errorf("got %q", page)
	}
	return err
}

// internet is the host behind the wireless network.
var internet = map[string]string{"4": "203.0.113.1", "6": "2001:db8:1::1"}

// getsOut: the internet is reached by address and by name.
func (a *accessPoint) getsOut(t *testing.T, family string) {
	t.Helper()
	for _, host := range []string{internet[family], "internet.test"} {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		a.Eventually(t, "a page of "+host+" over IPv"+family, func() error { return a.page(family, "http://"+host+"/") })
	}
}

// names: those of the internet, and the appliance's own with and without the domain.
func (a *accessPoint) names(t *testing.T) {
	for _, tt := range []struct{ family, name, want string }{
		{"4", "internet.test", internet["4"]},
		{"6", "internet.test", internet["6"]},
		{"4", "attic", a.lease.Router.String()},
		{"4", "attic.lan", a.lease.Router.String()},
		{"6", "attic.lan", a.ulaRouter().String()},
	} {
		if got, err := a.client.Resolve(tt.family, tt.name); err != nil || !slices.Contains(got, tt.want) {
			t.Errorf("%s over IPv%s: %q, %v; want %s", tt.name, tt.family, got, err, tt.want)
		}
	}
	if got, err := a.client.Resolve("4", "nobody.lan"); err == nil {
		t.Errorf("nobody.lan is %q", got)
	}
}

// ulaRouter is the appliance's own address of the prefix that it advertises.
func (a *accessPoint) ulaRouter() netip.Addr { return a.ula.Masked().Addr().Next() }

// refuses: of the appliance clients reach what it serves, and log in with the right
// key alone.
func (a *accessPoint) refuses(t *testing.T) {
	for _, router := range []string{a.lease.Router.String(), a.ulaRouter().String()} {
		for port, want := range map[string]string{"53": reach.Open, "21": reach.Silence, "443": reach.Silence, "5353": reach.Silence} {
			if got, err := a.client.Reach(router, port); err != nil || got != want {
				t.Errorf("%s port %s: %s, %v", router, port, got, err)
			}
		}
	}
	if out, err := a.client.SSH(wire.Stranger, "id"); err == nil || !strings.Contains(err.Error(), "unable to authenticate") {
		t.Errorf("with another key: %q, %v", out, err)
	}
}

// state is what the appliance says about its wireless side.
func (a *accessPoint) state() (string, error) {
	out, err := a.SSH("cat /run/vic/services/wifi/outputs/state /run/vic/services/wifi/outputs/why")
	return strings.TrimSpace(out), err
}

func (a *accessPoint) awaitState(t *testing.T, want string) {
	t.Helper()
	a.Eventually(t, "state "+want, func() error {
		got, err := a.state()
		if err == nil && !strings.HasPrefix(got, want) {
			err = fmt.Errorf("it is %q", got)
		}
		return err
	})
}

func (a *accessPoint) must(t *testing.T, command string) string {
	t.Helper()
	out, err := a.SSH(command)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// nothingGetsIn: from the air neither the appliance nor who is behind it is reached,
// by somebody who knows the way.
func (a *accessPoint) nothingGetsIn(t *testing.T) {
	address, _, _ := strings.Cut(a.must(t, "cat /run/vic/services/uplink/outputs/address"), "/")
	card := a.must(t, "cat /run/vic/services/cards/outputs/wifi")
	words := strings.Fields(a.must(t, "ip -6 -o addr show dev "+card+" scope global -tentative"))
	at := slices.Index(words, "inet6") + 1
	if at == 0 || at == len(words) {
		t.Fatalf("%s has no IPv6 address: %q", card, words)
	}
	address6, _, _ := strings.Cut(words[at], "/")
	a.must(t, "ip netns exec air ip route replace "+a.lease.Address.Masked().String()+" via "+address)
	a.must(t, "ip netns exec air ip route replace "+a.ula.Masked().String()+" via "+address6)
	for _, host := range []string{address, a.lease.Router.String(), address6, a.ulaRouter().String()} {
		for _, port := range []string{"22", "53", "80"} {
			if got := a.must(t, "/radio reach "+host+" "+port); got != reach.Silence {
				t.Errorf("%s port %s: %s", host, port, got)
			}
		}
	}
	for _, host := range []string{a.lease.Address.Addr().String(), a.ula.Addr().String()} {
		if got := a.must(t, "/radio reach "+host+" 80"); got != reach.Silence {
			t.Errorf("the client at %s: %s", host, got)
		}
		if got := a.must(t, "/radio try "+host+" 80"); got != reach.Open {
			t.Errorf("the client at %s serves nothing: %s", host, got)
		}
	}
	for _, host := range internet {
		if got := a.must(t, "/radio reach "+host+" 80"); got != reach.Open {
			t.Errorf("the judge itself does not reach what it should: %s", got)
		}
	}
}

// statusPage checks that the page says something.
func (a *accessPoint) statusPage(t *testing.T, want string) {
	t.Helper()
	page, err := a.client.Get("4", "http://192.168.77.1/")
	if err != nil || !strings.Contains(page, want) {
		t.Errorf("the status page: %v\n%s", err, page)
	}
}

func (a *accessPoint) goes(t *testing.T) {
	a.must(t, "echo x > /run/radio/off")
	a.awaitState(t, "not-found\nthe network is gone")
	a.statusPage(t, "the network is gone")
	if err := a.page("4", "http://203.0.113.1/"); err == nil {
		t.Error("there is an internet without an access point")
	}
	a.must(t, "rm /run/radio/off")
	a.awaitState(t, "connected")
	a.getsOut(t, "4")
	a.getsOut(t, "6")
}

func (a *accessPoint) wrongPassword(t *testing.T) {
	a.must(t, "echo another password > /run/radio/key")
	a.awaitState(t, "wrong-key\nthe password is wrong")
	a.statusPage(t, "the password is wrong")
	a.must(t, "rm /run/radio/key")
	a.awaitState(t, "connected")
	a.getsOut(t, "4")
}

// cablePulled: both ends of the cable lose their link. Whoever is plugged in again
// asks for an address again, and gets the one that it had.
func (a *accessPoint) cablePulled(ctx context.Context, t *testing.T) {
	link := func(up bool) {
		if err := errors.Join(a.SetLink(ctx, 0, up), a.client.SetLink(ctx, 0, up)); err != nil {
			t.Fatal(err)
		}
	}
	link(false)
	if err := a.page("4", "http://203.0.113.1/"); err == nil {
		t.Error("a pulled cable carries")
	}
	link(true)
	before := a.lease.Address
	a.plug(t)
	if a.lease.Address != before {
		t.Errorf("the client had %s, and has %s now", before, a.lease.Address)
	}
	a.getsOut(t, "4")
	a.getsOut(t, "6")
}
