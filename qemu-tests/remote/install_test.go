package remote

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/remote/network"
	"github.com/victorinix/vic/qemu-tests/remote/oldsystem"
)

// installLimit is for one machine: three boots, two systems, one install.
const installLimit = 25 * time.Minute

// way is one old system in one network, entered as one user.
type way struct {
	old  oldsystem.Config
	kind network.Kind
	user string
}

func (w way) String() string {
	return fmt.Sprintf("%s-%s-%s-%s-%s", w.old.Release, w.old.Firmware, w.old.FS, w.kind, w.user)
}

// ways are those that are tested: one, or all.
func ways() []way {
	bookworm := oldsystem.Config{Release: "bookworm", Firmware: "bios", FS: "ext4", MemoryMiB: 256}
	trixie := oldsystem.Config{Release: "trixie", Firmware: "uefi", FS: "btrfs", MemoryMiB: 384}
	// Who may use sudo without being asked; the password is typed in the tests of
	// internal/remote.
	bookworm.Files = map[string]string{"etc/sudoers.d/admin": oldsystem.Admin + " ALL=(ALL:ALL) NOPASSWD: ALL\n"}
	trixie.Files = bookworm.Files
	all := []way{
		{bookworm, network.Static, oldsystem.Admin},
		{trixie, network.Bond, "root"},
		{bookworm, network.DHCP, "root"},
		{trixie, network.Two, oldsystem.Admin},
		{bookworm, network.RA, "root"},
	}
	if matrix() {
		return all
	}
	return all[:1]
}

// TestInstall takes old systems to new ones, over the network that they have.
func TestInstall(t *testing.T) {
	lab.Need(t)
	for _, w := range ways() {
		t.Run(w.String(), func(t *testing.T) { w.install(t) })
	}
}

func (w way) install(t *testing.T) {
	config := w.old
	config.Network, config.Watchdog = network.Start(t, w.kind), "reset"
	old := oldsystem.Start(t, config)
	ctx, cancel := context.WithTimeout(t.Context(), installLimit)
	defer cancel()
	if _, err := old.Answered(ctx); err != nil {
		t.Fatal(err)
	}
	if !matrix() { // TestRescue has more of it, on a machine of its own
		refused(ctx, t, old)
		enterAndLeave(ctx, t, old)
		if t.Failed() {
			return
		}
	}
	began := time.Now()
	c := vic(ctx, t, old, "install", "debian", "-o", "hostname=newone", "-o", "kernel=cloud",
		"--on", w.user+"@"+old.Name, "--disk", "match:serial="+old.Serial, "--prove-timeout", "15m", "--yes", "--json")
	w.breakCable(t, old, c)
	exit, events := c.end(t)
	t.Logf("installed and proven in %.0f s", time.Since(began).Seconds())
	if exit != 0 {
		t.Fatalf("exit code %d\n%s\n%s\nconsole ends:\n%s", exit, last(events, 30), c.stderr.String(), old.ConsoleTail(30))
	}
	checkEvents(t, events)
	checkNew(ctx, t, old, w, lab.Result(t, events))
}

// breakCable takes the network away while the payload is on its way, for longer
// than a connection lives.
func (w way) breakCable(t *testing.T, old *oldsystem.System, c *client) {
	t.Helper()
	if !c.until(func(e event.Event) bool { return e.Phase == event.Copy && e.State == event.Progress && e.Done > 0 }) {
		return // it has ended, and end tells how
	}
	if err := old.Network.Cut(true); err != nil {
		t.Fatal(err)
	}
	time.Sleep(deadAfter) // the time is what is tested: nothing tells of a cable
	if err := old.Network.Cut(false); err != nil {
		t.Fatal(err)
	}
}

// deadAfter is when ssh gives a connection up on which nothing comes.
const deadAfter = 22 * time.Second

// last are the last events, for people.
func last(events []event.Event, n int) string {
	var b strings.Builder
	for _, e := range events[max(0, len(events)-n):] {
		fmt.Fprintf(&b, "%s %s %s %s\n", e.Phase, e.Step, e.State, e.Message)
	}
	return b.String()
}

// checkEvents: everything was verified before the first write, and what was sent
// before the jump is small.
func checkEvents(t *testing.T, events []event.Event) {
	t.Helper()
	at := func(what string, is func(event.Event) bool) int {
		i := slices.IndexFunc(events, is)
		if i < 0 {
			t.Fatalf("no event tells of %s", what)
		}
		return i
	}
	verified := at("the end of verify", func(e event.Event) bool { return e.Phase == event.Verify && e.Step == "" && e.State == event.Done })
	if wrote := at("the first write", func(e event.Event) bool { return e.Phase == event.Partition }); wrote < verified {
		t.Errorf("event %d writes, and only %d ends verify", wrote, verified)
	}
	var sent int64
	for _, e := range events {
		if e.Phase == event.Enter && e.Step == "upload" && e.State == event.Done {
			sent = e.Done
		}
	}
	t.Logf("%.2f MB were sent before kexec", float64(sent)/1e6)
	if sent == 0 || sent > 20e6 {
		t.Errorf("%d bytes were sent, at most 20 MB are right for a virtual machine", sent)
	}
}

// checkNew asks the new system by what the old one was known: the same address,
// host keys, and user's key.
func checkNew(ctx context.Context, t *testing.T, old *oldsystem.System, w way, installed event.Result) {
	t.Helper()
	// Its first boot may still be under way.
	const ask = "systemctl is-system-running --wait >/dev/null; hostname; cat /etc/machine-id; findmnt -no FSTYPE /; uname -r; ip -o addr show scope global; ip route show default; ip -6 route show default"
	out, err := old.SSH(ctx, "root", ask, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range append([]string{"newone", old.MachineID, "ext4", installed.Kernel}, addresses(w.kind)...) {
		if !strings.Contains(out, want) {
			t.Errorf("the new system lacks %q; it says\n%s", want, out)
		}
	}
}

// addresses are what a network is known by in the new system too.
func addresses(kind network.Kind) []string {
	return map[network.Kind][]string{
		network.DHCP:   {"10.7.0.20/24", "default via 10.7.0.1"},
		network.Static: {"192.0.2.20/32", "2001:db8:20::20/64", "default via 10.7.0.1", "default via 2001:db8:7::1"},
		network.Bond:   {"10.7.42.20/24", "bond0.42", "default via 10.7.42.1"},
		network.Two:    {"10.7.1.20/24", "10.7.2.20/24", "default via 10.7.1.1", "default via 10.7.2.1"},
		network.RA:     {"2001:db8:9:0:5054:ff:fe76:6e00/64"},
	}[kind]
}
