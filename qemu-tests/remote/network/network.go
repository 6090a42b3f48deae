package network

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// Addresses of the client, and of the router towards it. Behind the name of
// ClientName, which every network's name server knows, is the client.
var (
	ClientIPv4 = netip.MustParseAddr("198.51.100.2")
	ClientIPv6 = netip.MustParseAddr("2001:db8:c::2")
)

const ClientName = "client.test"

// Network is a network with room for one machine.
type Network struct {
	Kind   Kind
	Place  Place
	Client *Namespace // nil in a User network: the client is this process
	Router *Namespace // the same

	// segments are the machine's cables, switches what they end at. Two cables may
	// end at one switch.
	segments []segment
	switches []*Switch
}

// segment is what one of the machine's cards is plugged into.
type segment struct {
	to   *Switch
	vlan uint16
}

// Start makes a network for a test, which ends with it. It needs root.
func Start(t testing.TB, kind Kind) *Network {
	t.Helper()
	k, ok := kinds[kind]
	if !ok {
		t.Fatalf("there is no network %q", kind)
	}
	n := &Network{Kind: kind, Place: k.place}
	if kind == User {
		return n
	}
	tooltest.Root(t)
	tooltest.Need(t, "ip", "dnsmasq", "nsenter", "nc")
	t.Cleanup(n.close)
	if err := n.build(k, t.TempDir()); err != nil {
		t.Fatalf("build network %s: %v", kind, err)
	}
	return n
}

func (n *Network) build(k kind, dir string) error {
	var err error
	if n.Client, err = newNamespace(); err != nil {
		return err
	}
	if n.Router, err = newNamespace(); err != nil {
		return err
	}
	if err := n.connectClient(); err != nil {
		return err
	}
	for i, s := range k.segments {
		// Cards share a switch where they have the router's interface in common.
		if s.lan == len(n.switches) {
			sw := newSwitch()
			n.switches = append(n.switches, sw)
			t, err := n.Router.tap(fmt.Sprintf("lan%d", s.lan))
			if err != nil {
				return err
			}
			sw.plug(t, s.access)
		} else if s.lan > len(n.switches) {
			return fmt.Errorf("card %d is on switch %d of %d", i, s.lan, len(n.switches))
		}
		n.segments = append(n.segments, segment{n.switches[s.lan], s.card})
	}
	if err := n.Router.configure(k.router...); err != nil {
		return err
	}
	return n.serve(k.dnsmasq, dir)
}

// connectClient joins client and router.
func (n *Network) connectClient() error {
	if err := n.Router.set("1", "ipv4/ip_forward", "ipv6/conf/all/forwarding"); err != nil {
		return fmt.Errorf("make a router: %w", err)
	}
	err := n.Router.configure(fmt.Sprintf("link add name client type veth peer name router netns %s", n.Client.Path()),
		"addr add 198.51.100.1/24 dev client", "addr add 2001:db8:c::1/64 dev client nodad", "link set client up")
	if err != nil {
		return err
	}
	return n.Client.configure("addr add "+ClientIPv4.String()+"/24 dev router", "addr add "+ClientIPv6.String()+"/64 dev router nodad",
		"link set router up", "route add default via 198.51.100.1", "route add default via 2001:db8:c::1")
}

// serve starts the router's name server, which also serves DHCP and advertises the
// router where its arguments say so. It answers once Start has returned.
func (n *Network) serve(args []string, dir string) error {
	args = append([]string{"--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=" + filepath.Join(dir, "pid"),
		"--dhcp-leasefile=" + filepath.Join(dir, "leases"), "--log-facility=" + filepath.Join(dir, "log"),
		"--no-resolv", "--no-hosts", "--no-ping",
		"--address=/" + ClientName + "/" + ClientIPv4.String(), "--address=/" + ClientName + "/" + ClientIPv6.String()}, args...)
	var said bytes.Buffer
	cmd := exec.Command("dnsmasq", args...)
	cmd.Stderr = &said
	if err := n.Router.Start(cmd); err != nil {
		return fmt.Errorf("start dnsmasq: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // it is killed with its namespace
	for {
		err := n.Router.Do(func() error {
			c, err := net.DialTimeout("tcp", "127.0.0.1:53", time.Second)
			if err != nil {
				return err
			}
			return c.Close()
		})
		if err == nil {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("run dnsmasq: %w: %s", err, bytes.TrimSpace(said.Bytes()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// NICs are the cards of a machine, plugged in. Each call is for one run of one
// machine, and unplugs those of the run before.
func (n *Network) NICs() ([]vm.NIC, error) {
	if n.Kind == User {
		return []vm.NIC{{Address: cardAddress(0), MAC: cardMAC(0), Forward: []int{22}}}, nil
	}
	var list []vm.NIC
	for i, s := range n.segments {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.SetNonblock(fds[0], true)
		}
		if err != nil {
			return nil, fmt.Errorf("make cable: %w", err)
		}
		s.to.plug(stream{os.NewFile(uintptr(fds[0]), "switch")}, s.vlan)
		list = append(list, vm.NIC{Address: cardAddress(i), MAC: cardMAC(i), Cable: os.NewFile(uintptr(fds[1]), "card")})
	}
	return list, nil
}

// ProxyCommand is how ssh(1) gets from this process's namespace to a host in the
// client's: lines of ssh_config(5). It is handed the connected socket, so that what
// becomes of the connection is ssh's own to notice.
func (n *Network) ProxyCommand() string {
	if n.Kind == User {
		return ""
	}
	return fmt.Sprintf("ProxyUseFdpass yes\nProxyCommand nsenter --net=%s nc -F -w 20 %%h %%p\n", n.Client.Path())
}

// Cut takes the router off the machine's networks, or puts it back: what the machine
// sees is a cable that is plugged in, with nobody at the other end.
func (n *Network) Cut(cut bool) error {
	if n.Router == nil {
		return fmt.Errorf("cut network %s: it is QEMU's own", n.Kind)
	}
	state := "up"
	if cut {
		state = "down"
	}
	var lines []string
	for i := range n.switches {
		lines = append(lines, fmt.Sprintf("link set lan%d %s", i, state))
	}
	if !cut {
		lines = append(lines, kinds[n.Kind].routes...)
	}
	return n.Router.configure(lines...)
}

func (n *Network) close() {
	for _, s := range n.switches {
		s.close()
	}
	for _, space := range []*Namespace{n.Router, n.Client} {
		if space != nil {
			space.close()
		}
	}
}

// cardAddress is where card i is on the PCI bus, so that its name is CardName.
func cardAddress(i int) string { return fmt.Sprintf("00:%02x.0", 16+i) }

// cardMAC is the hardware address of card i.
func cardMAC(i int) string { return fmt.Sprintf("52:54:00:76:6e:%02x", i) }

// CardName is what systemd's names of network cards are for card i.
func CardName(i int) string { return fmt.Sprintf("enp0s%d", 16+i) }
