package accesspoint

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/accesspoint"
	"github.com/victorinix/vic/internal/service"
)

// testNet is the namespaces of a test.
type testNet struct {
	t      *testing.T
	dir    string
	pid    int // of the appliance's supervisor
	serves *exec.Cmd
}

func newNetwork(t *testing.T) *testNet {
	n := &testNet{t: t, dir: t.TempDir()}
	for _, ns := range []string{"up", "ap", "cl"} {
		n.run("", "ip", "netns", "add", n.ns(ns))
		t.Cleanup(func() { n.run("", "ip", "netns", "del", n.ns(ns)) })
		n.run(ns, "ip", "link", "set", "lo", "up")
	}
	n.run("ap", "ip", "link", "add", "up0", "type", "veth", "peer", "name", "u0", "netns", n.ns("up"))
	n.run("ap", "ip", "link", "add", "lan0", "type", "veth", "peer", "name", "c0", "netns", n.ns("cl"))
	return n
}

func (n *testNet) ns(name string) string { return fmt.Sprintf("vic%d%s", os.Getpid(), name) }

// try runs a program in a namespace; "" is that of the test.
func (n *testNet) try(ns string, argv ...string) (string, error) {
	if ns != "" {
		argv = append([]string{"ip", "netns", "exec", n.ns(ns)}, argv...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return string(out), err
}

func (n *testNet) run(ns string, argv ...string) string {
	n.t.Helper()
	out, err := n.try(ns, argv...)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// background runs a program until the test ends.
func (n *testNet) background(ns string, argv ...string) *exec.Cmd {
	n.t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", n.ns(ns)}, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: unix.SIGKILL}
	log, err := os.Create(filepath.Join(n.dir, filepath.Base(argv[0])+ns+".log"))
	if err != nil {
		n.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGTERM) // it may have ended
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
			n.t.Error(argv[0], "does not end")
		}
		if n.t.Failed() {
			b, err := os.ReadFile(log.Name())
			n.t.Logf("%s: %v\n%s", log.Name(), err, b)
		}
	})
	return cmd
}

const (
	internet4 = "203.0.113.1"
	internet6 = "2001:db8:1::1"
)

// upstream is a router with DHCP, router advertisements and DNS, and a web server
// behind it.
func (n *testNet) upstream(address string) {
	for _, a := range []string{internet4 + "/32", internet6 + "/128"} {
		n.run("up", "ip", "addr", "add", a, "dev", "lo", "nodad")
	}
	n.run("up", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
	n.run("up", "ip", "link", "set", "u0", "up")
	n.run("up", "ip", "addr", "add", "2001:db8:99::1/64", "dev", "u0", "nodad")
	n.serveUpstream(address)
	page := filepath.Join(n.dir, "web")
	if err := os.Mkdir(page, 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(page+"/index.html", []byte("the internet\n"), 0o644); err != nil {
		n.t.Fatal(err)
	}
	n.background("up", python, "-m", "http.server", "--bind", "::", "--directory", page, "80")
}

func (n *testNet) serveUpstream(address string) {
	p := netip.MustParsePrefix(address)
	n.run("up", "ip", "addr", "replace", address, "dev", "u0")
	first := p.Addr().Next().Next()
	n.serves = n.background("up", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--no-resolv", "--no-hosts",
		"--interface=u0", "--bind-interfaces", "--except-interface=lo", "--user=root", "--log-facility=-", "--dhcp-authoritative",
		"--dhcp-range="+first.String()+","+first.Next().Next().String()+",10m", "--dhcp-leasefile="+n.dir+"/upstream.leases",
		"--enable-ra", "--dhcp-range=2001:db8:99::,ra-only,64", "--ra-param=u0,4,60",
		"--address=/internet.test/"+internet4, "--address=/internet.test/"+internet6)
}

// appliance runs the graph, with a cable for a radio.
func (n *testNet) appliance() {
	key := filepath.Join(n.dir, "key")
	n.run("", "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", key)
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		n.t.Fatal(err)
	}
	options, err := accesspoint.Options{Hostname: "attic", Country: "00", Security: accesspoint.Auto, Subnet: netip.MustParsePrefix("192.168.77.0/24"),
		SSHKeys: []string{strings.TrimSpace(string(public))}, Portal: true}.Encode()
	if err != nil {
		n.t.Fatal(err)
	}
	etc := filepath.Join(n.dir, "etc")
	if err := os.Mkdir(etc, 0o755); err != nil {
		n.t.Fatal(err)
	}
	for name, b := range map[string][]byte{"services.json": n.graph(), "access-point.json": options} {
		if err := os.WriteFile(filepath.Join(etc, name), b, 0o644); err != nil {
			n.t.Fatal(err)
		}
	}
	// Mounts of its own: nothing of this machine's /etc and /run is seen or changed.
	const script = `set -e
mount --make-rprivate /
mkdir -p "$1/newetc/vic"; cp /etc/passwd /etc/group /etc/nsswitch.conf "$1/newetc/"; cp "$1"/etc/* "$1/newetc/vic/"
mount --bind "$1/newetc" /etc
mkdir -p "$1/run"; mount --bind "$1/run" /run; mkdir -p /run/vic/state
echo '{"wifi-ssid": "my-wifi", "wifi-psk": "password"}' > /run/vic/state/secrets.json
umount -R /sys/fs/cgroup 2>/dev/null || true
exec "$2" supervise`
	cmd := n.background("ap", "unshare", "--mount", "--uts", "sh", "-c", script, "sh", n.dir, os.Args[0])
	n.pid = cmd.Process.Pid // ip netns exec, unshare and sh become the supervisor
}

// graph is that of the appliance, with two services that need no radio. The clock of
// this machine stays as it is.
func (n *testNet) graph() []byte {
	b, err := images.Services("wifi-access-point")
	if err != nil {
		n.t.Fatal(err)
	}
	g, err := service.Decode(bytes.NewReader(b))
	if err != nil {
		n.t.Fatal(err)
	}
	put := `put() { echo "$2" > $VIC_OUTPUTS/.$1; mv $VIC_OUTPUTS/.$1 $VIC_OUTPUTS/$1; }; `
	var kept []service.Service
	for _, s := range g.Services {
		switch s.Name {
		case "cards":
			s.Builtin, s.Command, s.Env = nil, []string{"sh", "-c", put + "put wifi up0; put lan lan0; exec sleep 100000"}, nil
		case "wifi":
			s.Builtin, s.Command = nil, []string{"sh", "-c", put + "echo 2 > /proc/sys/net/ipv6/conf/up0/accept_ra; put state connected; put associated up0; exec sleep 100000"}
		case "clock":
			continue
		}
		kept = append(kept, s)
	}
	g.Services = kept
	b, err = json.Marshal(g)
	if err != nil {
		n.t.Fatal(err)
	}
	return b
}

func (n *testNet) status() (service.Status, error) {
	var st service.Status
	b, err := os.ReadFile(filepath.Join(n.dir, "run/vic/services/state.json"))
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	return st, err
}

func (n *testNet) output(name, key string) string {
	st, err := n.status()
	if err != nil {
		return ""
	}
	for _, s := range st.Services {
		if s.Name == name {
			return s.Outputs[key]
		}
	}
	return ""
}

// eventually waits for something.
func eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(25 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

func (n *testNet) awaitReady(t *testing.T, subnet string) {
	t.Helper()
	eventually(t, "all services are ready", func() error {
		st, err := n.status()
		if err == nil && (!st.Ready() || n.output("lan", "subnet") != subnet || n.output("uplink", "address") == "" || n.output("uplink6", "default") == none) {
			b, _ := json.Marshal(st) // of a struct of texts
			err = fmt.Errorf("%s", b)
		}
		return err
	})
}

// plug has the client ask for an address, as it does when a cable is plugged in.
func (n *testNet) plug() {
	n.t.Helper()
	n.run("cl", "ip", "link", "set", "c0", "down")
	n.run("cl", "ip", "addr", "flush", "dev", "c0")
	n.run("cl", "sysctl", "-qw", "net.ipv6.conf.c0.accept_ra=1")
	n.run("cl", "ip", "link", "set", "c0", "up")
	script := filepath.Join(n.dir, "dhclient-script")
	text := "#!/bin/sh\n[ -n \"$new_ip_address\" ] || exit 0\nip addr replace $new_ip_address/$new_subnet_mask dev c0\n" +
		"ip route replace default via $new_routers\necho $new_domain_name_servers > " + n.dir + "/dns\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		n.t.Fatal(err)
	}
	eventually(n.t, "a lease", func() error {
		_, err := n.try("cl", "timeout", "8", "dhclient", "-1", "-sf", script, "-lf", n.dir+"/cl.leases", "-pf", n.dir+"/cl.pid", "c0")
		_, _ = n.try("", "pkill", "-F", n.dir+"/cl.pid") // it stays to renew the lease
		_ = os.Remove(n.dir + "/cl.leases")
		return err
	})
}

// fetch gets a page in a namespace.
func (n *testNet) fetch(ns, url string, more ...string) (string, error) {
	return n.try(ns, append([]string{"curl", "-sS", "--max-time", "3"}, append(more, url)...)...)
}
