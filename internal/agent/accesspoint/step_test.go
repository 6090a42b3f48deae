package accesspoint

import (
	"bytes"
	"strings"
	"testing"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/service"
)

// TestGraph: every step of the graph is one that there is, and each there is is in
// the graph.
func TestGraph(t *testing.T) {
	b, err := images.Services("wifi-access-point")
	if err != nil {
		t.Fatal(err)
	}
	g, err := service.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	left := steps()
	for _, s := range g.Services {
		if len(s.Builtin) != 1 || left[s.Builtin[0]] == nil {
			t.Errorf("service %s: there is no step %q", s.Name, s.Builtin)
			continue
		}
		delete(left, s.Builtin[0])
	}
	for name := range left {
		t.Errorf("no service runs step %s", name)
	}
}

func TestRefuses(t *testing.T) {
	t.Setenv("VIC_OUTPUTS", "")
	for words, want := range map[string]string{
		"step":             "unknown step",
		"step dnsmask":     `did you mean "dnsmasq"?`,
		"step lan":         "lan: open /etc/vic/access-point.json",
		"service":          `did you mean "services"?`,
		"services --jsonn": "none run on this machine",
		"":                 "vic-init services --help explains",
	} {
		if err := Main(strings.Fields(words)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", words, err, want)
		}
	}
}

func TestCardsOf(t *testing.T) {
	cards := cardsOf([]envscan.NIC{
		{Name: "eth0", Kind: "ethernet", Driver: "bcmgenet"},
		{Name: "ib0", Kind: "infiniband"},
		{Name: "wlan0", Kind: "wlan", Wireless: true, Wiphy: &envscan.Wiphy{Modes: []string{"ap", "managed"}, Bands: []string{"5GHz"}}},
		{Name: "mon0", Kind: "wlan", Wireless: true, Wiphy: &envscan.Wiphy{Modes: []string{"monitor"}}},
		{Name: "old0", Kind: "wlan", Wireless: true},
	})
	if len(cards) != 4 || !cards[1].Managed || cards[2].Managed || !cards[3].Managed || cards[0].Wireless || len(cards[1].Bands) != 1 {
		t.Errorf("got %+v", cards)
	}
}

// TestValues reads what wpa_supplicant answers.
func TestValues(t *testing.T) {
	got := values("RSSI=-42\nLINKSPEED=54\nFAIL\nnote=a=b\n")
	if got["RSSI"] != "-42" || got["note"] != "a=b" || len(got) != 3 {
		t.Errorf("got %v", got)
	}
}
