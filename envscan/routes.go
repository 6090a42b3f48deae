package envscan

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// routeTypes are values of rtm_type; those that are left out only exist in the
// table local.
var routeTypes = map[uint8]string{
	unix.RTN_UNICAST: "unicast", unix.RTN_LOCAL: "local", unix.RTN_BROADCAST: "broadcast", unix.RTN_ANYCAST: "anycast", unix.RTN_MULTICAST: "multicast",
	unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw", unix.RTN_NAT: "nat",
}

// routeProtocols are values of rtm_protocol, as iproute2's rt_protos names them.
var routeProtocols = map[uint8]string{
	unix.RTPROT_UNSPEC: "", unix.RTPROT_REDIRECT: "redirect", unix.RTPROT_KERNEL: "kernel", unix.RTPROT_BOOT: "boot", unix.RTPROT_STATIC: "static",
	8: "gated", unix.RTPROT_RA: "ra", 10: "mrt", 11: "zebra", 12: "bird", 13: "dnrouted", 14: "xorp", 15: "ntk", unix.RTPROT_DHCP: "dhcp",
	18: "keepalived", 42: "babel", 84: "ovn", 186: "bgp", 187: "isis", 188: "ospf", 189: "rip", 192: "eigrp",
}

// routes are those of all tables but local.
func routes(ask asker, links map[int64]kernelLink) ([]Route, error) {
	list := []Route{}
	for family := range families {
		msgs, err := ask(unix.RTM_GETROUTE, family)
		if absent(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			r, ok, err := parseRoute(m, links)
			if err != nil {
				return nil, err
			}
			if ok && r.Family == families[family] {
				list = append(list, r)
			}
		}
	}
	slices.SortFunc(list, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Table, b.Table), cmp.Compare(a.Family, b.Family), comparePrefix(a.prefix(), b.prefix()), comparePrefix(a.From, b.From),
			cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.Gateway, b.Gateway), cmp.Compare(a.Type, b.Type))
	})
	return list, nil
}

// prefix is the destination, written out.
func (r Route) prefix() string {
	switch {
	case r.Destination != "default":
		return r.Destination
	case r.Family == "ipv4":
		return "0.0.0.0/0"
	}
	return "::/0"
}

// parseRoute reads struct rtmsg and what follows (rtnetlink(7)); ok is false for
// the table local, for what is cached, and for what is not IP.
func parseRoute(b []byte, links map[int64]kernelLink) (r Route, ok bool, err error) {
	a, err := message(b, unix.SizeofRtMsg)
	if err != nil {
		return Route{}, false, err
	}
	family, dstBits, srcBits, table, protocol, scope, kind := b[0], b[1], b[2], int64(b[4]), b[5], b[6], b[7]
	flags := binary.NativeEndian.Uint32(b[8:])
	if a.has(unix.RTA_TABLE) { // those beyond 255
		table = a.number(unix.RTA_TABLE)
	}
	if table == unix.RT_TABLE_LOCAL || kind == unix.RTN_MULTICAST || flags&unix.RTM_F_CLONED != 0 || families[family] == "" {
		return Route{}, false, nil
	}
	metrics, err := a.nested(unix.RTA_METRICS)
	if err != nil {
		return Route{}, false, err
	}
	r = Route{
		Table: table, Family: families[family], Destination: "default", From: a.prefix(unix.RTA_SRC, srcBits),
		Source: a.address(unix.RTA_PREFSRC), Metric: a.number(unix.RTA_PRIORITY), MTU: metrics.number(unix.RTAX_MTU),
		Scope: named(scopes, scope), Protocol: named(routeProtocols, protocol), Type: named(routeTypes, kind), Encap: a.has(unix.RTA_ENCAP),
		Hops: []Hop{},
	}
	if dstBits > 0 || a.has(unix.RTA_DST) {
		r.Destination = a.prefix(unix.RTA_DST, dstBits)
	}
	if r.Destination == "" {
		return Route{}, false, fmt.Errorf("destination of a route, /%d: %w", dstBits, errShort)
	}
	one := hop(a, a.number(unix.RTA_OIF), flags, links)
	r.Gateway, r.Interface, r.OnLink = one.Gateway, one.Interface, one.OnLink
	if r.Hops, err = hops(a[unix.RTA_MULTIPATH], links); err != nil {
		return Route{}, false, err
	}
	return r, true, nil
}

// hop is a way with the attributes of a route or of a part of one.
func hop(a attributes, link int64, flags uint32, links map[int64]kernelLink) Hop {
	h := Hop{Gateway: a.address(unix.RTA_GATEWAY), Interface: links[link].name, OnLink: flags&unix.RTNH_F_ONLINK != 0, Weight: 1}
	if via := a[unix.RTA_VIA]; len(via) > 2 { // struct rtvia: a gateway of the other family
		h.Gateway = ipText(via[2:])
	}
	return h
}

// hops reads a list of struct rtnexthop, each with attributes.
func hops(b []byte, links map[int64]kernelLink) ([]Hop, error) {
	list := []Hop{}
	for len(b) > 0 {
		if len(b) < unix.SizeofRtNexthop {
			return nil, errShort
		}
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtNexthop || size > len(b) {
			return nil, fmt.Errorf("next hop of %d bytes: %w", size, errShort)
		}
		a, err := parseAttributes(b[unix.SizeofRtNexthop:size])
		if err != nil {
			return nil, err
		}
		h := hop(a, int64(binary.NativeEndian.Uint32(b[4:])), uint32(b[2]), links)
		h.Weight = int64(b[3]) + 1
		list = append(list, h)
		b = b[min(len(b), (size+3)&^3):]
	}
	return list, nil
}
