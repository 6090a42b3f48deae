package network

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/netconf"
	"github.com/victorinix/vic/internal/tool"
)

// bonds skips a test where the kernel has no bonds and VLANs: TestHandover of
// qemu-tests/facts runs it under one that has.
func bonds(t *testing.T) {
	t.Helper()
	for _, words := range []string{"link add vic-try type bond", "link add link vic-try name vic-vlan type vlan id 1", "link del vic-try"} {
		if _, err := (tool.Exec{}).Run(t.Context(), tool.Cmd{Name: "ip", Args: strings.Fields(words)}); err != nil {
			t.Skipf("this kernel lacks something: %v", err)
		}
	}
}

// bonded are two cards, their bond and a VLAN on it.
func bonded(c netconf.BondConfig, vlan netconf.Link) netconf.Config {
	a, b := card("eth0", macA), card("eth1", macB)
	a.Master, b.Master = "bond0", "bond0"
	a.MTU, b.MTU, vlan.MTU = 1400, 1400, 1300
	vlan.Kind, vlan.Lower = netconf.VLAN, "bond0"
	return netconf.Config{
		Links: []netconf.Link{a, b, {Name: "bond0", Kind: netconf.Bond, MAC: macC, MTU: 1400, Bond: &c}, vlan},
		Addresses: []netconf.Address{{Link: vlan.Name, Address: "192.0.2.1/24"},
			{Link: vlan.Name, Address: "2001:db8::1/64"}},
		Routes: []netconf.Route{{Family: "ipv4", Destination: "default", Gateway: "192.0.2.9", Link: vlan.Name}},
	}
}

// settings are those of a bond by iproute2.
func settings(t *testing.T, name string) map[string]any {
	t.Helper()
	m := map[string]any{}
	if err := json.Unmarshal(links(t)[name].Info.Data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBondActiveBackup(t *testing.T) {
	namespace(t, func(t *testing.T) {
		bonds(t)
		p := newPeer(t)
		p.sh(`ip link add sw type bridge; ip link set sw up; ip link add link sw name sw.42 type vlan id 42
			ip link set sw.42 up; ip address add 192.0.2.9/24 dev sw.42; ip address add 2001:db8::9/64 dev sw.42 nodad`)
		p.cable("eth1", macA, "p0") // the names are swapped
		p.cable("eth0", macB, "p1")
		p.sh("ip link set p0 master sw; ip link set p1 master sw")
		// What the module makes when it is loaded without max_bonds=0.
		ip(t, "link add bond0 type bond")
		n, r := start(t, bonded(netconf.BondConfig{Mode: "active-backup", Monitor: 100, UpDelay: 200, DownDelay: 300,
			Primary: "eth1", LACP: "slow", Hash: "layer2", Select: "stable", FailMAC: "none"}, netconf.Link{Name: "lan.42", ID: 42}))
		online(t, n)
		eventually(t, "the bond is as it was", func() bool {
			s := settings(t, "bond0")
			return s["mode"] == "active-backup" && s["miimon"] == 100.0 && s["updelay"] == 200.0 && s["downdelay"] == 300.0 && s["primary"] == "eth1"
		})
		p.reach("192.0.2.1")
		p.reach("2001:db8::1")
		all := links(t)
		for name, mtu := range map[string]int{"eth0": 1400, "eth1": 1400, "bond0": 1400, "lan.42": 1300} {
			if l := all[name]; l.MAC != macC || l.MTU != mtu || l.Master != map[string]string{"eth0": "bond0", "eth1": "bond0"}[name] {
				t.Errorf("%+v", l)
			}
		}
		must(t, "-d link show dev eth0", "perm_hwaddr "+macA)
		// A cable is pulled.
		p.sh("ip link set p1 down")
		p.reach("192.0.2.1")
		if len(r.errors()) > 0 {
			t.Error(r.errors())
		}
	})
}

func TestBondLACP(t *testing.T) {
	namespace(t, func(t *testing.T) {
		bonds(t)
		p := newPeer(t)
		p.cable("eth0", macA, "p0")
		p.cable("eth1", macB, "p1")
		p.sh(`ip link set p0 down; ip link set p1 down
			ip link add lag type bond mode 802.3ad miimon 100 lacp_rate fast
			ip link set p0 master lag; ip link set p1 master lag; ip link set lag up
			ip link add link lag name lag.7 type vlan proto 802.1ad id 7; ip link set lag.7 up; ip address add 192.0.2.9/24 dev lag.7`)
		n, r := start(t, bonded(netconf.BondConfig{Mode: "802.3ad", Monitor: 100, LACP: "fast", Hash: "layer3+4", Select: "bandwidth"},
			netconf.Link{Name: "storage", ID: 7, Protocol: "802.1ad"}))
		online(t, n)
		eventually(t, "the bond has the other end for a partner", func() bool {
			s := settings(t, "bond0")
			info, _ := s["ad_info"].(map[string]any)
			return s["mode"] == "802.3ad" && s["ad_lacp_rate"] == "fast" && s["xmit_hash_policy"] == "layer3+4" && s["ad_select"] == "bandwidth" &&
				info["num_ports"] == 2.0 && info["partner_mac"] != "00:00:00:00:00:00"
		})
		p.reach("192.0.2.1")
		must(t, "-d link show dev storage", "vlan protocol 802.1ad id 7")
		if len(r.errors()) > 0 {
			t.Error(r.errors())
		}
	})
}

// A bond that asks for addresses instead of the carrier, one whose settings make
// no sense, and a port that comes late.
func TestBondARP(t *testing.T) {
	namespace(t, func(t *testing.T) {
		bonds(t)
		p := newPeer(t)
		p.cable("eth0", macA, "p0")
		p.sh("ip address add 192.0.2.9/24 dev p0")
		a, b := card("eth0", macA), card("eth1", macB)
		a.Master, b.Master = "bond7", "bond8"
		n, r := begin(t, netconf.Config{
			Links: []netconf.Link{a, b,
				{Name: "bond7", Kind: netconf.Bond, Bond: &netconf.BondConfig{Mode: "active-backup", ARP: []string{"192.0.2.9"}, ARPInterval: 100, FailMAC: "active"}},
				{Name: "bond8", Kind: netconf.Bond, Bond: &netconf.BondConfig{Mode: "balance-xor", Monitor: 100, Hash: "whatever"}}},
			Addresses: []netconf.Address{{Link: "bond7", Address: "192.0.2.1/24"}, {Link: "bond8", Address: "198.51.100.1/24"}},
		})
		online(t, n)
		p.reach("192.0.2.1")
		if s := settings(t, "bond7"); s["arp_interval"] != 100.0 || s["fail_over_mac"] != "active" {
			t.Error(s)
		}
		p.cable("eth9", macB, "p1")
		eventually(t, "the other bond", func() bool {
			return links(t)["eth1"].Master == "bond8" && hasLine(shown(t, "address"), "bond8 inet 198.51.100.1/24")
		})
		eventually(t, "it is told", func() bool {
			return len(r.errors()) == 1 && strings.Contains(r.errors()[0], `create the bond bond8: unknown hash policy "whatever": it has its mode only`)
		})
	})
}

// A bridge that filters by VLAN, and a VLAN on it.
func TestBridgeVLAN(t *testing.T) {
	namespace(t, func(t *testing.T) {
		bonds(t)
		p := newPeer(t)
		p.cable("eth0", macA, "out")
		p.sh("ip link add link out name out.9 type vlan id 9; ip link set out.9 up; ip address add 192.0.2.9/24 dev out.9; ip address add 198.51.100.9/24 dev out")
		port := card("eth0", macA)
		port.Master = "vmbr0"
		n, r := start(t, netconf.Config{
			Links: []netconf.Link{port, {Name: "vmbr0", Kind: netconf.Bridge, Bridge: &netconf.BridgeConfig{VLANFiltering: true, DefaultVLAN: 1}},
				{Name: "vmbr0.9", Kind: netconf.VLAN, Lower: "vmbr0", ID: 9}},
			Addresses: []netconf.Address{{Link: "vmbr0.9", Address: "192.0.2.1/24"}, {Link: "vmbr0", Address: "198.51.100.1/24"}},
		})
		online(t, n)
		p.reach("192.0.2.1")
		p.reach("198.51.100.1")
		must(t, "-d link show dev vmbr0", "vlan_filtering 1", "vlan_default_pvid 1")
		if len(r.errors()) > 0 {
			t.Error(r.errors())
		}
	})
}
