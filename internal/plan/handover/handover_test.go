package handover_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/netconf"
	"github.com/victorinix/vic/internal/plan/handover"
)

func factsOf(t *testing.T, name string) envscan.Facts {
	t.Helper()
	doc, err := os.ReadFile("testdata/" + name + ".facts.json")
	if err != nil {
		t.Fatal(err)
	}
	var f envscan.Facts
	if err := json.Unmarshal(doc, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestNetwork(t *testing.T) {
	for _, m := range machines {
		t.Run(m.name, func(t *testing.T) {
			c, warnings := handover.Network(factsOf(t, m.name))
			if err := c.Validate(); err != nil {
				t.Error(err)
			}
			golden(t, m.name+".json", encoded(t, struct {
				Warnings []string       `json:"warnings"`
				Network  netconf.Config `json:"network"`
			}{warnings, c}))
			var files strings.Builder
			for _, f := range netconf.Networkd(c) {
				files.WriteString("### " + f.Path + "\n" + f.Content + "\n")
			}
			golden(t, m.name+".networkd", []byte(files.String()))
		})
	}
}

// Whatever is missing from a machine, or cannot be handed over, what is left is
// a document that can be set up.
func TestNetworkWithout(t *testing.T) {
	changes := 0
	check := func(f envscan.Facts, what string) {
		t.Helper()
		changes++
		c, _ := handover.Network(f)
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		netconf.Networkd(c)
	}
	for _, m := range machines {
		whole := factsOf(t, m.name)
		without := func(n int, what string, change func(f *envscan.Facts, i int)) {
			for i := range n {
				f := factsOf(t, m.name)
				change(&f, i)
				check(f, fmt.Sprintf("%s: %s %d", m.name, what, i))
			}
		}
		without(len(whole.HW.NIC), "no card", func(f *envscan.Facts, i int) { f.HW.NIC = slices.Delete(f.HW.NIC, i, i+1) })
		without(len(whole.HW.NIC), "wireless card", func(f *envscan.Facts, i int) { f.HW.NIC[i].Wireless = true })
		without(len(whole.HW.NIC), "card without a MAC", func(f *envscan.Facts, i int) { f.HW.NIC[i].HWAddr, f.HW.NIC[i].HWAddrFrom = "", "none" })
		without(len(whole.HW.NIC), "card that is off", func(f *envscan.Facts, i int) { f.State.Links[f.HW.NIC[i].Name] = envscan.Link{MTU: 1500} })
		without(len(whole.HW.NIC), "card with the MAC of the first", func(f *envscan.Facts, i int) { f.HW.NIC[i].HWAddr = f.HW.NIC[0].HWAddr })
		without(len(whole.Net.Links), "no link", func(f *envscan.Facts, i int) { f.Net.Links = slices.Delete(f.Net.Links, i, i+1) })
		without(len(whole.Net.Links), "unknown link", func(f *envscan.Facts, i int) { f.Net.Links[i].Kind = "xyz" })
		without(len(whole.Net.Links), "link without ports", func(f *envscan.Facts, i int) { f.Net.Links[i].Ports = nil })
		without(len(whole.Net.Address), "no address", func(f *envscan.Facts, i int) { f.Net.Address = slices.Delete(f.Net.Address, i, i+1) })
		without(len(whole.Net.Route), "no route", func(f *envscan.Facts, i int) { f.Net.Route = slices.Delete(f.Net.Route, i, i+1) })
	}
	if changes < 100 {
		t.Errorf("%d changes: the test checks little", changes)
	}
}

// Two faces of one card, as a hypervisor that passes one through shows them, are
// told apart by what drives them.
func TestSharedMAC(t *testing.T) {
	f := factsOf(t, "two-cards")
	f.HW.NIC[1].HWAddr, f.HW.NIC[1].Driver = f.HW.NIC[0].HWAddr, "mlx5_core"
	c, _ := handover.Network(f)
	want := []netconf.NIC{
		{MAC: "02:00:00:00:00:01", Path: "pci-0000:00:03.0", Driver: "virtio_net"},
		{MAC: "02:00:00:00:00:01", Path: "pci-0000:00:04.0", Driver: "mlx5_core"},
	}
	for i, w := range want {
		if *c.Links[i].NIC != w {
			t.Errorf("%+v, want %+v", *c.Links[i].NIC, w)
		}
	}
}

// What is not handed over is named, with what that means.
func TestWarnings(t *testing.T) {
	for _, tt := range []struct {
		name, from string
		change     func(*envscan.Facts)
		want       string
	}{
		{"default route through a VPN", "bridge", func(f *envscan.Facts) {
			f.Net.Route = slices.DeleteFunc(f.Net.Route, func(r envscan.Route) bool { return r.Destination == "default" })
			f.Net.Route = append(f.Net.Route, envscan.Route{Table: 254, Family: "ipv4", Destination: "default", Interface: "wg0", Type: "unicast", Scope: "link", Protocol: "boot"})
		}, "left behind are 10.99.0.1/24 and 2 routes; a default route is among them"},
		{"and no other", "bridge", func(f *envscan.Facts) {
			for i := range f.Net.Route {
				if f.Net.Route[i].Destination == "default" {
					f.Net.Route[i].Interface = "wg0"
				}
			}
		}, "no default route of ipv4 is handed over"},
		{"encapsulated", "dhcp-dhclient", func(f *envscan.Facts) { f.Net.Route[0].Encap = true }, "wraps packets"},
		{"a routing daemon", "dhcp-dhclient", func(f *envscan.Facts) { f.Net.Route[1].Protocol = "bird" }, "1 route that a routing daemon learned"},
		{"a gap", "dhcp-dhclient", func(f *envscan.Facts) { f.Scan.Gaps = []envscan.Gap{{Fact: "net.rule", Why: "EPERM"}} }, "net.rule could not be read (EPERM)"},
		{"VLANs of a bridge", "bridge", func(f *envscan.Facts) { link(f, "br0").Bridge.VLANFiltering = true }, "br0 will not filter by VLAN"},
		{"VLANs of a bridge with two ports", "bond-vlan", func(f *envscan.Facts) {
			b := link(f, "bond0")
			b.Kind, b.Bridge = "bridge", &envscan.Bridge{VLANFiltering: true}
		}, "bond0 filters by VLAN, and which"},
		{"ports of one device", "two-cards", func(f *envscan.Facts) {
			for i := range f.HW.NIC {
				f.HW.NIC[i].HWAddrFrom, f.HW.NIC[i].Path, f.HW.NIC[i].Port = "random", "pci-0000:00:03.0", int64(i)
			}
		}, "the installed system may take one for the other"},
		{"address of a port", "bridge", func(f *envscan.Facts) {
			f.Net.Address = append(f.Net.Address, envscan.Address{Interface: "e0", Address: "192.0.2.8/24", Family: "ipv4"})
		}, "e0: it is a port of br0, which alone has addresses: left behind are 192.0.2.8/24"},
		{"hash of a bond", "bond-vlan", func(f *envscan.Facts) { link(f, "bond0").Bond.Hash = "vlan+srcmac" }, "which systemd-networkd does not know"},
		{"mark of zero", "two-cards", func(f *envscan.Facts) { f.Net.Rule[0].Mark = "0x0/0x1" }, "the rule 1000 is not handed over: network: rule 1000: mark"},
		{"source elsewhere", "static-onlink", func(f *envscan.Facts) { f.Net.Route[0].Source = "10.255.0.1" }, "prefers the source 10.255.0.1, which is not handed over"},
		{"domain", "dhcp-dhclient", func(f *envscan.Facts) { f.Net.DNS.Search = []string{"a\nb"} }, "is no domain"},
		{"DNS of a link that stays", "dhcp-dhclient", func(f *envscan.Facts) { f.Net.DNS.Server = []string{"fe80::1%wg0"} }, "fe80::1%wg0 is on a link that is not handed over"},
		{"a way without a gateway", "two-cards", func(f *envscan.Facts) {
			for i := range f.Net.Route {
				if len(f.Net.Route[i].Hops) > 0 {
					f.Net.Route[i].Hops[1].Gateway = ""
				}
			}
		}, "only the one through e1, which has no gateway"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := factsOf(t, tt.from)
			tt.change(&f)
			c, warnings := handover.Network(f)
			if err := c.Validate(); err != nil {
				t.Error(err)
			}
			if all := strings.Join(warnings, "\n"); !strings.Contains(all, tt.want) {
				t.Errorf("no %q in:\n%s", tt.want, all)
			}
		})
	}
}
