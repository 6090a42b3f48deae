package accesspoint

import (
	"net/netip"
	"strings"
)

// Lease is a client of the Ethernet side.
type Lease struct {
	Name    string // "" when it did not tell
	MAC     string
	Address netip.Addr
}

// Leases reads the lease file of dnsmasq (lease.c): a line for each IPv4 lease with
// the time it ends, MAC, address, name or *, client id or *. Other lines are of
// DHCPv6.
func Leases(text string) []Lease {
	var list []Lease
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 4 || len(f[1]) != 17 {
			continue
		}
		addr, err := netip.ParseAddr(f[2])
		if err != nil || !addr.Is4() {
			continue
		}
		l := Lease{Name: f[3], MAC: f[1], Address: addr}
		if l.Name == "*" {
			l.Name = ""
		}
		list = append(list, l)
	}
	return list
}
