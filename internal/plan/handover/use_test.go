package handover_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan/handover"
)

// refusal checks an error against a part of it; empty: none is expected.
func refusal(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestInUse(t *testing.T) {
	edit := func(name string, change func(*envscan.Facts)) envscan.Facts {
		f := factsOf(t, name)
		change(&f)
		return f
	}
	vlan := int64(7)
	for _, tt := range []struct {
		name  string
		facts envscan.Facts
		local string
		want  string
	}{
		{"a card", factsOf(t, "dhcp-networkd"), "192.0.2.7", ""},
		{"IPv4 in IPv6", factsOf(t, "dhcp-networkd"), "::ffff:192.0.2.7", ""},
		{"IPv6", factsOf(t, "ra-only"), "2001:db8:1::ff:fe00:1", ""},
		{"a VLAN on a bond", factsOf(t, "bond-vlan"), "192.0.2.7", ""},
		{"a bridge", factsOf(t, "bridge"), "192.0.2.7", ""},
		{"WireGuard", factsOf(t, "bridge"), "10.99.0.1", "on wg0, which will not be there afterwards: a WireGuard tunnel, whose keys are not handed over: log in by"},
		{"containers", factsOf(t, "bridge"), "172.17.0.1", "a bridge without a network card beneath"},
		{"a tunnel of ssh", factsOf(t, "bridge"), "127.0.0.1", "came in by 127.0.0.1, through something on the machine itself"},
		{"translated", factsOf(t, "bridge"), "198.51.100.9", "198.51.100.9, which no interface of the machine has"},
		{"wireless", edit("dhcp-dhclient", func(f *envscan.Facts) { f.HW.NIC[0].Wireless = true }), "192.0.2.7", "a wireless card"},
		{"a VLAN on a wireless card", edit("bond-vlan", func(f *envscan.Facts) {
			f.HW.NIC[0].Kind, f.HW.NIC[1].Kind = "wlan", "wlan"
		}), "192.0.2.7", "a VLAN on bond0: a bond without a network card beneath"},
		{"modem", edit("dhcp-dhclient", func(f *envscan.Facts) { f.HW.NIC[0].Kind = "wwan" }), "192.0.2.7", "a card of the kind wwan"},
		{"a VRF", edit("dhcp-dhclient", func(f *envscan.Facts) {
			f.Net.Links = append(f.Net.Links, envscan.NetLink{Name: "red", Kind: "vrf", Ports: []string{"e0"}})
		}), "192.0.2.7", "a port of red (vrf)"},
		{"a tap", edit("dhcp-dhclient", func(f *envscan.Facts) {
			f.HW.NIC, f.Net.Links = nil, []envscan.NetLink{{Name: "e0", Kind: "tun", Mode: "tap"}}
		}), "192.0.2.7", "made by a program such as a VPN"},
		{"one of two alike", edit("two-cards", func(f *envscan.Facts) {
			for i := range f.HW.NIC {
				f.HW.NIC[i].HWAddrFrom, f.HW.NIC[i].Path = "random", ""
			}
		}), "192.0.2.7", "a card without a permanent MAC that cannot be told from e1"},
		{"ports of one device", edit("two-cards", func(f *envscan.Facts) {
			for i := range f.HW.NIC {
				f.HW.NIC[i].HWAddrFrom, f.HW.NIC[i].Path, f.HW.NIC[i].Port = "random", "pci-0000:00:03.0", int64(i)
			}
		}), "192.0.2.7", ""},
		{"temporary", edit("ra-only", func(f *envscan.Facts) { f.Net.Address[0].Temporary = true }), "2001:db8:1::ff:fe00:1", "temporary address"},
		{"the loopback interface", edit("dhcp-dhclient", func(f *envscan.Facts) {
			f.Net.Address = append(f.Net.Address, envscan.Address{Interface: "lo", Address: "203.0.113.1/32", Family: "ipv4"})
		}), "203.0.113.1", "the loopback interface has it"},
		{"of the link, from the MAC", edit("ra-only", func(f *envscan.Facts) { f.Net.Address[0].Address = "fe80::ff:fe00:1/64" }), "fe80::ff:fe00:1%e0", ""},
		{"of the link, not from the MAC", edit("ra-only", func(f *envscan.Facts) { f.Net.Address[0].Address = "fe80::1234/64" }), "fe80::1234%e0", "not made from the MAC"},
		{"of another link", edit("ra-only", func(f *envscan.Facts) { f.Net.Address[0].Address = "fe80::ff:fe00:1/64" }), "fe80::ff:fe00:1%e9", "no interface of the machine has"},
		{"a VLAN on a bridge that filters", edit("bond-vlan", func(f *envscan.Facts) {
			b := link(f, "bond0")
			b.Kind, b.Bond, b.Bridge = "bridge", nil, &envscan.Bridge{VLANFiltering: true, DefaultVLAN: 1}
			link(f, "bond0.100").VLAN = &vlan
		}), "192.0.2.7", "which VLANs the ports of that carry is not handed over"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			refusal(t, handover.InUse(tt.facts, netip.MustParseAddr(tt.local)), tt.want)
		})
	}
}

// A document of facts may be of a machine that a kernel would not allow.
func TestLinksInALoop(t *testing.T) {
	f := factsOf(t, "bond-vlan")
	link(&f, "bond0").Ports = []string{"e0", "bond0.100"}
	c, warnings := handover.Network(f)
	if len(c.Links) != 0 || !strings.Contains(strings.Join(warnings, "\n"), "192.0.2.7/24") {
		t.Errorf("%+v\n%q", c, warnings)
	}
	refusal(t, handover.InUse(f, netip.MustParseAddr("192.0.2.7")), "it stands on itself")
}

const sys = `{"schema": "vic.env/1", "hw": {"arch": "amd64", "memory": {"total": 536870912}},
	"os": {"kexec": {"allowed": true, "why": [], "signed": false}}, "state": {"memoryAvailable": 268435456}}`

func TestMayEnter(t *testing.T) {
	need := handover.Need{Arch: "amd64", Load: 64 << 20, Total: 200 << 20}
	for _, tt := range []struct {
		name   string
		change func(*envscan.Facts, *handover.Need)
		want   []string
	}{
		{"fine", func(*envscan.Facts, *handover.Need) {}, nil},
		{"architecture", func(f *envscan.Facts, _ *handover.Need) { f.HW.Arch = "arm64" },
			[]string{"the bundle is for amd64 and this machine is arm64: build one for it"}},
		{"unknown architecture", func(f *envscan.Facts, _ *handover.Need) { f.HW.Arch = "" }, []string{"this machine is of an unknown architecture"}},
		{"small", func(f *envscan.Facts, n *handover.Need) { f.HW.Memory.Total = 128<<20 - 5; f.State.MemoryAvailable = 1 },
			[]string{"the machine has 127 MiB of memory, and the RAM system needs 200 MiB: give it more memory"}},
		{"busy", func(f *envscan.Facts, n *handover.Need) { f.State.MemoryAvailable = n.Load - 1 },
			[]string{"63 MiB of memory are available, and loading the bundle takes 64 MiB: end what uses memory"}},
		{"just enough", func(f *envscan.Facts, n *handover.Need) {
			f.State.MemoryAvailable, f.HW.Memory.Total = n.Load, n.Total
		}, nil},
		{"container", func(f *envscan.Facts, _ *handover.Need) {
			f.OS.Container, f.OS.Kexec = "lxc", envscan.Kexec{Why: []string{"this is a container (lxc), whose reboot(2) is not the machine's"}}
		}, []string{"this is a container (lxc): install on the machine that it runs on"}},
		{"not root, and disabled", func(f *envscan.Facts, _ *handover.Need) {
			f.OS.Kexec = envscan.Kexec{Why: []string{"kernel.kexec_load_disabled is 1", "not root"}}
		}, []string{"kernel.kexec_load_disabled is 1: it stays so until the next boot: take kernel.kexec_load_disabled out of", "not root: log in as root"}},
		{"locked down", func(f *envscan.Facts, _ *handover.Need) {
			f.OS.Lockdown = "integrity"
			f.OS.Kexec = envscan.Kexec{Allowed: true, Signed: true, Why: []string{"the kernel is locked down (integrity) and demands a signature"}}
		}, []string{"the kernel is locked down (integrity) and only starts a signed one, which the bundle's is not: turn Secure Boot off"}},
		{"locked down, and signed", func(f *envscan.Facts, n *handover.Need) {
			f.OS.Lockdown, n.Signed = "integrity", true
			f.OS.Kexec = envscan.Kexec{Allowed: true, Signed: true, Why: []string{"the kernel is locked down (integrity) and demands a signature"}}
		}, nil},
		{"signatures forced", func(f *envscan.Facts, _ *handover.Need) { f.OS.Kexec.Signed = true }, []string{"the kernel only starts a signed one"}},
		{"no reason given", func(f *envscan.Facts, _ *handover.Need) { f.OS.Kexec.Allowed = false }, []string{"this system cannot start another kernel"}},
		{"all", func(f *envscan.Facts, n *handover.Need) {
			f.HW.Arch, f.State.MemoryAvailable, n.Total = "riscv64", 5<<20, 0
			f.OS.Kexec = envscan.Kexec{Why: []string{"the kernel was built without kexec", "root does not have CAP_SYS_BOOT", "this is a user namespace"}}
		}, []string{"riscv64", "built without kexec: start the machine from a medium", "CAP_SYS_BOOT: log in to the machine itself", "user namespace: log in to", "5 MiB"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f envscan.Facts
			if err := json.Unmarshal([]byte(sys), &f); err != nil {
				t.Fatal(err)
			}
			n := need
			tt.change(&f, &n)
			err := handover.MayEnter(n, f)
			if tt.want == nil {
				refusal(t, err, "")
				return
			}
			for _, w := range tt.want {
				refusal(t, err, w)
			}
			if err != nil && len(strings.Split(err.Error(), "\n")) != len(tt.want) {
				t.Errorf("%d reasons wanted: %v", len(tt.want), err)
			}
		})
	}
}
