package network

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/netconf"
)

// The messages of rtnetlink(7) for addresses, routes and rules are made here, as
// the library has no metric of an address, no source of an IPv6 route, and no
// suppress_prefixlength with a table above 255.

// parts of a message: its header, and attributes.
type parts = []nl.NetlinkRequestData

// send has the kernel do it. EEXIST is the caller's to judge.
func send(kind, flags int, p parts) error {
	req := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	req.Data = p
	_, err := req.Execute(unix.NETLINK_ROUTE, 0)
	return err
}

// addressParts is an RTM_NEWADDR. IPv6 addresses are used at once, without
// asking first who else has them: the system before had them.
func addressParts(a netconf.Address, index int) (parts, error) {
	local, err := netip.ParsePrefix(a.Address)
	if err != nil {
		return nil, err
	}
	remote := local
	if a.Peer != "" {
		if remote, err = netip.ParsePrefix(a.Peer); err != nil {
			return nil, fmt.Errorf("peer: %w", err)
		}
	}
	msg := nl.NewIfAddrmsg(family(local.Addr()))
	msg.Index, msg.Prefixlen = uint32(index), uint8(remote.Bits())
	var known bool
	if msg.Scope, known = scopes[a.Scope]; !known {
		return nil, fmt.Errorf("unknown scope %q", a.Scope)
	}
	p := parts{msg, nl.NewRtAttr(unix.IFA_LOCAL, local.Addr().AsSlice()), nl.NewRtAttr(unix.IFA_ADDRESS, remote.Addr().AsSlice())}
	var flags uint32
	if local.Addr().Is6() {
		flags |= unix.IFA_F_NODAD
	} else if a.Peer == "" && local.Bits() < 31 {
		p = append(p, nl.NewRtAttr(unix.IFA_BROADCAST, last(local).AsSlice()))
	}
	if a.NoRoute {
		flags |= unix.IFA_F_NOPREFIXROUTE
	}
	p = append(p, nl.NewRtAttr(unix.IFA_FLAGS, nl.Uint32Attr(flags)))
	if a.Metric != 0 {
		p = append(p, nl.NewRtAttr(unix.IFA_RT_PRIORITY, nl.Uint32Attr(uint32(a.Metric))))
	}
	return p, nil
}

// last is the last address of an IPv4 network.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])|uint32(1<<(32-p.Bits())-1))
	return netip.AddrFrom4(b)
}

// routeTypes are those of netconf.Route.Type.
var routeTypes = map[string]uint8{"": unix.RTN_UNICAST, "unicast": unix.RTN_UNICAST, "blackhole": unix.RTN_BLACKHOLE,
	"unreachable": unix.RTN_UNREACHABLE, "prohibit": unix.RTN_PROHIBIT, "throw": unix.RTN_THROW}

// scopes are those of addresses and routes.
var scopes = map[string]uint8{"": unix.RT_SCOPE_UNIVERSE, "global": unix.RT_SCOPE_UNIVERSE,
	"link": unix.RT_SCOPE_LINK, "host": unix.RT_SCOPE_HOST}

// routeParts is an RTM_NEWROUTE. With onLink the gateways are taken to be on the
// link, whatever the addresses say.
func routeParts(r netconf.Route, index func(string) int, onLink bool) (parts, error) {
	msg := nl.NewRtMsg()
	msg.Family, msg.Protocol = familyOf(r.Family), unix.RTPROT_STATIC
	var known bool
	if msg.Type, known = routeTypes[r.Type]; !known {
		return nil, fmt.Errorf("unknown type %q", r.Type)
	}
	if msg.Scope, known = scopes[r.Scope]; !known {
		return nil, fmt.Errorf("unknown scope %q", r.Scope)
	}
	w := writer{msg: msg, p: parts{msg}}
	w.prefix(unix.RTA_DST, r.Destination, &msg.Dst_len)
	w.prefix(unix.RTA_SRC, r.From, &msg.Src_len)
	w.addr(unix.RTA_PREFSRC, r.Source)
	w.number(unix.RTA_TABLE, tableOf(r.Table))
	msg.Table = shortTable(tableOf(r.Table))
	if r.Metric != 0 {
		w.number(unix.RTA_PRIORITY, r.Metric)
	}
	if r.MTU != 0 {
		metrics := nl.NewRtAttr(unix.RTA_METRICS, nil)
		metrics.AddRtAttr(unix.RTAX_MTU, nl.Uint32Attr(uint32(r.MTU)))
		w.p = append(w.p, metrics)
	}
	if len(r.Hops) > 0 {
		w.hops(r.Hops, index, onLink)
		return w.p, w.err
	}
	w.p = append(w.p, w.gateway(r.Gateway)...)
	if r.Link != "" {
		w.number(unix.RTA_OIF, int64(index(r.Link)))
	}
	if r.Gateway != "" && (r.OnLink || onLink) {
		msg.Flags |= unix.RTNH_F_ONLINK
	}
	return w.p, w.err
}

// writer makes attributes, and keeps the first error.
type writer struct {
	msg *nl.RtMsg
	p   parts
	err error
}

func (w *writer) number(attr int, n int64) {
	w.p = append(w.p, nl.NewRtAttr(attr, nl.Uint32Attr(uint32(n))))
}

// prefix adds a network; all of them need no attribute.
func (w *writer) prefix(attr int, cidr string, bits *uint8) {
	if cidr == "" || cidr == "default" {
		return
	}
	p, err := netip.ParsePrefix(cidr)
	if err == nil && family(p.Addr()) != int(w.msg.Family) {
		err = fmt.Errorf("%s is of another family", cidr)
	}
	if err != nil {
		w.fail(err)
		return
	}
	*bits = uint8(p.Bits())
	w.p = append(w.p, nl.NewRtAttr(attr, p.Masked().Addr().AsSlice()))
}

func (w *writer) addr(attr int, addr string) {
	if addr == "" {
		return
	}
	a, err := netip.ParseAddr(addr)
	if err == nil && family(a) != int(w.msg.Family) {
		err = fmt.Errorf("%s is of another family", addr)
	}
	if err != nil {
		w.fail(err)
		return
	}
	w.p = append(w.p, nl.NewRtAttr(attr, a.AsSlice()))
}

// gateway of an IPv4 route may be an IPv6 address (RFC 5549).
func (w *writer) gateway(addr string) parts {
	if addr == "" {
		return nil
	}
	a, err := netip.ParseAddr(addr)
	switch {
	case err != nil:
		w.fail(err)
		return nil
	case family(a) == int(w.msg.Family):
		return parts{nl.NewRtAttr(unix.RTA_GATEWAY, a.AsSlice())}
	case a.Is4():
		w.fail(fmt.Errorf("the gateway %s is of another family", addr))
		return nil
	}
	return parts{nl.NewRtAttr(unix.RTA_VIA, append(nl.Uint16Attr(unix.AF_INET6), a.AsSlice()...))}
}

func (w *writer) hops(hops []netconf.Hop, index func(string) int, onLink bool) {
	var buf []byte
	for _, h := range hops {
		next := nl.RtNexthop{Children: w.gateway(h.Gateway)}
		next.Ifindex = int32(index(h.Link))
		next.Hops = uint8(max(h.Weight, 1) - 1)
		if h.Gateway != "" && (h.OnLink || onLink) {
			next.Flags |= unix.RTNH_F_ONLINK
		}
		buf = append(buf, next.Serialize()...)
	}
	w.p = append(w.p, nl.NewRtAttr(unix.RTA_MULTIPATH, buf))
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// ruleActions are those of netconf.Rule.Action, FR_ACT_* of linux/fib_rules.h.
var ruleActions = map[string]uint8{"": 1, "lookup": 1, "blackhole": 6, "unreachable": 7, "prohibit": 8}

// ruleParts is an RTM_NEWRULE; name says how an interface is called now.
func ruleParts(r netconf.Rule, name func(string) string) (parts, error) {
	msg := nl.NewRtMsg()
	msg.Family, msg.Protocol, msg.Tos = familyOf(r.Family), unix.RTPROT_UNSPEC, uint8(r.TOS)
	var known bool
	if msg.Type, known = ruleActions[r.Action]; !known {
		return nil, fmt.Errorf("unknown action %q", r.Action)
	}
	if r.Not {
		msg.Flags |= 2 // FIB_RULE_INVERT
	}
	w := writer{msg: msg, p: parts{msg}}
	w.prefix(nl.FRA_DST, r.To, &msg.Dst_len)
	w.prefix(nl.FRA_SRC, r.From, &msg.Src_len)
	w.number(nl.FRA_PRIORITY, r.Priority)
	msg.Table = unix.RT_TABLE_UNSPEC
	if msg.Type == ruleActions["lookup"] {
		w.number(nl.FRA_TABLE, tableOf(r.Table))
		msg.Table = shortTable(tableOf(r.Table))
	}
	w.mark(r.Mark)
	if r.In != "" {
		w.p = append(w.p, nl.NewRtAttr(nl.FRA_IIFNAME, nl.ZeroTerminated(name(r.In))))
	}
	if r.Out != "" {
		w.p = append(w.p, nl.NewRtAttr(nl.FRA_OIFNAME, nl.ZeroTerminated(name(r.Out))))
	}
	if r.Suppress != nil {
		w.number(nl.FRA_SUPPRESS_PREFIXLEN, *r.Suppress)
	}
	return w.p, w.err
}

// mark is 0x1/0xff, or without a mask.
func (w *writer) mark(text string) {
	if text == "" {
		return
	}
	mark, mask, masked := strings.Cut(text, "/")
	if !masked {
		mask = "0xffffffff"
	}
	m, err := strconv.ParseUint(mark, 0, 32)
	if err == nil {
		w.number(nl.FRA_FWMARK, int64(m))
		m, err = strconv.ParseUint(mask, 0, 32)
	}
	if err != nil {
		w.fail(fmt.Errorf("mark: %w", err))
		return
	}
	w.number(nl.FRA_FWMASK, int64(m))
}

func tableOf(t int64) int64 {
	if t == 0 {
		return unix.RT_TABLE_MAIN
	}
	return t
}

// shortTable is the table in a message's header, which has 8 bits for it.
func shortTable(t int64) uint8 {
	if t > 255 {
		return unix.RT_TABLE_COMPAT
	}
	return uint8(t)
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func familyOf(name string) uint8 {
	if name == "ipv6" {
		return unix.AF_INET6
	}
	return unix.AF_INET
}
