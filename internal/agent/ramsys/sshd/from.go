package sshd

import (
	"fmt"
	"net/netip"
	"path"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// addrPatterns are those of from=: addresses, networks (192.0.2.0/24) and
// wildcards (192.0.2.*), some of them negated by "!".
type addrPatterns []addrPattern

type addrPattern struct {
	negated bool
	network netip.Prefix // or
	glob    string
}

// wildcard is a pattern that only addresses match. Names would have to be looked
// up, in what may be nobody's DNS: they are refused.
var wildcard = lazyregexp.New(`^([0-9.*?]*[*?][0-9.*?]*|[0-9a-f:*?]*:[0-9a-f:*?.]*)$`)

func parseAddrPatterns(value string) (addrPatterns, error) {
	var list addrPatterns
	for _, text := range strings.Split(value, ",") {
		var p addrPattern
		text, p.negated = strings.CutPrefix(strings.TrimSpace(text), "!")
		switch {
		case strings.Contains(text, "/"):
			network, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, err
			}
			if network != network.Masked() {
				return nil, fmt.Errorf("network %s has bits set beyond its length", network)
			}
			p.network = network
		case strings.ContainsAny(text, "*?") && wildcard.MatchString(strings.ToLower(text)):
			p.glob = strings.ToLower(text)
		default:
			a, err := netip.ParseAddr(text)
			if err != nil {
				return nil, fmt.Errorf("%.40q is not a pattern of addresses", text)
			}
			p.glob = a.Unmap().WithZone("").String() // however it was written
		}
		list = append(list, p)
	}
	return list, nil
}

func (p addrPattern) matches(a netip.Addr) bool {
	if p.glob == "" {
		return p.network.Contains(a)
	}
	ok, err := path.Match(p.glob, a.String())
	return ok && err == nil
}

// allows reports whether one pattern matches and no negated one does. No
// patterns at all allow everybody, also who has no address.
func (list addrPatterns) allows(a netip.Addr) bool {
	if list == nil {
		return true
	}
	if !a.IsValid() {
		return false
	}
	a, matched := a.WithZone(""), false
	for _, p := range list {
		if !p.matches(a) {
			continue
		}
		if p.negated {
			return false
		}
		matched = true
	}
	return matched
}
