package plan_test

import (
	"strings"
	"testing"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/netconf"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
)

// remote is an install over SSH onto a machine that stays what it was: its
// payload is sent, its identity and its network are kept.
func remote(t *testing.T) (request.Request, envscan.Facts) {
	req, facts := debian(t), machine("uefi", 512)
	req.Payload.Source = request.Source{Stream: true}
	req.Finish = request.FinishReboot
	req.System.Identity = &request.Identity{MachineID: strings.Repeat("0123456789abcdef", 2), HostKeys: true}
	facts.HW.NIC = []envscan.NIC{card("eth0", "5", macA), card("eth1", "6", macB), card("eth2", "7", "52:54:00:00:00:0c")}
	req.System.Network = request.Network{Mode: request.NetworkAsBefore, Config: &netconf.Config{
		Links: []netconf.Link{
			{Name: "enp5s0", Kind: netconf.Physical, NIC: &netconf.NIC{MAC: macA}, Master: "bond0"},
			{Name: "enp6s0", Kind: netconf.Physical, NIC: &netconf.NIC{MAC: macB}, Master: "bond0"},
			{Name: "bond0", Kind: netconf.Bond, MAC: macA, Bond: &netconf.BondConfig{Mode: "active-backup"}},
		},
		Addresses: []netconf.Address{{Link: "bond0", Address: "192.0.2.7/32"}},
		Routes:    []netconf.Route{{Family: "ipv4", Destination: "default", Gateway: "198.51.100.1", Link: "bond0", OnLink: true}},
	}}
	return req, facts
}

func TestRemoteGolden(t *testing.T) {
	req, facts := remote(t)
	p, err := plan.New(req, facts, []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "remote.txt", []byte(p.Describe()+"\n"+injectedNetwork(p)))
}

// injectedNetwork are the files of systemd-networkd.
func injectedNetwork(p plan.Plan) string {
	var b strings.Builder
	for _, s := range p.Steps {
		if f, ok := s.Action.(plan.WriteFile); ok && strings.HasPrefix(f.Path, "/etc/systemd/network/") {
			b.WriteString("\n" + f.Path + "\n" + f.Content)
		}
	}
	return b.String()
}

// find is the first action of a kind.
func find[A plan.Action](p plan.Plan, phase event.Phase) (a A, ok bool) {
	for _, s := range p.Steps {
		if a, ok := s.Action.(A); ok && s.Phase == phase {
			return a, true
		}
	}
	return a, false
}

func TestStreamedPayload(t *testing.T) {
	req, facts := remote(t)
	p, err := plan.New(req, facts, []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := find[plan.CheckPayload](p, event.Verify); ok {
		t.Error("a payload is verified before it was sent")
	}
	receive, _ := find[plan.ReceivePayload](p, event.Copy)
	check, _ := find[plan.CheckPayload](p, event.Copy)
	copied, _ := find[plan.CopyPayload](p, event.Copy)
	remove, _ := find[plan.RemovePayload](p, event.Copy)
	if receive.Path == "" || receive.Size != req.Payload.Size || check.Path != receive.Path || copied.Path != receive.Path || remove.Path != receive.Path {
		t.Errorf("got %+v, %+v, %+v, %+v", receive, check, copied, remove)
	}
	if check.Payload.SHA256 != req.Payload.SHA256 {
		t.Errorf("got %+v", check)
	}
	// The same install from a disk has the same identifiers.
	req.Payload.Source = request.Source{Serial: "vic-payload"}
	other, err := plan.New(req, facts, []string{"password"})
	if err != nil || other.Result.RootUUID != p.Result.RootUUID {
		t.Errorf("got %s, %v, want %s", other.Result.RootUUID, err, p.Result.RootUUID)
	}
}

// The payload lies beside its tree for a while: what is too little for both is
// refused, what is enough for the tree alone is not.
func TestRoomForAStreamedPayload(t *testing.T) {
	for _, stream := range []bool{false, true} {
		req, facts := remote(t)
		req.Payload.TreeSize, req.Payload.Size = 5<<30, 3<<30
		if !stream {
			req.Payload.Source = request.Source{Path: "/x"}
		}
		_, err := plan.New(req, facts, []string{"password"})
		if !stream {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		const want = "the payload needs 8.2 GiB: 5.2 GiB installed, and 3.0 GiB for itself as it is received"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestIdentity(t *testing.T) {
	for name, tt := range map[string]struct {
		identity *request.Identity
		id       string
		keys     bool
	}{
		"a new one": {nil, "", false},
		"as before": {&request.Identity{MachineID: strings.Repeat("ab", 16), HostKeys: true}, strings.Repeat("ab", 16) + "\n", true},
		"new keys":  {&request.Identity{MachineID: strings.Repeat("ab", 16)}, strings.Repeat("ab", 16) + "\n", false},
	} {
		req, facts := remote(t)
		req.System.Identity = tt.identity
		p, err := plan.New(req, facts, []string{"password"})
		if err != nil {
			t.Fatal(err)
		}
		if f := writes(p, "/etc/machine-id"); f == nil || f.Content != tt.id || f.Mode != 0o644 {
			t.Errorf("%s: got %+v", name, f)
		}
		_, checks := find[plan.CheckHostKeys](p, event.Verify)
		keys, _ := find[plan.HostKeys](p, event.Inject)
		if keys.AsBefore != tt.keys || checks != tt.keys {
			t.Errorf("%s: got %v, checked: %v", name, keys, checks)
		}
	}
}

// writes is how a plan writes a file; nil: it does not.
func writes(p plan.Plan, path string) *plan.WriteFile {
	for _, s := range p.Steps {
		if f, ok := s.Action.(plan.WriteFile); ok && f.Path == path {
			return &f
		}
	}
	return nil
}

func TestNetworkAsBefore(t *testing.T) {
	req, facts := remote(t)
	cfg := req.System.Network.Config
	p, err := plan.New(req, facts, []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	if got := injectedNetwork(p); strings.Contains(got, "DHCP=yes") || strings.Contains(got, "52:54:00:00:00:0c") || !strings.Contains(got, "192.0.2.7/32") {
		t.Errorf("got %s", got)
	}
	// A name that was asked for is the card's in everything.
	req.System.Network.NICs = []request.NICName{{Name: "wan0", MAC: macA}}
	cfg.Rules = []netconf.Rule{{Priority: 5, Family: "ipv4", In: "enp5s0", Table: 7}, {Priority: 6, Family: "ipv4", In: "enp6s0", Table: 7}}
	p, err = plan.New(req, facts, []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, s := range p.Steps {
		if f, ok := s.Action.(plan.WriteFile); ok {
			if seen[f.Path]++; seen[f.Path] > 1 {
				t.Errorf("%s is written twice", f.Path)
			}
		}
	}
	if got := injectedNetwork(p); strings.Contains(got, "=enp5s0") || !strings.Contains(got, "IncomingInterface=wan0") || seen["/etc/systemd/network/10-vic-wan0.link"] != 1 {
		t.Errorf("got %s", got)
	}
	// What a rule needs is called as it is called there.
	names := map[string]string{}
	for _, n := range p.Result.NICs {
		names[n.HWAddr] = n.Name
	}
	if names[macA] != "wan0" || names[macB] != "enp6s0" {
		t.Errorf("got %v", names)
	}
	cfg.Links = append(cfg.Links, netconf.Link{Name: "lan7", Kind: netconf.Bridge})
	req.System.Network.NICs = []request.NICName{{Name: "lan7", MAC: macA}}
	if _, err := plan.New(req, facts, []string{"password"}); err == nil || !strings.Contains(err.Error(), "name network cards") {
		t.Errorf("a card with the name of a bridge: got %v", err)
	}
}

func TestCardOfBeforeIsNotThere(t *testing.T) {
	req, facts := remote(t)
	facts.HW.NIC = facts.HW.NIC[:1]
	p, err := plan.New(req, facts, []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(p.Warnings, "\n"); !strings.Contains(got, "the network card that was enp6s0 in the system before ("+macB+") is not there") || strings.Contains(got, "enp5s0") {
		t.Errorf("got %s", got)
	}
}

// A payload that the target downloads is looked for before anything is written.
func TestDownloadedPayload(t *testing.T) {
	req, facts := remote(t)
	req.Payload.Source = request.Source{URL: "http://192.0.2.1/payload.erofs"}
	p, err := plan.New(req, facts, []string{"password"})
	if err != nil {
		t.Fatal(err)
	}
	looked, _ := find[plan.CheckDownload](p, event.Verify)
	fetched, _ := find[plan.DownloadPayload](p, event.Copy)
	check, _ := find[plan.CheckPayload](p, event.Copy)
	if want := (plan.CheckDownload{URL: req.Payload.Source.URL, Size: req.Payload.Size}); looked != want {
		t.Errorf("got %+v, want %+v", looked, want)
	}
	if fetched.URL != looked.URL || fetched.Size != looked.Size || check.Path != fetched.Path || fetched.Path == "" {
		t.Errorf("got %+v, then %+v", fetched, check)
	}
	if _, ok := find[plan.ReceivePayload](p, event.Copy); ok {
		t.Error("somebody else has to send it too")
	}
}
