package handover_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// inside names the machine in the process that a test starts in namespaces of
// its own.
const inside = "VIC_TEST_HANDOVER"

func TestMain(m *testing.M) {
	if code, helper := envscan.Helper(); helper {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// enter runs the same test again, in a network namespace and a mount namespace.
func enter(t *testing.T, name string) {
	t.Helper()
	tooltest.Root(t)
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", fmt.Sprintf("-update=%t", *update))
	cmd.Env = append(os.Environ(), inside+"="+name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

func ip(t *testing.T, line string) {
	t.Helper()
	tooltest.Run(t, "ip", strings.Fields(line)...)
}

// plug makes the interfaces that stand for cards. That they have no addresses of
// the link yet is so that a scan finds the same each time.
func plug(t *testing.T, m machine, up bool) {
	ip(t, "link set lo up")
	for i, name := range m.cards {
		ip(t, fmt.Sprintf("link add %s address 02:00:00:00:00:0%d type veth peer name p%s", name, i+1, name))
		ip(t, "link set p"+name+" up")
		if up {
			ip(t, "link set "+name+" addrgenmode none up")
		}
	}
}

// scanned are the facts of a namespace, in which some interfaces are cards.
func scanned(t *testing.T, m machine) envscan.Facts {
	t.Helper()
	f, err := envscan.Scan(t.Context(), envscan.Config{Only: []string{"net"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Scan.Gaps) > 0 {
		t.Errorf("%+v", f.Scan.Gaps)
	}
	f.Scan.Only, f.Scan.Version, f.Net.DNS = []string{"hw.nic", "net", "state.links"}, "", m.dns
	f.HW.NIC = []envscan.NIC{}
	for i, name := range m.cards {
		mac := link(&f, name).HWAddr
		f.HW.NIC = append(f.HW.NIC, envscan.NIC{Name: name, Kind: "ethernet", Path: fmt.Sprintf("pci-0000:00:0%d.0", i+3), Driver: "virtio_net",
			HWAddr: mac, HWAddrFrom: "permanent", Current: mac})
	}
	// The cards themselves, and other ends of cables.
	apart := func(name string) bool { return slices.Contains(m.cards, name) || strings.HasPrefix(name, "p") }
	f.Net.Links = slices.DeleteFunc(f.Net.Links, func(l envscan.NetLink) bool { return apart(l.Name) })
	f.Net.Address = slices.DeleteFunc(f.Net.Address, func(a envscan.Address) bool { return strings.HasPrefix(a.Interface, "p") })
	f.Net.Route = slices.DeleteFunc(f.Net.Route, func(r envscan.Route) bool { return strings.HasPrefix(r.Interface, "p") })
	for name, l := range f.State.Links {
		if l.Carrier = true; strings.HasPrefix(name, "p") { // which comes when it likes
			delete(f.State.Links, name)
			continue
		}
		f.State.Links[name] = l
	}
	for i := range f.Net.Links {
		if strings.HasPrefix(f.Net.Links[i].Lower, "p") {
			f.Net.Links[i].Lower = ""
		}
	}
	return f
}

// golden compares with a file of testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s: -want +got (-update rewrites it):\n%s", name, diff)
	}
}

func encoded(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestScan has the facts that the other tests go by from a kernel that was
// really set up so.
func TestScan(t *testing.T) {
	if name := os.Getenv(inside); name != "" {
		m := machines[slices.IndexFunc(machines, func(m machine) bool { return m.name == name })]
		plug(t, m, true)
		for line := range strings.Lines(strings.TrimSpace(m.setup)) {
			ip(t, line)
		}
		f := scanned(t, m)
		if m.as != nil {
			m.as(&f)
		}
		f.State = envscan.State{Links: f.State.Links}
		f.Scan.Privileged = true
		golden(t, name+".facts.json", encoded(t, f))
		return
	}
	tooltest.Need(t, "ip")
	for _, m := range machines {
		enter(t, m.name)
	}
}
