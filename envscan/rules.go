package envscan

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// ruleActions are values of struct fib_rule_hdr's action (linux/fib_rules.h).
var ruleActions = map[uint8]string{1: "lookup", 2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}

// rules are those that choose a routing table, but for the kernel's own.
func rules(ask asker) ([]Rule, error) {
	list := []Rule{}
	for family := range families {
		msgs, err := ask(unix.RTM_GETRULE, family)
		if absent(err) { // no policy routing in this kernel
			continue
		} else if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			r, ok, err := parseRule(m)
			if err != nil {
				return nil, err
			}
			if ok && r.Family == families[family] {
				list = append(list, r)
			}
		}
	}
	slices.SortStableFunc(list, func(a, b Rule) int { // those of one priority in the kernel's order
		return cmp.Or(cmp.Compare(a.Family, b.Family), cmp.Compare(a.Priority, b.Priority))
	})
	return list, nil
}

// parseRule reads struct fib_rule_hdr and what follows; ok is false for the
// rules that every network namespace has from the beginning.
func parseRule(b []byte) (r Rule, ok bool, err error) {
	a, err := message(b, unix.SizeofRtMsg)
	if err != nil {
		return Rule{}, false, err
	}
	flags := binary.NativeEndian.Uint32(b[8:])
	r = Rule{
		Priority: a.number(nl.FRA_PRIORITY), Family: families[b[0]], Not: flags&unix.FIB_RULE_INVERT != 0,
		From: a.prefix(nl.FRA_SRC, b[2]), To: a.prefix(nl.FRA_DST, b[1]), Mark: ruleMark(a),
		In: a.text(nl.FRA_IIFNAME), Out: a.text(nl.FRA_OIFNAME), TOS: int64(b[3]), Protocol: a.number(nl.FRA_IP_PROTO),
		SourcePort: a.span16(nl.FRA_SPORT_RANGE), DestinationPort: a.span16(nl.FRA_DPORT_RANGE), User: a.span32(nl.FRA_UID_RANGE),
		Action: named(ruleActions, b[7]), Table: int64(b[4]), Goto: a.numberIf(nl.FRA_GOTO), L3MDev: a.number(nl.FRA_L3MDEV) == 1,
	}
	if a.has(nl.FRA_TABLE) {
		r.Table = a.number(nl.FRA_TABLE)
	}
	if r.Action != "lookup" {
		r.Table = 0
	}
	if s := a.numberIf(nl.FRA_SUPPRESS_PREFIXLEN); s != nil && *s != 0xffffffff { // -1: none
		r.Suppress = s
	}
	return r, !kernelRule(r), nil
}

// kernelRule reports whether a rule is one of the three that the kernel starts
// with: local first, main and default last.
func kernelRule(r Rule) bool {
	first := map[int64]int64{0: unix.RT_TABLE_LOCAL, 32766: unix.RT_TABLE_MAIN, 32767: unix.RT_TABLE_DEFAULT}
	table, ok := first[r.Priority]
	return ok && r == Rule{Priority: r.Priority, Family: r.Family, Action: "lookup", Table: table}
}

// ruleMark is written as ip-rule(8) does: without a mask that is whole.
func ruleMark(a attributes) string {
	mark, mask := a.number(nl.FRA_FWMARK), a.number(nl.FRA_FWMASK)
	switch {
	case !a.has(nl.FRA_FWMARK) && mask == 0:
		return ""
	case mask == 0xffffffff || !a.has(nl.FRA_FWMASK):
		return fmt.Sprintf("%#x", mark)
	}
	return fmt.Sprintf("%#x/%#x", mark, mask)
}

// span16 is a range of two numbers of 16 bits.
func (a attributes) span16(kind uint16) string {
	v := a[kind]
	if len(v) < 4 {
		return ""
	}
	return span(uint32(binary.NativeEndian.Uint16(v)), uint32(binary.NativeEndian.Uint16(v[2:])))
}

// span32 is a range of two numbers of 32 bits.
func (a attributes) span32(kind uint16) string {
	v := a[kind]
	if len(v) < 8 {
		return ""
	}
	return span(binary.NativeEndian.Uint32(v), binary.NativeEndian.Uint32(v[4:]))
}

func span(from, to uint32) string {
	if from == to {
		return fmt.Sprint(from)
	}
	return fmt.Sprintf("%d-%d", from, to)
}
