// Package accesspoint boots the reverse Wi-Fi access point in a virtual machine, with
// simulated radios in it (radio/), and is what is plugged into its Ethernet side.
package accesspoint

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/accesspoint/appliance"
	"github.com/victorinix/vic/qemu-tests/lab"
)

func TestMain(m *testing.M) { lab.Main(m) }

// TestAccessPoint is the appliance from power-on to a client that gets out, and what
// can happen to its wireless side.
func TestAccessPoint(t *testing.T) {
	lab.Need(t)
	if os.Getenv("VIC_TEST_MATRIX") == "" {
		t.Skip("boots an appliance for several minutes; VIC_TEST_MATRIX=1 has it run")
	}
	tooltest.Root(t)
	tooltest.Need(t, "ip", "dhclient", "curl", "ssh", "qemu-system-aarch64")
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) { works(t, arch) })
	}
}

func works(t *testing.T, arch string) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	a := accessPoint{appliance.New(t, arch)}
	began := time.Now()
	a.Plug(t)
	a.Eventually(t, "a page", func() error { return a.Page("http://203.0.113.1/") })
	t.Logf("serving %.1f s after the machine was started", time.Since(began).Seconds())
	for _, family := range []string{"-4", "-6"} {
		t.Run("by name "+family, func(t *testing.T) {
			a.Eventually(t, "a page", func() error { return a.Page("http://internet.test/", family) })
		})
	}
	t.Run("nothing gets in", a.nothingGetsIn)
	t.Run("the access point goes and comes back", a.goes)
	t.Run("wrong password", a.wrongPassword)
	t.Run("the cable is pulled", func(t *testing.T) { a.cablePulled(ctx, t) })
}

// accessPoint is one that tests look at.
type accessPoint struct{ *appliance.Appliance }

// state is what the appliance says about its wireless side.
func (a accessPoint) state() (string, error) {
	out, err := a.SSH("cat /run/vic/services/wifi/outputs/state /run/vic/services/wifi/outputs/why")
	return strings.TrimSpace(out), err
}

func (a accessPoint) awaitState(t *testing.T, want string) {
	t.Helper()
	a.Eventually(t, "state "+want, func() error {
		got, err := a.state()
		if err == nil && !strings.HasPrefix(got, want) {
			err = fmt.Errorf("it is %q", got)
		}
		return err
	})
}

func (a accessPoint) must(t *testing.T, command string) string {
	t.Helper()
	out, err := a.SSH(command)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// nothingGetsIn: from the air neither the appliance nor who is behind it is reached.
func (a accessPoint) nothingGetsIn(t *testing.T) {
	address, _, _ := strings.Cut(a.must(t, "cat /run/vic/services/uplink/outputs/address"), "/")
	a.must(t, "ip netns exec air ip route replace 192.168.77.0/24 via "+address)
	for _, target := range []string{address + " 22", address + " 53", address + " 80", "192.168.77.1 22", "192.168.77.1 53", "192.168.77.1 80"} {
		if got := strings.TrimSpace(a.must(t, "/radio reach "+target)); got != "silence" {
			t.Errorf("%s: %s", target, got)
		}
	}
	if got := strings.TrimSpace(a.must(t, "/radio reach 203.0.113.1 80")); got != "open" {
		t.Errorf("the judge itself does not reach what it should: %s", got)
	}
}

func (a accessPoint) goes(t *testing.T) {
	a.must(t, "echo x > /run/radio/off")
	a.awaitState(t, "not-found\nthe network is gone")
	page, err := a.Client("curl", "-sS", "--max-time", "5", "http://192.168.77.1/")
	if err != nil || !strings.Contains(page, "the network is gone") {
		t.Errorf("the status page: %v\n%s", err, page)
	}
	a.must(t, "rm /run/radio/off")
	a.awaitState(t, "connected")
	a.Eventually(t, "a page", func() error { return a.Page("http://203.0.113.1/") })
}

func (a accessPoint) wrongPassword(t *testing.T) {
	a.must(t, "echo another password > /run/radio/key")
	a.awaitState(t, "wrong-key\nthe password is wrong")
	if page, err := a.Client("curl", "-sS", "--max-time", "5", "http://192.168.77.1/"); err != nil || !strings.Contains(page, "the password is wrong") {
		t.Errorf("the status page: %v\n%s", err, page)
	}
	a.must(t, "rm /run/radio/key")
	a.awaitState(t, "connected")
	a.Eventually(t, "a page", func() error { return a.Page("http://203.0.113.1/") })
}

func (a accessPoint) cablePulled(ctx context.Context, t *testing.T) {
	if err := a.SetLink(ctx, 0, false); err != nil {
		t.Fatal(err)
	}
	if err := a.Page("http://203.0.113.1/"); err == nil {
		t.Error("a pulled cable carries")
	}
	if err := a.SetLink(ctx, 0, true); err != nil {
		t.Fatal(err)
	}
	a.Eventually(t, "a page", func() error { return a.Page("http://203.0.113.1/") })
}
