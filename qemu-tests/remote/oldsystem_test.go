package remote

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/initramfs/programs"
	vicremote "github.com/victorinix/vic/internal/remote"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/remote/network"
	"github.com/victorinix/vic/qemu-tests/remote/oldsystem"
)

// TestOldSystems proves the lab: the old systems boot, are reached, and are what
// they are said to be.
func TestOldSystems(t *testing.T) {
	if !matrix() {
		t.Skip("TestInstall and TestRescue begin with the same systems: VIC_TEST_MATRIX=1 checks all of them by themselves")
	}
	lab.Need(t)
	bookworm := oldsystem.Config{Release: "bookworm"}
	trixie := oldsystem.Config{Release: "trixie", Firmware: "uefi", FS: "btrfs"}
	for _, c := range []oldsystem.Config{bookworm, trixie} {
		for _, kind := range append(network.All(), network.User) {
			t.Run(c.Release+"-"+string(kind), func(t *testing.T) { checkOld(t, c, kind) })
		}
	}
}

func checkOld(t *testing.T, c oldsystem.Config, kind network.Kind) {
	c.MemoryMiB = 256
	c.Network = network.Start(t, kind)
	old := oldsystem.Start(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	took, err := old.Answered(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("answered after %.0f s", took.Seconds())
	f := facts(ctx, t, old)
	t.Logf("facts after %.0f s", time.Since(old.Began).Seconds())
	checkSystem(t, old, f)
	checkNetwork(t, kind, f)
	who, err := old.SSH(ctx, oldsystem.Admin, "sudo -n true 2>/dev/null && echo unasked; sudo -S -p '' id -un", oldsystem.AdminPassword+"\n")
	if err != nil || who != "root\n" {
		t.Errorf("%s is by sudo %q, %v", oldsystem.Admin, who, err)
	}
	if n, err := old.Writes(ctx, 0); err != nil || n == 0 {
		t.Errorf("%d writes, %v", n, err)
	}
	t.Logf("all after %.0f s", time.Since(old.Began).Seconds())
}

// facts has vic-env look at the machine, as vic facts --on does.
func facts(ctx context.Context, t *testing.T, old *oldsystem.System) envscan.Facts {
	t.Helper()
	s, err := vicremote.Open(vicremote.Host{Name: old.Name}, old.SSHConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	m, err := s.Look(ctx)
	if err != nil {
		t.Fatal(err)
	}
	program, err := programs.Env(m.Arch)
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.Execute(ctx, program, "dump", "--format", "json", "--timeout", "60s")
	if err != nil {
		t.Fatal(err)
	}
	var f envscan.Facts
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func checkSystem(t *testing.T, old *oldsystem.System, f envscan.Facts) {
	t.Helper()
	j, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"` + old.Release + `"`, `"` + old.MachineID + `"`, `"` + old.Serial + `"`, `"` + old.FS + `"`} {
		if !strings.Contains(string(j), want) {
			t.Errorf("the facts lack %s:\n%s", want, j)
		}
	}
}

// checkNetwork compares the running system with what its network was to be.
func checkNetwork(t *testing.T, kind network.Kind, f envscan.Facts) {
	t.Helper()
	var got []string
	for _, a := range f.Net.Address {
		if a.Scope == "global" {
			got = append(got, a.Interface+" "+a.Address)
		}
	}
	for _, r := range f.Net.Route {
		if r.Destination == "default" && r.Table == 254 {
			text := r.Interface + " via " + r.Gateway
			if strings.HasPrefix(r.Gateway, "fe80:") {
				text = r.Interface + " via (link)"
			}
			if r.OnLink {
				text += " onlink"
			}
			got = append(got, text)
		}
	}
	for _, l := range f.Net.Links {
		got = append(got, strings.Join(append([]string{l.Name, l.Kind, l.Mode, l.Lower}, l.Ports...), " "))
	}
	first := network.CardName(0)
	second := network.CardName(1)
	want := map[network.Kind][]string{
		network.User: {first + " 10.0.2.15/24", first + " via 10.0.2.2"},
		network.DHCP: {first + " 10.7.0.20/24", first + " via 10.7.0.1"},
		network.Static: {
			first + " 192.0.2.20/32", first + " 2001:db8:20::20/64",
			first + " via 10.7.0.1 onlink", first + " via 2001:db8:7::1 onlink",
		},
		network.Bond: {"bond0.42 10.7.42.20/24", "bond0.42 via 10.7.42.1", "bond0 bond active-backup  " + first + " " + second, "bond0.42 vlan  bond0"},
		network.Two: {
			first + " 10.7.1.20/24", second + " 10.7.2.20/24",
			first + " via 10.7.1.1", second + " via 10.7.2.1",
		},
		network.RA: {first + " 2001:db8:9:0:5054:ff:fe76:6e00/64", first + " via (link)"},
	}[kind]
	for _, w := range want {
		if !slices.Contains(got, w) && !slices.Contains(got, w+" onlink") {
			t.Errorf("the network lacks %q; it has\n%s", w, strings.Join(got, "\n"))
		}
	}
	if len(want) == 0 {
		t.Errorf("nothing is checked of network %s", kind)
	}
}
