package envscan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The facts of the network need more of the kernel's answers than netlink's own
// types keep (who set an address, a route's source, what a rule does), so that
// they are read from the messages here; netlink asks for them.

// asker returns the messages that answer a dump of one kind (RTM_GETLINK, ...)
// for a family. A kernel that knows nothing of the family answers for all.
type asker func(kind uint16, family uint8) ([][]byte, error)

// rtnetlink asks the running kernel. It needs no privilege, and is about the
// network namespace of this process.
func rtnetlink(kind uint16, family uint8) ([][]byte, error) {
	var body nl.NetlinkRequestData = &nl.RtMsg{RtMsg: unix.RtMsg{Family: family}}
	switch kind {
	case unix.RTM_GETLINK:
		body = nl.NewIfInfomsg(int(family))
	case unix.RTM_GETADDR:
		body = nl.NewIfAddrmsg(int(family))
	}
	return retry(func() ([][]byte, error) {
		req := nl.NewNetlinkRequest(int(kind), unix.NLM_F_DUMP)
		req.AddData(body)
		return req.Execute(unix.NETLINK_ROUTE, kind-2) // RTM_NEW*: rtnetlink(7)
	})
}

// attributes are those of a message, by type without its flags.
type attributes map[uint16][]byte

var errShort = errors.New("a message of the kernel ends early")

// parseAttributes reads struct nlattr: length and type, 16 bits each, and the
// value, padded to 4 bytes (linux/netlink.h).
func parseAttributes(b []byte) (attributes, error) {
	a := attributes{}
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b))
		kind := binary.NativeEndian.Uint16(b[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
		if size < 4 || size > len(b) {
			return nil, fmt.Errorf("attribute %d: %w", kind, errShort)
		}
		a[kind] = b[4:size]
		b = b[min(len(b), (size+3)&^3):]
	}
	return a, nil
}

// message splits off a header of fixed size.
func message(b []byte, header int) (attributes, error) {
	if len(b) < header {
		return nil, errShort
	}
	return parseAttributes(b[header:])
}

func (a attributes) has(kind uint16) bool { _, ok := a[kind]; return ok }

// nested are the attributes within one; none where it is not there.
func (a attributes) nested(kind uint16) (attributes, error) { return parseAttributes(a[kind]) }

// number is an integer of 1, 2, 4 or 8 bytes in the machine's order; 0 where it
// is not there.
func (a attributes) number(kind uint16) int64 {
	switch v := a[kind]; len(v) {
	case 1:
		return int64(v[0])
	case 2:
		return int64(binary.NativeEndian.Uint16(v))
	case 4:
		return int64(binary.NativeEndian.Uint32(v))
	case 8:
		return int64(binary.NativeEndian.Uint64(v))
	}
	return 0
}

// numberIf is nil where the attribute is not there.
func (a attributes) numberIf(kind uint16) *int64 {
	if !a.has(kind) {
		return nil
	}
	n := a.number(kind)
	return &n
}

// text is a string that a zero byte ends.
func (a attributes) text(kind uint16) string { return unix.ByteSliceToString(a[kind]) }

// address is an IP address; the empty string where there is none.
func (a attributes) address(kind uint16) string { return ipText(a[kind]) }

func ipText(b []byte) string {
	if ip, ok := netip.AddrFromSlice(b); ok {
		return ip.String()
	}
	return ""
}

// prefix is an address with the length of its prefix.
func (a attributes) prefix(kind uint16, bits uint8) string {
	if ip, ok := netip.AddrFromSlice(a[kind]); ok {
		return netip.PrefixFrom(ip, int(bits)).String()
	}
	return ""
}

// families are the names of those that are asked about.
var families = map[uint8]string{unix.AF_INET: "ipv4", unix.AF_INET6: "ipv6"}

// scopes are those of addresses and routes: rtnetlink(7), rtm_scope.
var scopes = map[uint8]string{unix.RT_SCOPE_UNIVERSE: "global", unix.RT_SCOPE_SITE: "site", unix.RT_SCOPE_LINK: "link", unix.RT_SCOPE_HOST: "host", unix.RT_SCOPE_NOWHERE: "nowhere"}

// named is a value's name, or its number where it has none.
func named[T uint8 | int64](names map[T]string, v T) string {
	if name, ok := names[v]; ok {
		return name
	}
	return strconv.FormatInt(int64(v), 10)
}

// absent is the answer of a kernel that was built without what it is asked for.
func absent(err error) bool {
	return errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT)
}
