package netconf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// Names are those that a file of systemd-networkd can have, without what is a
// pattern there.
var (
	linkName   = lazyregexp.New(`^[A-Za-z0-9_][A-Za-z0-9_.+@#=~-]{0,14}$`)
	busPath    = lazyregexp.New(`^[A-Za-z0-9:._@+-]+$`)
	driverName = lazyregexp.New(`^[A-Za-z0-9_-]+$`)
)

const maxNumber = 1<<32 - 1

// problems are what is wrong with one part of the document.
type problems struct {
	of   string
	errs []error
}

func (p *problems) add(format string, args ...any) {
	p.errs = append(p.errs, fmt.Errorf("network: %s: %w", p.of, fmt.Errorf(format, args...)))
}

func (p *problems) unless(ok bool, format string, args ...any) {
	if !ok {
		p.add(format, args...)
	}
}

// oneOf: of names, the value is one or is not there.
func (p *problems) oneOf(what, value string, names ...string) {
	p.unless(value == "" || slices.Contains(names, value), "%s %q must be one of %s", what, value, strings.Join(names, ", "))
}

// within: the number is from low to high.
func (p *problems) within(what string, n, low, high int64) {
	p.unless(n >= low && n <= high, "%s %d must be from %d to %d", what, n, low, high)
}

// Validate reports everything that is wrong with the document, joined. What it
// accepts can be set up by netlink and written as files of systemd-networkd.
func (c Config) Validate() error {
	var errs []error
	for i := range c.Links {
		errs = append(errs, c.validateLink(i)...)
	}
	for i := range c.Addresses {
		errs = append(errs, c.validateAddress(i)...)
	}
	for _, r := range c.Routes {
		errs = append(errs, c.validateRoute(r)...)
	}
	for _, r := range c.Rules {
		errs = append(errs, c.validateRule(r)...)
	}
	return errors.Join(append(errs, c.validateDNS()...)...)
}

// index is where a link is in the document; -1: nowhere.
func (c Config) index(name string) int {
	return slices.IndexFunc(c.Links, func(l Link) bool { return l.Name == name })
}

// validateLink: the order alone makes sure that no link stands on itself, since
// each one stands on earlier ones.
func (c Config) validateLink(i int) []error {
	l := c.Links[i]
	p := &problems{of: "link " + l.Name}
	p.unless(linkName.MatchString(l.Name) && l.Name != "lo" && l.Name != "all" && l.Name != "default",
		"%q is no name of an interface that can be configured", l.Name)
	p.unless(c.index(l.Name) == i, "it is there twice")
	p.validateMAC(l.MAC)
	p.unless(l.MTU == 0 || l.MTU >= 68 && l.MTU <= 65536, "MTU %d must be from 68 to 65536", l.MTU)
	p.oneOf("dhcpID", l.DHCPID, "mac", "duid")
	c.validateMaster(p, i)
	p.unless((l.NIC != nil) == (l.Kind == Physical), "a link is a network card if and only if its kind is %s", Physical)
	p.unless(l.Bond == nil || l.Kind == Bond, "settings of a bond on a link that is none")
	p.unless(l.Bridge == nil || l.Kind == Bridge, "settings of a bridge on a link that is none")
	p.unless(l.Kind == VLAN || l.Lower == "" && l.ID == 0 && l.Protocol == "", "settings of a VLAN on a link that is none")
	switch l.Kind {
	case Physical:
		c.validateNIC(p, i)
	case VLAN:
		p.within("VLAN", l.ID, 0, 4094)
		p.oneOf("protocol", l.Protocol, "802.1Q", "802.1ad")
		lower := c.index(l.Lower)
		p.unless(lower >= 0 && lower < i, "%q, which it stands on, must come before it", l.Lower)
	case Bond:
		c.validateBond(p, l)
	case Bridge:
		if b := l.Bridge; b != nil {
			p.within("priority", b.Priority, 0, 65535)
			p.within("VLAN of frames without a tag", b.DefaultVLAN, 0, 4094)
			p.within("forward delay", b.ForwardDelay, 0, 3600_000)
		}
	default:
		p.add("unknown kind %q", l.Kind)
	}
	return p.errs
}

func (c Config) validateMaster(p *problems, i int) {
	l := c.Links[i]
	if l.Master == "" {
		return
	}
	m := c.index(l.Master)
	switch {
	case m < 0:
		p.add("no link %q to be a port of", l.Master)
	case c.Links[m].Kind != Bond && c.Links[m].Kind != Bridge:
		p.add("%s is no bond and no bridge that it could be a port of", l.Master)
	case m <= i:
		p.add("%s, which it is a port of, must come after it", l.Master)
	}
	p.unless(!l.DHCP4 && !l.DHCP6 && !l.RA, "a port of %s cannot ask for addresses", l.Master)
}

func (p *problems) validateMAC(mac string) {
	if mac == "" {
		return
	}
	hw, err := net.ParseMAC(mac)
	p.unless(err == nil && mac == hw.String(), "MAC %q must be written like 52:54:00:12:34:56", mac)
	p.unless(err != nil || hw[0]&1 == 0 && strings.Trim(mac, "0:") != "", "MAC %s is of no single interface", mac)
}

func (c Config) validateNIC(p *problems, i int) {
	n := c.Links[i].NIC
	if n == nil || *n == (NIC{}) {
		p.add("nothing says which network card it is")
		return
	}
	p.validateMAC(n.MAC)
	p.unless(n.Path == "" || busPath.MatchString(n.Path), "bus path %q must be one such as pci-0000:00:03.0", n.Path)
	p.unless(n.Driver == "" || driverName.MatchString(n.Driver), "driver %q must be one such as virtio_net", n.Driver)
	p.within("port", n.Port, 0, 65535)
	for _, other := range c.Links[:i] {
		p.unless(other.NIC == nil || *other.NIC != *n, "it is the same network card as %s", other.Name)
	}
}

func (c Config) validateBond(p *problems, l Link) {
	b := l.Bond
	if b == nil || b.Mode == "" {
		p.add("the bond has no mode")
		return
	}
	p.oneOf("mode", b.Mode, "balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb")
	p.oneOf("lacpRate", b.LACP, "slow", "fast")
	p.oneOf("hashPolicy", b.Hash, "layer2", "layer2+3", "layer3+4", "encap2+3", "encap3+4")
	p.oneOf("adSelect", b.Select, "stable", "bandwidth", "count")
	p.oneOf("failOverMAC", b.FailMAC, "none", "active", "follow")
	p.within("monitor", b.Monitor, 0, 1<<31-1)
	p.within("upDelay", b.UpDelay, 0, 1<<31-1)
	p.within("downDelay", b.DownDelay, 0, 1<<31-1)
	p.within("arpInterval", b.ARPInterval, 0, 1<<31-1)
	p.unless(b.ARPInterval == 0 || b.Monitor == 0, "a bond looks at the carrier or asks addresses, not both")
	p.unless((b.ARPInterval > 0) == (len(b.ARP) > 0) && len(b.ARP) <= 16, "arp must be 1 to 16 addresses if arpInterval is set, and none otherwise")
	for _, a := range b.ARP {
		addr, err := netip.ParseAddr(a)
		p.unless(err == nil && addr.Is4(), "arp: %q is no IPv4 address", a)
	}
	if b.Primary != "" {
		i := c.index(b.Primary)
		p.unless(i >= 0 && c.Links[i].Master == l.Name, "primary %q is no port of it", b.Primary)
	}
}
