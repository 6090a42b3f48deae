package envscan

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// TestNetworkOrder: neither the kernel's order nor names of interfaces decide
// the order of routes, but for what is equal otherwise.
func TestNetworkOrder(t *testing.T) {
	route := func(dst string, bits byte, table byte, metric, oif uint32) []byte {
		b := []byte{unix.AF_INET, bits, 0, 0, table, unix.RTPROT_STATIC, 0, unix.RTN_UNICAST, 0, 0, 0, 0}
		a := attributes{unix.RTA_PRIORITY: number32(metric), unix.RTA_OIF: number32(oif)}
		if dst != "" {
			a[unix.RTA_DST] = []byte(dst)
		}
		return append(b, nest(a)...)
	}
	msgs := [][]byte{
		route("\x0a\x64\x00\x00", 16, 254, 0, 2), route("\x0a\x09\x00\x00", 16, 254, 0, 2), route("\x0a\x09\x00\x00", 24, 254, 0, 2),
		route("", 0, 254, 200, 1), route("", 0, 254, 30, 2), route("\x0a\x00\x00\x00", 8, 100, 0, 1), route("\x0a\x00\x00\x00", 8, 255, 0, 1),
	}
	ask := func(kind uint16, family uint8) ([][]byte, error) { return msgs, nil } // as if it knew no families
	got, err := routes(ask, map[int64]kernelLink{1: {name: "b"}, 2: {name: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, r := range got {
		order = append(order, r.Destination+" "+r.Interface)
	}
	want := []string{"10.0.0.0/8 b", "default a", "default b", "10.9.0.0/16 a", "10.9.0.0/24 a", "10.100.0.0/16 a"}
	if !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
}

// TestNetworkGaps: what the kernel does not answer is missing, and only that.
func TestNetworkGaps(t *testing.T) {
	fail := func(kinds ...uint16) asker {
		return func(kind uint16, _ uint8) ([][]byte, error) {
			if slices.Contains(kinds, kind) {
				return nil, unix.EPERM
			}
			return nil, nil
		}
	}
	for _, tt := range []struct {
		ask  asker
		want []string
	}{
		{fail(), nil},
		{fail(unix.RTM_GETLINK), []string{"net.links", "net.address", "net.route"}},
		{fail(unix.RTM_GETADDR), []string{"net.address"}},
		{fail(unix.RTM_GETROUTE), []string{"net.route"}},
		{fail(unix.RTM_GETRULE), []string{"net.rule"}},
		{func(kind uint16, _ uint8) ([][]byte, error) { return [][]byte{{1}}, nil }, []string{"net.links", "net.address", "net.route", "net.rule"}},
		{func(kind uint16, _ uint8) ([][]byte, error) {
			if kind == unix.RTM_GETRULE {
				return nil, unix.EOPNOTSUPP // a kernel without policy routing
			}
			return nil, nil
		}, nil},
	} {
		s := scanner{live: true}
		s.network(tt.ask)
		var got []string
		for _, g := range s.gaps {
			got = append(got, g.Fact)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("gaps %v, want %v", got, tt.want)
		}
	}
}

// FuzzMessages: whatever the kernel sends is understood or refused.
func FuzzMessages(f *testing.F) {
	f.Add(append([]byte{unix.AF_INET, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0}, nest(attributes{unix.RTA_MULTIPATH: {8, 0, 0, 0, 1, 0, 0, 0, 16, 0}})...))
	f.Add(append(make([]byte, unix.SizeofIfInfomsg), nest(attributes{unix.IFLA_LINKINFO: nest(attributes{1: []byte("bond\x00"), 2: nest(attributes{8: nest(attributes{0: {1}})})})})...))
	f.Add(binary.NativeEndian.AppendUint32(nil, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := parseLink(b); err == nil {
			for _, kind := range []string{"vlan", "vxlan", "vrf", "macvlan", "tun", "bond", "bridge", l.kind} {
				l.kind = kind
				if n := netLinkOf(l, map[int64]kernelLink{l.index: l}); n.Ports == nil {
					t.Errorf("%+v", n)
				}
			}
		}
		r, ok, err := parseRoute(b, nil)
		if ok && (err != nil || r.Destination == "") {
			t.Errorf("%+v %v", r, err)
		}
		if _, ok, err := parseAddress(b, nil); ok && err != nil {
			t.Error(err)
		}
		if _, ok, err := parseRule(b); ok && err != nil {
			t.Error(err)
		}
		if _, err := scanEnded(b, 0); err != nil && errors.Is(err, unix.EINVAL) {
			t.Error(err)
		}
	})
}
