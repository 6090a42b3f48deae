package netconf

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
)

var linkName = regexp.MustCompile(`^[^/:%\s\x00-\x1f]{1,15}$`)

// Validate reports everything that is wrong with the document, joined.
func (c Config) Validate() error {
	var errs []error
	known := map[string]string{}
	for _, l := range c.Links {
		errs = append(errs, l.validate(known))
		known[l.Name] = l.Kind
	}
	for _, l := range c.Links {
		if _, ok := known[l.Master]; l.Master != "" && !ok {
			errs = append(errs, fmt.Errorf("network: link %s: no link %q to be a port of", l.Name, l.Master))
		}
	}
	for _, a := range c.Addresses {
		if _, err := netip.ParsePrefix(a.Address); err != nil {
			errs = append(errs, fmt.Errorf("network: address of %s: %w", a.Link, err))
		}
		if _, ok := known[a.Link]; !ok {
			errs = append(errs, fmt.Errorf("network: address %s: no link %q", a.Address, a.Link))
		}
	}
	return errors.Join(errs...)
}

func (l Link) validate(known map[string]string) error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("network: link %s: %w", l.Name, fmt.Errorf(format, args...))
	}
	if !linkName.MatchString(l.Name) || l.Name == "." || l.Name == ".." {
		return fmt.Errorf("network: %q is no name of an interface", l.Name)
	}
	if _, twice := known[l.Name]; twice {
		return fail("it is there twice")
	}
	if _, err := net.ParseMAC(l.MAC); l.MAC != "" && err != nil {
		return fail("%w", err)
	}
	switch l.Kind {
	case Physical:
		if l.NIC == nil || *l.NIC == (NIC{}) {
			return fail("nothing says which network card it is")
		}
	case VLAN:
		if _, ok := known[l.Lower]; !ok || l.ID < 0 || l.ID > 4094 {
			return fail("VLAN %d on %q: expected a number up to 4094 on a link before it", l.ID, l.Lower)
		}
	case Bond:
		if l.Bond == nil || l.Bond.Mode == "" {
			return fail("the bond has no mode")
		}
	case Bridge:
	default:
		return fail("unknown kind %q", l.Kind)
	}
	return nil
}
