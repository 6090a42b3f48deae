package envscan

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// namespace is set in the process that TestNetwork starts in a network namespace
// of its own. "all": its kernel has every kind of link, as Debian's.
const namespace = "VIC_TEST_NETWORK"

// setup makes one of everything, by ip(8). What begins with ? is left out by a
// kernel that lacks it, unless all is asked for.
const setup = `
link set lo up
link add e0 type veth peer name e1
link add e2 type veth peer name e3
link add e4 type veth peer name e5
? link add br0 address 02:00:00:00:00:b0 type bridge stp_state 1 forward_delay 400 vlan_filtering 1 vlan_default_pvid 7 priority 4096
? link add br1 type bridge
? link set e5 master br1
? link add e0.5 link e0 type vlan id 5
? link add e0.6 link e0 type vlan proto 802.1ad id 6
? link add bond0 type bond mode 802.3ad miimon 100 updelay 200 downdelay 300 lacp_rate fast xmit_hash_policy layer3+4 ad_select bandwidth
? link set e2 master bond0
? link set e4 master bond0
? link add bond1 type bond mode active-backup arp_interval 500 arp_ip_target 192.0.2.1,192.0.2.9 fail_over_mac follow
? link add mac0 link e0 type macvlan mode private
? link add d0 mtu 9000 type dummy
? link add wg0 type wireguard
? link add vx0 type vxlan id 42 dev e0 dstport 4789
? link add red type vrf table 77
? link set d0 master red
? link add t0 type team
? link add sit1 type sit local 192.0.2.7 remote 192.0.2.8
tuntap add dev tap7 mode tap
tuntap add dev tun7 mode tun
link set e0 mtu 1400 up
link set e1 up
link set e3 up
address add 192.0.2.7/32 dev e0
address add 198.51.100.7/24 dev e0 valid_lft 3600 preferred_lft 1800
address add 203.0.113.1 peer 203.0.113.2/30 dev e1
address add 10.9.0.1/24 dev e1 noprefixroute
address add 10.8.0.1/24 dev e3 scope link metric 500
address add 2001:db8::7/128 dev e0 nodad
address add 2001:db8:1::7/64 dev e3 nodad
address add fe80::1:2:3/64 dev e3 nodad
route add 172.16.0.1 dev e0
route add default via 172.16.0.1 dev e0 onlink metric 50
route add default via 203.0.113.2 dev e1 metric 100 proto dhcp src 203.0.113.1 mtu 1300
route add 10.20.0.0/16 nexthop via 198.51.100.1 dev e0 weight 3 nexthop via 203.0.113.2 dev e1
route add 10.21.0.0/16 via inet6 2001:db8:1::1 dev e3
route add 10.30.0.0/16 via 198.51.100.1 table 100 proto static
route add 10.31.0.0/16 dev e3 table 70000
route add blackhole 10.40.0.0/16
route add unreachable 10.41.0.0/16 metric 9
route add prohibit 10.42.0.0/16
route add throw 10.43.0.0/16 table 100
-6 route add 2001:db8::1 dev e0
-6 route add default via 2001:db8::1 dev e0 onlink metric 30
-6 route add default via fe80::9 dev e3 metric 40
-6 route add 2001:db8:2::/48 nexthop via 2001:db8:1::1 dev e3 weight 2 nexthop via fe80::9 dev e0
? -6 route add 2001:db8:3::/48 from 2001:db8:1::/64 via 2001:db8:1::1 dev e3
-6 route add unreachable 2001:db8:4::/48
rule add priority 1000 from 198.51.100.0/24 lookup 100
rule add priority 1001 not fwmark 0xca6c lookup 51820
rule add priority 1002 lookup main suppress_prefixlength 0
rule add priority 1003 fwmark 0x1/0xff iif e0 oif e1 to 10.0.0.1 lookup 70000
rule add priority 1004 ipproto tcp sport 1024-2048 dport 53 tos 0x10 uidrange 1000-1999 lookup 100
rule add priority 1005 from 10.0.0.0/8 prohibit
rule add priority 1006 goto 32766
rule add priority 32766 from 10.5.0.0/16 lookup main
-6 rule add priority 1000 to 2001:db8:9::/48 lookup 100
`

// TestNetwork has the kernel's own answers, in a network namespace that the test
// fills, judged by iproute2.
func TestNetwork(t *testing.T) {
	if os.Getenv(namespace) != "" {
		compareNetwork(t)
		return
	}
	tooltest.Root(t)
	tooltest.Need(t, "ip")
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestNetwork$", "-test.v")
	cmd.Env = append(os.Environ(), namespace+"=some")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestNetwork") {
		t.Errorf("%v\n%s", err, out)
	}
}

// ip runs iproute2 and reads its JSON.
func ip[T any](t *testing.T, args ...string) []T {
	t.Helper()
	out, err := (tool.Exec{}).Run(t.Context(), tool.Cmd{Name: "ip", Args: args})
	if err != nil {
		t.Fatal(err)
	}
	var list []T
	if text := strings.TrimSpace(string(out.Stdout)); text != "" {
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatalf("ip %v: %v in %s", args, err, text)
		}
	}
	return slices.DeleteFunc(list, func(v T) bool { return reflect.DeepEqual(v, *new(T)) }) // iproute2 pads with {}
}

func compareNetwork(t *testing.T) {
	for line := range strings.Lines(strings.TrimSpace(setup)) {
		words, optional := strings.CutPrefix(strings.TrimSpace(line), "? ")
		optional = optional && os.Getenv(namespace) != "all"
		if _, err := (tool.Exec{}).Run(t.Context(), tool.Cmd{Name: "ip", Args: strings.Fields(words)}); err != nil && optional {
			t.Logf("left out: %v", err)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	s := newScanner(Config{})
	got, states := s.network(rtnetlink)
	if len(s.gaps) != 0 {
		t.Errorf("gaps: %+v", s.gaps)
	}
	for what, diff := range map[string]string{
		"links":     diffLists(linksOfIP(t), got.Links),
		"addresses": diffLists(addressesOfIP(t), withoutFrom(t, got.Address)),
		"routes":    diffLists(routesOfIP(t), got.Route),
		"rules":     diffLists(rulesOfIP(t), got.Rule),
	} {
		if diff != "" {
			t.Errorf("%s: - iproute2, + vic:\n%s", what, diff)
		}
	}
	if len(got.Links) < 9 || len(got.Address) < 9 || len(got.Route) < 18 || len(got.Rule) < 9 {
		t.Errorf("%d links, %d addresses, %d routes, %d rules", len(got.Links), len(got.Address), len(got.Route), len(got.Rule))
	}
	if want := (Link{Up: true, Carrier: true, MTU: 1400}); states["e0"] != want || states["tap7"].Up {
		t.Errorf("%+v", states)
	}
	again, _ := s.network(rtnetlink)
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("a second scan differs: %s", diff)
	}
}

// diffLists compares without regard to the order.
func diffLists[T any](a, b []T) string {
	order := cmpopts.SortSlices(func(x, y T) bool { return fmt.Sprintf("%+v", x) < fmt.Sprintf("%+v", y) })
	return cmp.Diff(a, b, order)
}

// withoutFrom leaves out what only iproute2 since 6.3 prints.
func withoutFrom(t *testing.T, list []Address) []Address {
	list = slices.Clone(list)
	for i := range list {
		from := list[i].From
		if want := map[string]string{"::1/128": "kernel_lo", "192.0.2.7/32": ""}; want[list[i].Address] != from && !strings.HasPrefix(list[i].Address, "fe80:") {
			t.Errorf("%+v", list[i])
		}
		list[i].From = ""
	}
	return list
}

// ipLink is what ip -d -j link prints.
type ipLink struct {
	Name, Address, Master, Link, ParentDev string
	LinkType                               string `json:"link_type"`
	IfName                                 string
	MTU                                    int64
	LinkInfo                               struct {
		Kind string `json:"info_kind"`
		Data struct {
			ID, Table                            *int64
			Link, Protocol, Mode, Type, Primary  string
			MIIMon, UpDelay, DownDelay, Priority int64
			FailMAC                              string   `json:"fail_over_mac"`
			LACP                                 string   `json:"ad_lacp_rate"`
			Select                               string   `json:"ad_select"`
			Hash                                 string   `json:"xmit_hash_policy"`
			ARPInterval                          int64    `json:"arp_interval"`
			ARP                                  []string `json:"arp_ip_target"`
			STP                                  int64    `json:"stp_state"`
			Delay                                int64    `json:"forward_delay"`
			Filtering                            int64    `json:"vlan_filtering"`
			PVID                                 int64    `json:"vlan_default_pvid"`
		} `json:"info_data"`
	}
}

func linksOfIP(t *testing.T) []NetLink {
	var list []NetLink
	all := ip[ipLink](t, "-d", "-j", "link")
	for _, l := range all {
		if l.LinkType == "loopback" {
			continue
		}
		kind, d := l.LinkInfo.Kind, l.LinkInfo.Data
		n := NetLink{Name: l.IfName, Kind: kind, Master: l.Master, Lower: l.Link, Ports: []string{}, MTU: l.MTU}
		if l.LinkType == "ether" {
			n.HWAddr = l.Address
		}
		for _, p := range all {
			if p.Master == l.IfName {
				n.Ports = append(n.Ports, p.IfName)
			}
		}
		slices.Sort(n.Ports)
		switch kind {
		case "vlan":
			n.VLAN, n.Protocol = d.ID, d.Protocol
		case "vxlan":
			n.VLAN, n.Lower = d.ID, d.Link
		case "vrf":
			n.Table = d.Table
		case "macvlan":
			n.Mode = d.Mode
		case "tun":
			n.Mode = d.Type
		case "bond":
			if d.Mode != "802.3ad" { // iproute2 prints what has no meaning in other modes
				d.LACP = ""
			}
			n.Mode = d.Mode
			n.Bond = &Bond{Monitor: d.MIIMon, UpDelay: d.UpDelay, DownDelay: d.DownDelay, Primary: d.Primary, LACP: d.LACP, ARP: append([]string{}, d.ARP...), ARPInterval: d.ARPInterval}
			if d.Mode == "802.3ad" {
				n.Bond.Hash, n.Bond.Select = d.Hash, d.Select
			} else {
				n.Bond.FailMAC = d.FailMAC
			}
		case "bridge":
			n.Bridge = &Bridge{STP: d.STP == 1, ForwardDelay: d.Delay * 10, Priority: d.Priority, VLANFiltering: d.Filtering == 1, DefaultVLAN: d.PVID}
		}
		list = append(list, n)
	}
	return list
}

// ipAddress is what ip -d -j address prints.
type ipAddress struct {
	IfName string
	Info   []struct {
		Family, Local, Address, Scope     string
		PrefixLen                         int
		Metric                            int64
		Dynamic, Temporary, NoPrefixRoute bool
	} `json:"addr_info"`
}

func addressesOfIP(t *testing.T) []Address {
	var list []Address
	for _, l := range ip[ipAddress](t, "-d", "-j", "address") {
		for _, i := range l.Info {
			a := Address{Interface: l.IfName, Address: fmt.Sprintf("%s/%d", i.Local, i.PrefixLen), Family: ipFamily(i.Family == "inet6"), Scope: i.Scope,
				Dynamic: i.Dynamic, Temporary: i.Temporary, NoRoute: i.NoPrefixRoute, Metric: i.Metric}
			if i.Address != "" {
				bits := map[string]int{"ipv4": 32, "ipv6": 128}[a.Family]
				a.Address, a.Peer = fmt.Sprintf("%s/%d", i.Local, bits), fmt.Sprintf("%s/%d", i.Address, i.PrefixLen)
			}
			list = append(list, a)
		}
	}
	return list
}

func ipFamily(six bool) string {
	if six {
		return "ipv6"
	}
	return "ipv4"
}

// ipHop is a way in what ip -j route prints.
type ipHop struct {
	Gateway, Dev string
	Weight       int64
	Flags        []string
	Via          struct{ Host string }
}

// ipRoute is what ip -d -j route prints.
type ipRoute struct {
	ipHop
	Type, Dst, From, Table, Protocol, Scope, PrefSrc string
	Metric                                           int64
	NextHops                                         []ipHop
	Metrics                                          []struct{ MTU int64 }
}

func routesOfIP(t *testing.T) []Route {
	var list []Route
	for _, family := range []string{"-4", "-6"} {
		for _, r := range ip[ipRoute](t, family, "-d", "-j", "route", "show", "table", "all") {
			if r.Table == "local" {
				continue
			}
			h := hopOfIP(r.ipHop)
			v := Route{Table: tableOfIP(r.Table), Family: ipFamily(family == "-6"), Destination: whole(r.Dst), From: whole(r.From), Gateway: h.Gateway, Interface: h.Interface,
				OnLink: h.OnLink, Hops: []Hop{}, Source: r.PrefSrc, Metric: r.Metric, Scope: r.Scope, Protocol: r.Protocol, Type: r.Type}
			for _, n := range r.NextHops {
				v.Hops = append(v.Hops, hopOfIP(n))
			}
			for _, m := range r.Metrics {
				v.MTU = m.MTU
			}
			list = append(list, v)
		}
	}
	return list
}

func hopOfIP(h ipHop) Hop {
	return Hop{Gateway: h.Gateway + h.Via.Host, Interface: h.Dev, OnLink: slices.Contains(h.Flags, "onlink"), Weight: h.Weight}
}

func tableOfIP(name string) int64 {
	switch name {
	case "", "main":
		return 254
	case "default":
		return 253
	case "local":
		return 255
	}
	n, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// whole adds the length that iproute2 leaves out where a prefix is one address.
func whole(prefix string) string {
	switch {
	case prefix == "" || prefix == "default" || strings.Contains(prefix, "/"):
		return prefix
	case strings.Contains(prefix, ":"):
		return prefix + "/128"
	}
	return prefix + "/32"
}

// ipRule is what ip -j rule prints.
type ipRule struct {
	Priority                                                        int64
	Src, Dst, FwMark, FwMask, IIf, OIf, Table, TOS, IPProto, Action string
	SrcLen, DstLen, Goto, Suppress                                  *int64
	SuppressLen                                                     *int64          `json:"suppress_prefixlen"`
	Not                                                             json.RawMessage // null where it is
	L3MDev                                                          json.RawMessage // the same
	UIDStart                                                        int64           `json:"uid_start"`
	UIDEnd                                                          int64           `json:"uid_end"`
	SPort                                                           int64
	SPortStart                                                      int64 `json:"sport_start"`
	SPortEnd                                                        int64 `json:"sport_end"`
	DPort                                                           int64
}

func rulesOfIP(t *testing.T) []Rule {
	var list []Rule
	for _, family := range []string{"-4", "-6"} {
		for _, r := range ip[ipRule](t, family, "-j", "rule") {
			prefix := func(addr string, bits *int64) string {
				switch {
				case addr == "all" || addr == "":
					return ""
				case bits != nil:
					return fmt.Sprintf("%s/%d", addr, *bits)
				}
				return whole(addr)
			}
			v := Rule{Priority: r.Priority, Family: ipFamily(family == "-6"), Not: r.Not != nil, From: prefix(r.Src, r.SrcLen), To: prefix(r.Dst, r.DstLen),
				Mark: r.FwMark, In: r.IIf, Out: r.OIf, Action: "lookup", Table: tableOfIP(r.Table), Goto: r.Goto, Suppress: r.SuppressLen}
			if r.FwMask != "" {
				v.Mark += "/" + r.FwMask
			}
			if r.TOS == "0x10" {
				v.TOS = 16
			}
			if r.IPProto == "tcp" {
				v.Protocol = 6
			}
			if r.UIDEnd != 0 {
				v.User = fmt.Sprintf("%d-%d", r.UIDStart, r.UIDEnd)
			}
			if r.SPortEnd != 0 {
				v.SourcePort = fmt.Sprintf("%d-%d", r.SPortStart, r.SPortEnd)
			}
			if r.DPort != 0 {
				v.DestinationPort = fmt.Sprint(r.DPort)
			}
			if v.Goto != nil {
				v.Action = "goto"
			}
			if r.Action != "" {
				v.Action = r.Action
			}
			if r.L3MDev != nil { // the table of the interface's VRF
				v.L3MDev, v.Table = true, 0
			}
			if v.Action != "lookup" {
				v.Table = 0
			}
			if !slices.Contains([]string{"0 all local", "32766 all main", "32767 all default"}, fmt.Sprintf("%d %s %s", r.Priority, r.Src, r.Table)) {
				list = append(list, v)
			}
		}
	}
	return list
}
