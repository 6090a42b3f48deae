package accesspoint

import (
	"fmt"
	"net/netip"
	"strings"
)

// Serving is what dnsmasq serves.
type Serving struct {
	Hostname   string
	Subnet     netip.Prefix
	ULA        netip.Prefix
	Upstream6  bool   // there is a way to the IPv6 internet
	ResolvConf string // where the name servers of the wireless side are
	LeaseFile  string
}

// Domain is the local one.
const Domain = "lan"

// routerLifetime is how long clients believe in the way to the IPv6 internet, in
// seconds; told every minute. Without upstream they are told 0: that there is none.
const routerLifetime = 180

// Dnsmasq is the configuration of dnsmasq(8): DHCP, router advertisements, DNS.
func Dnsmasq(s Serving) string {
	first, last := pool(s.Subnet)
	lifetime := 0
	if s.Upstream6 {
		lifetime = routerLifetime
	}
	lines := []string{
		"keep-in-foreground",
		"log-facility=-",
		"pid-file=",
		"interface=" + LAN,
		"bind-dynamic",
		"except-interface=lo",
		"no-hosts",
		"resolv-file=" + s.ResolvConf,
		"domain-needed",
		"bogus-priv",
		"domain=" + Domain,
		"local=/" + Domain + "/",
		"expand-hosts",
		fmt.Sprintf("interface-name=%s.%s,%s", s.Hostname, Domain, LAN),
		fmt.Sprintf("interface-name=%s,%s", s.Hostname, LAN),
		"dhcp-authoritative",
		"dhcp-leasefile=" + s.LeaseFile,
		fmt.Sprintf("dhcp-range=%s,%s,1h", first, last),
		"enable-ra",
		fmt.Sprintf("dhcp-range=%s,ra-stateless,%d,10m", s.ULA.Addr(), s.ULA.Bits()),
		fmt.Sprintf("ra-param=%s,60,%d", LAN, lifetime),
	}
	return strings.Join(lines, "\n") + "\n"
}
