package network

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"golang.org/x/sys/unix"
)

// guest is a namespace in the machine's place: what it would have as cards, the
// kernel has as taps.
func guest(t *testing.T, n *Network) *Namespace {
	t.Helper()
	cards, err := n.NICs()
	if err != nil {
		t.Fatal(err)
	}
	g, err := newNamespace()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.close)
	// This machine's kernel may have no VLANs and no bonds: a second switch tags the
	// frames, and its other cable to the first one is not plugged in.
	for i, c := range cards {
		name := CardName(i)
		card, err := g.tap(name)
		if err == nil {
			err = g.configure(fmt.Sprintf("link set %s address %s", name, c.MAC))
		}
		if err != nil {
			t.Fatal(err)
		}
		s := newSwitch()
		t.Cleanup(s.close)
		vlan := uint16(0)
		if n.Kind == Bond {
			vlan = VLAN
		}
		s.plug(card, vlan)
		s.plug(stream{c.Cable}, 0)
		if n.Kind == Bond {
			break
		}
	}
	return g
}

// Each network leads from the client to the machine and back.
func TestNetworks(t *testing.T) {
	for kind, configure := range map[Kind]func(t *testing.T, g *Namespace) error{
		DHCP: func(t *testing.T, g *Namespace) error {
			if err := g.configure("link set enp0s16 up"); err != nil {
				return err
			}
			lease, err := lease(t.Context(), g)
			if err != nil {
				return err
			}
			ip := lease.ACK
			if names := ip.DNS(); len(names) != 1 || names[0].String() != "10.7.0.1" {
				t.Errorf("name servers %v", names)
			}
			ones, _ := ip.SubnetMask().Size()
			return g.configure(fmt.Sprintf("addr add %s/%d dev enp0s16", ip.YourIPAddr, ones), "route add default via "+ip.Router()[0].String())
		},
		Static: func(_ *testing.T, g *Namespace) error {
			return g.configure("link set enp0s16 up", "addr add 192.0.2.20/32 dev enp0s16", "route add default via 10.7.0.1 dev enp0s16 onlink",
				"addr add 2001:db8:20::20/64 dev enp0s16 nodad", "route add default via 2001:db8:7::1 dev enp0s16 onlink")
		},
		Bond: func(_ *testing.T, g *Namespace) error {
			return g.configure("link set enp0s16 up", "addr add 10.7.42.20/24 dev enp0s16", "route add default via 10.7.42.1")
		},
		Two: func(_ *testing.T, g *Namespace) error {
			return g.configure("link set enp0s16 up", "addr add 10.7.1.20/24 dev enp0s16", "route add default via 10.7.1.1 metric 100",
				"link set enp0s17 up", "addr add 10.7.2.20/24 dev enp0s17", "route add default via 10.7.2.1 metric 200")
		},
		RA: func(_ *testing.T, g *Namespace) error {
			if err := g.set("0", "ipv6/conf/enp0s16/router_solicitation_delay"); err != nil {
				return err
			}
			return g.configure("link set enp0s16 up")
		},
	} {
		t.Run(string(kind), func(t *testing.T) {
			n := Start(t, kind)
			g := guest(t, n)
			if err := configure(t, g); err != nil {
				t.Fatal(err)
			}
			for _, a := range n.Place.Addresses {
				check(t, n, g, a)
			}
			for _, a := range n.Place.Nameservers {
				resolve(t, g, a)
			}
		})
	}
}

// lease asks for an address.
func lease(ctx context.Context, g *Namespace) (lease *nclient4.Lease, err error) {
	var c *nclient4.Client
	if err := g.Do(func() error { c, err = nclient4.New("enp0s16", nclient4.WithTimeout(time.Second)); return err }); err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Request(ctx, dhcpv4.WithRequestedOptions(dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer))
}

// check has the client say something to the machine at an address, and see an answer.
func check(t *testing.T, n *Network, g *Namespace, to netip.Addr) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	var l net.Listener
	for { // an address by router advertisements takes its time
		err := g.Do(func() (err error) { l, err = net.Listen("tcp", netip.AddrPortFrom(to, 0).String()); return err })
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	defer l.Close()
	from := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return // the client has given up
		}
		defer c.Close()
		from <- c.RemoteAddr().String()
		_, _ = io.Copy(c, c) // the client sees what comes back
	}()
	var c net.Conn
	err := n.Client.Do(func() (err error) { c, err = net.DialTimeout("tcp", l.Addr().String(), 5*time.Second); return err })
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	if err := c.SetDeadline(deadline); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(c, "hello"); err != nil {
		t.Fatal(err)
	}
	if answer, err := bufio.NewReader(c).ReadString('\n'); answer != "hello\n" {
		t.Errorf("%s answers %q, %v", to, answer, err)
	}
	client := ClientIPv4
	if to.Is6() {
		client = ClientIPv6
	}
	if who := <-from; !strings.Contains(who, client.String()) {
		t.Errorf("%s is spoken to by %s, not by %s", to, who, client)
	}
}

// resolve has a name server say where the client is.
func resolve(t *testing.T, g *Namespace, server netip.Addr) {
	t.Helper()
	r := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (c net.Conn, err error) {
		err = g.Do(func() error { c, err = net.Dial("udp", netip.AddrPortFrom(server, 53).String()); return err })
		return c, err
	}}
	got, err := r.LookupHost(t.Context(), ClientName)
	if err != nil || len(got) != 2 {
		t.Errorf("%s says of %s: %v, %v", server, ClientName, got, err)
	}
}

// A router that is cut off answers nobody, and does once it is back.
func TestCut(t *testing.T) {
	n := Start(t, Static)
	g := guest(t, n)
	if err := g.configure("link set enp0s16 up", "addr add 2001:db8:20::20/64 dev enp0s16 nodad", "route add default via 2001:db8:7::1 dev enp0s16 onlink"); err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddr("2001:db8:20::20")
	check(t, n, g, at)
	if err := n.Cut(true); err != nil {
		t.Fatal(err)
	}
	err := n.Client.Do(func() error {
		c, err := net.DialTimeout("tcp", netip.AddrPortFrom(at, 1).String(), 300*time.Millisecond)
		if err == nil {
			c.Close()
		}
		return err
	})
	if err == nil || errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("the machine answers: %v", err)
	}
	if err := n.Cut(false); err != nil {
		t.Fatal(err)
	}
	check(t, n, g, at)
}

// pipe is one end of a wire in memory.
type pipe struct{ in, out chan []byte }

func (p pipe) ReadFrame(buf []byte) (int, error) {
	f, ok := <-p.in
	if !ok {
		return 0, io.EOF
	}
	return copy(buf, f), nil
}
func (p pipe) WriteFrame(f []byte) error { p.out <- f; return nil }
func (p pipe) Close() error              { return nil }

func frame(to, from byte, vlan uint16, text string) []byte {
	f := []byte{2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 0x88, 0xb5}
	if to == 0xff {
		copy(f, "\xff\xff\xff\xff\xff\xff")
	}
	f = append(f, text...)
	if vlan != 0 {
		return tag(vlan, f)
	}
	return f
}

func TestSwitch(t *testing.T) {
	s := newSwitch()
	defer s.close()
	wires := map[string]pipe{}
	for name, vlan := range map[string]uint16{"a": 5, "b": 5, "c": 7, "trunk": 0} {
		p := pipe{make(chan []byte), make(chan []byte, 9)}
		wires[name] = p
		s.plug(p, vlan)
		defer close(p.in)
	}
	for _, tt := range []struct {
		from  string
		frame []byte
		want  map[string][]byte
	}{
		{"a", frame(0xff, 1, 0, "to all"), map[string][]byte{"b": frame(0xff, 1, 0, "to all"), "trunk": frame(0xff, 1, 5, "to all")}},
		{"trunk", frame(1, 9, 5, "back"), map[string][]byte{"a": frame(1, 9, 0, "back")}},
		{"trunk", frame(1, 9, 7, "in another VLAN"), map[string][]byte{"c": frame(1, 9, 0, "in another VLAN")}},
		{"a", frame(9, 1, 0, "known"), map[string][]byte{"trunk": frame(9, 1, 5, "known")}},
		{"b", frame(9, 1, 0, "moved"), map[string][]byte{"trunk": frame(9, 1, 5, "moved")}},
		{"trunk", frame(1, 9, 5, "there"), map[string][]byte{"b": frame(1, 9, 0, "there")}},
		{"a", frame(0xff, 3, 5, "a tag"), nil},
		{"a", []byte("short"), nil},
		{"trunk", frame(0xff, 9, 0, "no tag"), nil},
	} {
		wires[tt.from].in <- tt.frame
		wires[tt.from].in <- []byte("short") // taken once the one before is forwarded
		for name, w := range wires {
			got := ""
			if want, ok := tt.want[name]; ok {
				select {
				case f := <-w.out:
					got = string(f)
				case <-time.After(5 * time.Second):
				}
				if got != string(want) {
					t.Errorf("%q from %s at %s: %q, want %q", tt.frame, tt.from, name, got, want)
				}
			}
		}
	}
	time.Sleep(10 * time.Millisecond)
	for name, w := range wires {
		if len(w.out) > 0 {
			t.Errorf("%s got %q", name, <-w.out)
		}
	}
}

// What QEMU never sends ends the wire.
func TestStreamBounds(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.Write(binary.BigEndian.AppendUint32(nil, maxFrame+1)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if n, err := (stream{r}).ReadFrame(make([]byte, maxFrame)); err == nil {
		t.Errorf("a frame of %d bytes", n)
	}
}
