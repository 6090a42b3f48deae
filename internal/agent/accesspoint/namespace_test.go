package accesspoint

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

// TestMain is also the appliance's program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "supervise" || os.Args[1] == "step") {
		if err := Main(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestNamespaces runs the whole appliance, but for the radio, between two network
// namespaces: what is upstream, and a client. The wireless card is a cable.
//
//	upstream ── u0 ~ up0 ── appliance ── lan0 ~ c0 ── client
func TestNamespaces(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 15 s")
	}
	if os.Getuid() != 0 {
		t.Skip("network namespaces need root")
	}
	tooltest.Need(t, "ip", "unshare", "dnsmasq", "nft", "dhclient", "curl", python, "ssh-keygen", "ssh")
	n := newNetwork(t)
	n.upstream("10.0.99.1/24")
	n.appliance()
	if !t.Run("the graph gets ready", func(t *testing.T) { n.awaitReady(t, "192.168.77.0/24") }) {
		t.FailNow()
	}
	n.plug()
	t.Run("a client gets out", n.clientGetsOut)
	t.Run("the status page", n.statusPage)
	t.Run("SSH from inside", n.sshFromInside)
	t.Run("nothing gets in", n.nothingGetsIn)
	t.Run("the wireless side goes and comes back", n.comesBack)
	t.Run("the Ethernet side moves", n.moves)
	t.Run("what is killed comes back", n.killed)
}

func (n *testNet) clientGetsOut(t *testing.T) {
	server, err := os.ReadFile(n.dir + "/dns")
	if err != nil {
		t.Fatal(err)
	}
	resolve := func(kind, want string) {
		eventually(t, "resolve", func() error {
			out, err := n.try("cl", python, "-c", lookup, strings.TrimSpace(string(server)), "internet.test", kind)
			if err == nil && strings.TrimSpace(out) != want {
				err = fmt.Errorf("got %q, want %s", out, want)
			}
			return err
		})
	}
	resolve("A", internet4)
	resolve("AAAA", internet6)
	for _, host := range []string{internet4, "[" + internet6 + "]"} {
		eventually(t, "a page from "+host, func() error {
			page, err := n.fetch("cl", "http://"+host+"/")
			if err == nil && page != "the internet\n" {
				err = fmt.Errorf("got %q", page)
			}
			return err
		})
	}
}

// python is the system's, and not one that somebody's shell chooses.
const python = "/usr/bin/python3"

// lookup asks one DNS server, and prints the first address.
const lookup = `
import socket, struct, sys
server, name, kind = sys.argv[1:]
t = {"A": 1, "AAAA": 28}[kind]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(2)
q = struct.pack(">HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0" + struct.pack(">HH", t, 1)
s.sendto(q, (server, 53)); a = s.recv(512)[len(q):]
assert struct.unpack(">H", a[2:4])[0] == t, a
print(socket.inet_ntop(socket.AF_INET if t == 1 else socket.AF_INET6, a[12:12+struct.unpack(">H", a[10:12])[0]]))
`

func (n *testNet) statusPage(t *testing.T) {
	page, err := n.fetch("cl", "http://192.168.77.1/")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<h1>attic</h1>", "my-wifi", n.output("uplink", "address"), "192.168.77.0/24", ">Connected<", "dnsmasq"} {
		if want == "" || !strings.Contains(page, want) {
			t.Errorf("no %q in the page\n%s", want, page)
		}
	}
	if strings.Contains(page, "password") {
		t.Error("the page has the password")
	}
	if page, err := n.fetch("cl", "http://192.168.77.1/other", "-o", "/dev/null", "-w", "%{http_code}"); err != nil || page != "404" {
		t.Errorf("another page: %s %v", page, err)
	}
}

func (n *testNet) sshFromInside(t *testing.T) {
	options := []string{"-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=" + n.dir + "/known", "-o", "BatchMode=yes", "-o", "ConnectTimeout=3"}
	out, err := n.try("cl", append(append([]string{"ssh", "-i", n.dir + "/key"}, options...), "root@192.168.77.1", "echo inside")...)
	if err != nil || !strings.Contains(out, "inside\n") {
		t.Errorf("%s %v", out, err)
	}
	if out, err := n.try("cl", append(append([]string{"ssh", "-i", "/nowhere"}, options...), "root@192.168.77.1", "echo inside")...); err == nil {
		t.Errorf("somebody without a key gets in: %s", out)
	}
}

// nothingGetsIn: whoever is on the wireless side reaches neither the appliance nor
// who is behind it, also when they know the way.
func (n *testNet) nothingGetsIn(t *testing.T) {
	address := n.output("uplink", "address")
	ap, _, _ := strings.Cut(address, "/")
	client := strings.Fields(n.run("cl", "sh", "-c", "ip -4 -o addr show c0 | awk '{print $4}' | cut -d/ -f1"))[0]
	n.run("up", "ip", "route", "replace", "192.168.77.0/24", "via", ap)
	n.background("cl", python, "-m", "http.server", "--directory", n.dir+"/web", "8080")
	eventually(t, "the client's own server", func() error { _, err := n.fetch("cl", "http://"+client+":8080/"); return err })
	ap6 := n.run("ap", "sh", "-c", "ip -6 -o addr show dev up0 scope global | awk '{print $4}' | cut -d/ -f1 | head -1")
	var tries sync.WaitGroup
	for _, target := range []string{ap + " 22", ap + " 53", ap + " 80", "192.168.77.1 22", "192.168.77.1 53", "192.168.77.1 80", client + " 8080",
		strings.TrimSpace(ap6) + " 22", strings.TrimSpace(ap6) + " 53", strings.TrimSpace(ap6) + " 80"} {
		host, port, _ := strings.Cut(target, " ")
		tries.Go(func() {
			if out, err := n.try("up", python, "-c", "import socket,sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1)", host, port); err == nil || !strings.Contains(out, "imed out") {
				t.Errorf("%s: %v %s", target, err, out)
			}
		})
	}
	for _, host := range []string{ap, "192.168.77.1"} {
		tries.Go(func() {
			if out, err := n.try("up", python, "-c", lookup, host, "internet.test", "A"); err == nil || !strings.Contains(out, "imed out") {
				t.Errorf("DNS of %s: %s %v", host, out, err)
			}
		})
		tries.Go(func() {
			if _, err := n.try("up", "ping", "-c1", "-W1", host); err == nil {
				t.Errorf("%s answers a ping", host)
			}
		})
	}
	tries.Wait()
	n.run("up", "ip", "route", "del", "192.168.77.0/24")
}

// comesBack: the wireless side loses its carrier, and gets it back.
func (n *testNet) comesBack(t *testing.T) {
	n.run("up", "ip", "link", "set", "u0", "down")
	eventually(t, "the address is taken back", func() error {
		if a := n.output("uplink", "address"); a != "" {
			return fmt.Errorf("it is %s", a)
		}
		return nil
	})
	if _, err := n.fetch("cl", "http://192.168.77.1/"); err != nil {
		t.Errorf("the status page is gone, too: %v", err)
	}
	n.run("up", "ip", "link", "set", "u0", "up")
	n.run("up", "ip", "addr", "replace", "2001:db8:99::1/64", "dev", "u0", "nodad")
	n.awaitReady(t, "192.168.77.0/24")
	n.clientGetsOut(t)
}

// moves: the wireless side becomes what the Ethernet side is.
func (n *testNet) moves(t *testing.T) {
	n.run("up", "ip", "link", "set", "u0", "down")
	if err := unix.Kill(-n.serves.Process.Pid, unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of the old server", func() error {
		if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", n.serves.Process.Pid)); err == nil && len(b) > 0 {
			return errors.New("it runs")
		}
		return nil
	})
	n.run("up", "ip", "-4", "addr", "flush", "dev", "u0")
	n.run("up", "ip", "link", "set", "u0", "up")
	n.run("up", "ip", "addr", "replace", "2001:db8:99::1/64", "dev", "u0", "nodad")
	n.serveUpstream("192.168.77.1/24")
	n.awaitReady(t, "192.168.78.0/24")
	n.plug()
	n.clientGetsOut(t)
	if out := n.run("ap", "ip", "-4", "-o", "addr", "show", "dev", "lan"); strings.Contains(out, "192.168.77.") {
		t.Errorf("the old address is left: %s", out)
	}
}

// killed: services that are killed come back, and all works again.
func (n *testNet) killed(t *testing.T) {
	st, err := n.status()
	if err != nil {
		t.Fatal(err)
	}
	runs := map[string]int{}
	for _, s := range st.Services {
		if runs[s.Name] = s.Runs; s.Name == "dnsmasq" || s.Name == "uplink" || s.Name == "portal" {
			if err := unix.Kill(s.PID, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "new runs", func() error {
		st, err := n.status()
		for _, s := range st.Services {
			if (s.Name == "dnsmasq" || s.Name == "uplink" || s.Name == "portal") && s.Runs == runs[s.Name] {
				return fmt.Errorf("%s was not started again", s.Name)
			}
		}
		return err
	})
	n.awaitReady(t, "192.168.78.0/24")
	n.clientGetsOut(t)
}
