package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/victorinix/vic/internal/netconf"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// inside is set to the name of a test in the process that runs it in a network
// namespace of its own.
const inside = "VIC_TEST_NAMESPACE"

// patient is how long a test waits for what takes a second: the machine may be
// an emulated one.
const patient = 20 * time.Second

// namespace runs body in a network namespace of its own: the kernel's own
// answers, judged by iproute2.
func namespace(t *testing.T, body func(t *testing.T)) {
	t.Helper()
	if os.Getenv(inside) == t.Name() {
		body(t)
		return
	}
	tooltest.Root(t)
	tooltest.Need(t, "ip", "nsenter", "unshare")
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil && strings.Contains(string(out), "--- SKIP: "+t.Name()):
		t.Skip(string(out))
	case err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Errorf("%v\n%s", err, out)
	}
}

// ip runs iproute2, with the words of each line.
func ip(t *testing.T, lines string) {
	t.Helper()
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		if _, err := (tool.Exec{}).Run(t.Context(), tool.Cmd{Name: "ip", Args: strings.Fields(line)}); err != nil {
			t.Fatal(err)
		}
	}
}

// shown is what iproute2 shows, as text of one line for each thing.
func shown(t *testing.T, args string) string {
	t.Helper()
	out, err := (tool.Exec{}).Run(t.Context(), tool.Cmd{Name: "ip", Args: append([]string{"-o"}, strings.Fields(args)...)})
	if err != nil {
		t.Fatal(err)
	}
	return string(out.Stdout)
}

// must has all lines, with words in between that are not asked for.
func must(t *testing.T, args string, lines ...string) {
	t.Helper()
	got := shown(t, args)
	for _, want := range lines {
		if !hasLine(got, want) {
			t.Errorf("ip %s: no line with %q in\n%s", args, want, got)
		}
	}
	if all := slices.Sorted(strings.Lines(got)); len(slices.Compact(slices.Clone(all))) != len(all) {
		t.Errorf("ip %s: something is there twice:\n%s", args, got)
	}
}

func hasLine(text, want string) bool {
	for line := range strings.Lines(text) {
		if strings.Contains(strings.Join(strings.Fields(line), " ")+" ", want+" ") {
			return true
		}
	}
	return false
}

// link is one of ip -j -d link.
type link struct {
	Index  int    `json:"ifindex"`
	Name   string `json:"ifname"`
	MAC    string `json:"address"`
	MTU    int    `json:"mtu"`
	Master string `json:"master"`
	Flags  []string
	Info   struct {
		Kind string          `json:"info_kind"`
		Data json.RawMessage `json:"info_data"`
	} `json:"linkinfo"`
}

func links(t *testing.T) map[string]link {
	t.Helper()
	out, err := (tool.Exec{}).Run(t.Context(), tool.Cmd{Name: "ip", Args: []string{"-j", "-d", "link"}})
	if err != nil {
		t.Fatal(err)
	}
	var list []link
	if err := json.Unmarshal(out.Stdout, &list); err != nil {
		t.Fatal(err)
	}
	all := map[string]link{}
	for _, l := range list {
		all[l.Name] = l
	}
	return all
}

// A peer is another network namespace: what the cables lead to.
type peer struct {
	t   *testing.T
	pid string
}

func newPeer(t *testing.T) peer {
	t.Helper()
	cmd := exec.Command("unshare", "--net", "sh", "-c", "echo; exec sleep 60")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Kill(), out.Close()); err != nil {
			t.Error(err)
		}
		_ = cmd.Wait() // it was killed
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	p := peer{t, fmt.Sprint(cmd.Process.Pid)}
	p.sh("echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad; ip link set lo up")
	return p
}

// cable makes the interface name here, and its other end there.
func (p peer) cable(name, mac, other string) {
	p.t.Helper()
	ip(p.t, "link add "+name+" address "+mac+" type veth peer name "+other+" netns "+p.pid)
	p.sh("ip link set " + other + " up")
}

func (p peer) command(ctx context.Context, script string) *exec.Cmd {
	return exec.CommandContext(ctx, "nsenter", "--target", p.pid, "--net", "bash", "-c", script)
}

func (p peer) sh(script string) {
	p.t.Helper()
	if out, err := p.command(p.t.Context(), script).CombinedOutput(); err != nil {
		p.t.Fatalf("%s: %v\n%s", script, err, out)
	}
}

// dnsmasq serves DHCP and router advertisements there until the test ends. known
// is the MAC and the address of a client that has a lease already.
func (p peer) dnsmasq(known string, args ...string) {
	p.t.Helper()
	tooltest.Need(p.t, "dnsmasq")
	var log bytes.Buffer
	leases := filepath.Join(p.t.TempDir(), "leases")
	if known != "" {
		line := fmt.Sprintf("%d %s * *\n", time.Now().Add(time.Hour).Unix(), known)
		if err := os.WriteFile(leases, []byte(line), 0o644); err != nil {
			p.t.Fatal(err)
		}
	}
	cmd := p.command(context.Background(), "exec dnsmasq --keep-in-foreground --port=0 --conf-file=/dev/null --log-facility=- --user=root --group= --pid-file= --no-ping --dhcp-leasefile="+
		leases+" "+strings.Join(args, " "))
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			p.t.Error(err)
		}
		_ = cmd.Wait() // it was killed
		if p.t.Failed() {
			p.t.Log(log.String())
		}
	})
}

// reach connects from there to a server here, by TCP.
func (p peer) reach(addr string) {
	p.t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		p.t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), patient)
	defer cancel()
	if out, err := p.command(ctx, "exec 3<>/dev/tcp/"+addr+"/"+port).CombinedOutput(); err != nil {
		p.t.Errorf("%s is not reached: %v %s", addr, err, out)
	}
}

// told is what Report got.
type told struct {
	mu     sync.Mutex
	leases []Lease
	errs   []string
}

func (r *told) report(_ string, l *Lease, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.errs = append(r.errs, err.Error())
	} else {
		r.leases = append(r.leases, *l)
	}
}

func (r *told) errors() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.errs
}

// start has a takeover at work, whose cards are the veths. It ends with the test.
func start(t *testing.T, conf netconf.Config, change ...func(*Config)) (*Network, *told) {
	t.Helper()
	if err := conf.Validate(); err != nil {
		t.Fatal(err)
	}
	return begin(t, conf, change...)
}

// begin is start for what is not valid.
func begin(t *testing.T, conf netconf.Config, change ...func(*Config)) (*Network, *told) {
	t.Helper()
	var r told
	cfg := Config{
		Sys: t.TempDir(), ResolvConf: filepath.Join(t.TempDir(), "resolv.conf"), Report: r.report, Handover: &conf,
		card: func(a *netlink.LinkAttrs) bool {
			l, err := netlink.LinkByIndex(a.Index)
			return err == nil && l.Type() == "veth"
		},
	}
	for _, c := range change {
		c(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	n, err := Start(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n, &r
}

// online waits for that.
func online(t *testing.T, n *Network) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if err := n.Wait(ctx); err != nil {
		t.Fatalf("%v\n%s%s", err, shown(t, "link"), shown(t, "address"))
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !met(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so in time: %s\n%s%s%s", what, shown(t, "link"), shown(t, "address"), shown(t, "route"))
		}
	}
}

func card(name, mac string) netconf.Link {
	return netconf.Link{Name: name, Kind: netconf.Physical, NIC: &netconf.NIC{MAC: mac}}
}

func (r *told) all() []Lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leases
}
