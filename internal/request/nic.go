package request

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// NICName is a name that a network interface is to have for good, and which one
// it is: the one that fits every field that is set.
type NICName struct {
	Name string `json:"name"`
	// MAC is the permanent one, in lower case. With it the name follows the card
	// from slot to slot.
	MAC string `json:"mac,omitempty"`
	// Path is where it is plugged in, as udev's ID_PATH: pci-0000:00:03.0. With it
	// the name stays when the card is replaced.
	Path   string `json:"path,omitempty"`
	Driver string `json:"driver,omitempty"`
}

// String is the wish as it is written: lan0=mac:52:54:00:12:34:56.
func (n NICName) String() string { return n.Name + "=" + n.Which() }

// Which is what the interface is chosen by.
func (n NICName) Which() string {
	var parts []string
	for _, p := range [][2]string{{"mac", n.MAC}, {"path", n.Path}, {"driver", n.Driver}} {
		if p[1] != "" {
			parts = append(parts, p[0]+":"+p[1])
		}
	}
	return strings.Join(parts, ",")
}

// ParseNICNames reads wishes such as "lan0=mac:52:54:00:12:34:56",
// "wan0=path:pci-0000:00:03.0,driver:e1000e", one or several of them in a text,
// with commas between them.
func ParseNICNames(texts ...string) ([]NICName, error) {
	var list []NICName
	for _, word := range strings.Split(strings.Join(texts, ","), ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		name, which, begins := strings.Cut(word, "=")
		if begins {
			list = append(list, NICName{Name: name})
		} else if which = word; len(list) == 0 {
			return nil, fmt.Errorf("network card %q: expected NAME=mac:ADDRESS, NAME=path:PATH or NAME=driver:NAME", word)
		}
		if err := list[len(list)-1].set(which); err != nil {
			return nil, err
		}
	}
	return list, validateNICs(list)
}

func (n *NICName) set(which string) error {
	key, value, _ := strings.Cut(which, ":")
	field, ok := map[string]*string{"mac": &n.MAC, "path": &n.Path, "driver": &n.Driver}[key]
	switch {
	case !ok || value == "":
		return fmt.Errorf("network card %s: expected mac:ADDRESS, path:PATH or driver:NAME, got %q", n.Name, which)
	case *field != "":
		return fmt.Errorf("network card %s: %s is given twice", n.Name, key)
	}
	if key == "mac" {
		value = strings.ReplaceAll(strings.ToLower(value), "-", ":")
	}
	*field = value
	return nil
}

var (
	nicName = lazyregexp.New(`^[A-Za-z][A-Za-z0-9_.-]{0,14}$`)
	// What the kernel numbers by itself (eth0, usb0, bond0), and what udev
	// names: ethernet, InfiniBand, SLIP, wireless.
	kernelName = lazyregexp.New(`^(lo|(eth|usb|bond|team|dummy|ifb|tun|tap|ppp|can|vcan|sit|gre|erspan|ip6tnl|tunl|nlmon|veth|macvlan|macvtap|ipvlan|vlan|ra|hwsim|docker|virbr)[0-9]*)$`)
	udevName   = lazyregexp.New(`^(en|ib|sl|wl|ww)`)
	busPath    = lazyregexp.New(`^[A-Za-z0-9:._@+-]+$`)
	driverName = lazyregexp.New(`^[A-Za-z0-9_-]+$`)
)

// validateNICs refuses names that something else could own: of two interfaces
// that are to have one name, it is chance which one gets it.
func validateNICs(list []NICName) error {
	var errs []error
	names, which := map[string]bool{}, map[string]string{}
	for _, n := range list {
		field := "network card " + n.Name
		_, macErr := net.ParseMAC(n.MAC)
		errs = append(errs,
			check(nicName.MatchString(n.Name), "name of a network card", n.Name, "must begin with a letter and have at most 15 characters out of letters, digits, _, . and -"),
			check(n.Name != "all" && n.Name != "default", "name of a network card", n.Name, "has a meaning in /proc/sys/net"),
			check(!kernelName.MatchString(n.Name), "name of a network card", n.Name, "is one that the kernel gives by itself: choose one such as lan0"),
			check(!udevName.MatchString(n.Name), "name of a network card", n.Name, "begins as udev's own names do (en, ib, sl, wl, ww): choose one such as lan0"),
			check(!names[n.Name], "name of a network card", n.Name, "is there twice"),
			check(n.Which() != "", field, n.Which(), "must be chosen by mac, path or driver"),
			check(n.MAC == "" || macErr == nil && n.MAC == strings.ToLower(n.MAC), field, n.MAC, "must be a MAC address such as 52:54:00:12:34:56"),
			check(n.Path == "" || busPath.MatchString(n.Path), field, n.Path, "must be a bus path such as pci-0000:00:03.0"),
			check(n.Driver == "" || driverName.MatchString(n.Driver), field, n.Driver, "must be the name of a driver such as e1000e"))
		if other, twice := which[n.Which()]; twice && n.Which() != "" {
			errs = append(errs, fmt.Errorf("network cards %s and %s are the same: %s", other, n.Name, n.Which()))
		}
		names[n.Name], which[n.Which()] = true, n.Name
	}
	return errors.Join(errs...)
}
