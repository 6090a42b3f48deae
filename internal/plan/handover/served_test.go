package handover_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/netconf"
	"github.com/victorinix/vic/internal/plan/handover"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// TestServed asks a real DHCP server and router for addresses: as systems before
// do, and with the files that the network of those is written to, which must end
// at the same addresses.
func TestServed(t *testing.T) {
	switch os.Getenv(inside) {
	case "systemd-networkd":
		// As installers write it: under an identifier made from the machine ID.
		served(t, []netconf.File{{Path: "10-before.network", Content: "[Match]\nName=e0\n[Network]\nDHCP=yes\n"}})
		return
	case "kernel": // listens to the router by itself
		served(t, nil)
		return
	}
	if testing.Short() {
		t.Skip("takes seconds")
	}
	tooltest.Root(t)
	tooltest.Need(t, "ip", "dnsmasq")
	if _, err := os.Stat(networkd); err != nil {
		tooltest.Missing(t, err.Error())
	}
	var wait sync.WaitGroup // they wait most of the time
	for _, name := range []string{"systemd-networkd", "kernel"} {
		wait.Go(func() { enter(t, name) })
	}
	wait.Wait()
}

func served(t *testing.T, before []netconf.File) {
	private(t)
	plug(t, machine{cards: []string{"e0"}}, false)
	router(t)
	began := time.Now()
	var end func()
	if before != nil {
		_, end = start(t, before)
	} else {
		ip(t, "link set e0 up")
		ip(t, "address add 192.0.2.200/24 dev e0")
		end = func() {}
	}
	old := await(t, func(c netconf.Config) bool { return dynamic(c, before != nil) })
	end()
	ip(t, "link set e0 down")
	ip(t, "address flush dev e0")
	t.Logf("before, after %v: %+v", time.Since(began), old)
	if err := old.Validate(); err != nil {
		t.Fatal(err)
	}
	if l := old.Links[0]; l.DHCP4 != (before != nil) || !l.RA || l.DHCP6 != (before != nil) {
		t.Errorf("asks in another way: %+v", l)
	}
	_, end = start(t, netconf.Networkd(old))
	defer end()
	var now netconf.Config
	again := func(c netconf.Config) bool {
		now = c
		return cmp.Diff(addresses(old), addresses(c)) == "" && dynamic(c, before != nil)
	}
	await(t, again)
	t.Logf("again, after %v: %+v", time.Since(began), now)
}

// dynamic: the addresses and default routes that the router gives are there.
func dynamic(c netconf.Config, dhcp bool) bool {
	has := func(family string) bool {
		return slices.ContainsFunc(c.Routes, func(r netconf.Route) bool { return r.Family == family && r.Destination == "default" && r.Dynamic })
	}
	n := 0
	for _, a := range c.Addresses {
		if a.Dynamic {
			n++
		}
	}
	return has("ipv6") && has("ipv4") == dhcp && (n == 3 || !dhcp && n == 1)
}

func addresses(c netconf.Config) []string {
	var list []string
	for _, a := range c.Addresses {
		list = append(list, a.Address)
	}
	slices.Sort(list)
	return list
}

func await(t *testing.T, done func(netconf.Config) bool) netconf.Config {
	t.Helper()
	var c netconf.Config
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if c, _ = handover.Network(scanned(t, machine{cards: []string{"e0"}})); done(c) {
			return c
		}
	}
	t.Fatalf("not in time: %+v", c)
	return c
}

// router is at the other end of the cable, in a network namespace of its own.
func router(t *testing.T) {
	t.Helper()
	script := `read go
ip link set lo up; ip link set pe0 addrgenmode none up
ip address add 192.0.2.1/24 dev pe0
ip address add fe80::1/64 dev pe0 nodad
ip address add 2001:db8:1::1/64 dev pe0 nodad
exec dnsmasq --keep-in-foreground --log-facility=- --log-dhcp --conf-file=/dev/null --port=0 --interface=pe0 --bind-interfaces --no-ping --leasefile-ro --pid-file= --user=root \
	--dhcp-range=192.0.2.50,192.0.2.99,1h --dhcp-range=2001:db8:1::100,2001:db8:1::1ff,slaac,64,1h --enable-ra --dhcp-authoritative`
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	said := &log{}
	cmd.Stdout, cmd.Stderr = said, said
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(unix.SIGTERM)
		_ = cmd.Wait() // it was told to end
		if t.Failed() {
			t.Log(said)
		}
	})
	ip(t, fmt.Sprintf("link set pe0 netns %d", cmd.Process.Pid))
	if _, err := stdin.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !strings.Contains(said.String(), "IPv6 router advertisement enabled"); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no router: %s", said)
		}
	}
}
