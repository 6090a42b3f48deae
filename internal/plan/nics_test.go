package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
)

// card is a network card in a PCI slot.
func card(name, slot, mac string) envscan.NIC {
	n := envscan.NIC{
		Name: name, Kind: "ethernet", Path: "pci-0000:00:" + slot + ".0", Driver: "e1000e", HWAddr: mac, HWAddrFrom: "permanent", Current: mac,
		Names: []envscan.Names{{Scheme: "v238", Path: "enp0s" + slot, MAC: "enx" + strings.ReplaceAll(mac, ":", "")}},
	}
	if mac == "" {
		n.HWAddrFrom, n.Names[0].MAC = "random", ""
	}
	return n
}

const (
	macA = "52:54:00:00:00:0a"
	macB = "52:54:00:00:00:0b"
)

// named makes a plan of a machine with these cards and wishes.
func named(t *testing.T, udev string, wishes []string, cards ...envscan.NIC) (plan.Plan, error) {
	t.Helper()
	facts, req := machine("uefi", 512), debian(t)
	facts.HW.NIC, req.Payload.Udev = cards, udev
	var err error
	if req.System.Network.NICs, err = request.ParseNICNames(wishes...); err != nil {
		t.Fatal(err)
	}
	return plan.New(req, facts, []string{"password"})
}

// linkFiles are the .link files of a plan by name, their [Match] alone.
func linkFiles(p plan.Plan) map[string]string {
	files := map[string]string{}
	for _, s := range p.Steps {
		f, ok := s.Action.(plan.WriteFile)
		name, link := strings.CutSuffix(strings.TrimPrefix(f.Path, "/etc/systemd/network/10-vic-"), ".link")
		if !ok || !link {
			continue
		}
		match, rest, _ := strings.Cut(strings.TrimPrefix(f.Content, "[Match]\n"), "\n\n")
		if rest != "[Link]\nName="+name+"\nAlternativeNamesPolicy=database onboard slot path\nMACAddressPolicy=persistent\n" {
			match = f.Content
		}
		files[name] = match
	}
	return files
}

func TestNICNames(t *testing.T) {
	for name, tt := range map[string]struct {
		wishes []string
		cards  []envscan.NIC
		want   map[string]string
	}{
		"by MAC, whatever the slot": {[]string{"lan0=mac:" + macA}, []envscan.NIC{card("eth1", "5", macB), card("eth0", "9", macA)},
			map[string]string{"lan0": "PermanentMACAddress=" + macA}},
		"by path, so a replaced card has its name": {[]string{"lan0=path:pci-0000:00:9.0"}, []envscan.NIC{card("eth0", "9", macB)},
			map[string]string{"lan0": "PermanentMACAddress=" + macB}},
		"without a MAC of its own": {[]string{"lan0=driver:e1000e"}, []envscan.NIC{card("eth0", "9", "")},
			map[string]string{"lan0": "Path=pci-0000:00:9.0\nDriver=e1000e"}},
		"two cards with one MAC": {[]string{"lan0=path:pci-0000:00:5.0", "wan0=path:pci-0000:00:6.0"}, []envscan.NIC{card("eth0", "5", macA), card("eth1", "6", macA)},
			map[string]string{"lan0": "Path=pci-0000:00:5.0\nDriver=e1000e", "wan0": "Path=pci-0000:00:6.0\nDriver=e1000e"}},
		"names that change places": {[]string{"wan0=mac:" + macA, "lan0=mac:" + macB}, []envscan.NIC{card("lan0", "5", macA), card("wan0", "6", macB)},
			map[string]string{"wan0": "PermanentMACAddress=" + macA, "lan0": "PermanentMACAddress=" + macB}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := named(t, "257.13-1", tt.wishes, tt.cards...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, linkFiles(p)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What people and the target see of one name that was asked for and one that was
// not.
func TestNICNamesGolden(t *testing.T) {
	p, err := named(t, "257.13-1~deb13u1", []string{"lan0=mac:" + macA}, card("eth0", "5", macA), card("eth1", "6", macB))
	if err != nil {
		t.Fatal(err)
	}
	text := p.Describe()
	for _, s := range p.Steps {
		if f, ok := s.Action.(plan.WriteFile); ok && strings.HasPrefix(f.Path, "/etc/systemd/network/") {
			text += "\n" + f.Path + "\n" + f.Content
		}
	}
	golden(t, "nic-names.txt", []byte(text))
}

// A bond has given both cards the address of the first: the wish goes by the
// cards' own.
func TestNICNamesOfABond(t *testing.T) {
	a, b := card("eth0", "5", macA), card("eth1", "6", macB)
	b.Current = macA
	p, err := named(t, "", []string{"lan0=mac:" + macA, "lan1=mac:" + macB}, a, b)
	if err != nil {
		t.Fatal(err)
	}
	want := []event.NIC{{Name: "lan0", Wished: true, HWAddr: macA, Path: a.Path}, {Name: "lan1", Wished: true, HWAddr: macB, Path: b.Path}}
	if diff := cmp.Diff(want, p.Result.NICs); diff != "" {
		t.Error(diff)
	}
	// Where nobody knows the second's own, it is not taken for the first.
	b.HWAddr, b.HWAddrFrom = "", "assigned"
	if _, err := named(t, "", []string{"lan0=mac:" + macA}, a, b); err != nil {
		t.Error(err)
	}
}

func TestNICNamesRefused(t *testing.T) {
	port := card("eth1", "5", "")
	for name, tt := range map[string]struct {
		wishes []string
		cards  []envscan.NIC
		want   []string
	}{
		"none": {[]string{"lan0=mac:" + macB}, []envscan.NIC{card("eth0", "5", macA)},
			[]string{"lan0=mac:" + macB + ": there is none", "eth0: mac:" + macA + " path:pci-0000:00:5.0 driver:e1000e"}},
		"no card at all": {[]string{"lan0=mac:" + macB}, nil, []string{"this machine has no network card"}},
		"several":        {[]string{"lan0=driver:e1000e"}, []envscan.NIC{card("eth0", "5", macA), card("eth1", "6", macB)}, []string{"there are 2", "eth0:", "eth1:"}},
		"same card twice": {[]string{"lan0=mac:" + macA, "wan0=path:pci-0000:00:5.0"}, []envscan.NIC{card("eth0", "5", macA)},
			[]string{"wan0=path:pci-0000:00:5.0 is the same as lan0"}},
		"ports that cannot be told apart": {[]string{"lan0=mac:" + macA}, []envscan.NIC{card("eth0", "5", macA), card("eth2", "6", macA)}, []string{"there are 2"}},
		"all of them at once": {[]string{"lan0=mac:" + macB, "wan0=driver:igb"}, []envscan.NIC{card("eth0", "5", macA)},
			[]string{"lan0=mac:" + macB, "wan0=driver:igb"}},
		"two ports at one place": {[]string{"lan0=path:pci-0000:00:5.0"}, []envscan.NIC{card("eth0", "5", ""), port}, []string{"there are 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := named(t, "", tt.wishes, tt.cards...)
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got %v, want %q", err, want)
				}
			}
		})
	}
}

// What the system's own udev will call a card depends on its version.
func TestPredictedNames(t *testing.T) {
	bridge := card("eth0", "5", macA)
	bridge.Names = []envscan.Names{
		{Scheme: "v238", Slot: "ens4f0", Path: "enp5s0f0"}, {Scheme: "v247", Path: "enp5s0f0"},
		{Scheme: "v251", Slot: "ens4f0", Path: "enp5s0f0"}, {Scheme: "v255", Path: "enp5s0f0"},
	}
	usb := card("eth0", "5", macA)
	usb.Path = "pci-0000:00:14.0-usb-0:1:1.0"
	usb.Names = []envscan.Names{{Scheme: "v238", Path: "enp0s20u1", MAC: "enx52540000000a"}}
	local := usb
	local.Names = []envscan.Names{{Scheme: "v238", Path: "enp0s20u1"}}
	onboard := card("eth0", "5", macA)
	onboard.Names = []envscan.Names{{Scheme: "v238", Onboard: "eno1", Path: "enp0s5"}}
	long := card("eth0", "5", macA)
	long.Names = []envscan.Names{{Scheme: "v238", Path: "enP65536p225s0f1"}}
	kernels := card("fixed0", "5", macA)
	kernels.NameFrom = "predictable"
	for name, tt := range map[string]struct {
		udev string
		card envscan.NIC
		want string
	}{
		"11": {"247.3-7+deb11u4", bridge, "enp5s0f0"}, "12": {"252.39-1~deb12u2", bridge, "ens4f0"}, "13": {"257.13-1~deb13u1", bridge, "enp5s0f0"},
		"usb": {"257.13-1", usb, "enx52540000000a"}, "usb without a MAC on 12": {"252.39-1", local, ""}, "usb without a MAC": {"257.13-1", local, "enp0s20u1"},
		"onboard": {"257.13-1", onboard, "eno1"}, "too long": {"257.13-1", long, ""}, "nothing known": {"", onboard, ""},
		"the kernel's choice": {"257.13-1", kernels, "fixed0"},
	} {
		p, err := named(t, tt.udev, nil, tt.card)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if len(p.Result.NICs) > 0 {
			got = p.Result.NICs[0].Name
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
		if tt.want != "" && !strings.Contains(p.Describe(), tt.want+": "+macA+" at "+tt.card.Path) {
			t.Errorf("%s: the plan does not show the name:\n%s", name, p.Describe())
		}
	}
	// Two that would have the same: chance.
	if p, err := named(t, "257.13-1", nil, card("eth0", "5", macA), card("eth1", "5", macB)); err != nil || len(p.Result.NICs) != 0 {
		t.Errorf("%+v, %v", p.Result.NICs, err)
	}
}

func TestSchemeOfTheCommandLine(t *testing.T) {
	facts, req := machine("uefi", 512), debian(t)
	n := card("eth0", "5", macA)
	n.Names = []envscan.Names{{Scheme: "v238", Path: "enp0s5"}, {Scheme: "v257", Slot: "ens5", Path: "enp0s5"}}
	facts.HW.NIC, req.Payload.Udev = []envscan.NIC{n}, "257.13-1"
	for param, want := range map[string]string{"quiet": "ens5", "net.naming_scheme=v252": "enp0s5", "net.naming_scheme=v999": "ens5", "net.ifnames=0": ""} {
		req.System.Cmdline = []string{param}
		p, err := plan.New(req, facts, []string{"password"})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if len(p.Result.NICs) > 0 {
			got = p.Result.NICs[0].Name
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", param, got, want)
		}
	}
}
