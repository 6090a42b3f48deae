// Package netname tells the names that udev gives network interfaces, by every
// naming scheme of systemd.net-naming-scheme(7) from v238 to v257. The system
// that is installed names its interfaces by the scheme of its own systemd, which
// is seldom that of the system that installs it.
//
//	/sys --Read--> Device --Of(Device, Scheme)--> Names --Choose--> eno1
//
// Of does what udev's builtin net_id does. As in udev, a scheme is a set of
// differences that the newest code honours: udev 252 told to follow v239 is not
// udev 239, which for one gave no property at all for names longer than an
// interface may have. Such names are in Names, and Choose passes over them as
// systemd.link(5) does.
//
// It knows nothing of .link files but the default one, and nothing of hwdb's
// ID_NET_NAME_ALLOW.
package netname

import (
	"fmt"
	"net"
	"strings"
	"unicode"
)

// Names are the properties ID_NET_NAME_* of an interface; empty: not set.
type Names struct {
	Onboard string // eno1, end0: by the firmware's index, by a device tree alias
	Slot    string // ens3: by the slot, which stays if the bus numbers change
	Path    string // enp0s3: by the place on the bus
	MAC     string // enx525400123456
}

// propertyMax is the longest value: udev cuts nothing, it leaves out. An
// interface's name may have 15.
const (
	propertyMax = 127
	nameMax     = 15
)

// Of names an interface by a scheme.
func Of(d Device, s Scheme) Names {
	var n Names
	kind := prefix(d, s)
	if d.Stacked || kind == "" {
		return n
	}
	n.MAC = macName(d, kind)
	// What is later wins, where a device is several of these.
	for _, name := range []func(Device, Scheme, string, *Names){
		devicetree, ccw, vio, platform, simulated, xen, onPCI, onUSB, onBCMA,
	} {
		name(d, s, kind, &n)
	}
	return n
}

// InEffect are the names by all schemes, each with the first scheme that gives
// them and to be followed until the next.
func InEffect(d Device) ([]Scheme, []Names) {
	var when []Scheme
	var names []Names
	for _, s := range schemes() {
		if n := Of(d, s); len(names) == 0 || names[len(names)-1] != n {
			when, names = append(when, s), append(names, n)
		}
	}
	return when, names
}

func prefix(d Device, s Scheme) string {
	switch {
	case d.Type == arpEther && d.DevType == "wlan":
		return "wl"
	case d.Type == arpEther && d.DevType == "wwan":
		return "ww"
	case d.Type == arpEther:
		return "en"
	case d.Type == arpInfiniband && s.has(infiniband):
		return "ib"
	case d.Type == arpSLIP:
		return "sl"
	}
	return ""
}

// macName is for addresses that the hardware came with. Those of InfiniBand are
// too long.
func macName(d Device, prefix string) string {
	mac, err := net.ParseMAC(d.Address)
	if d.Type == arpInfiniband || d.Assign != 0 || err != nil || len(mac) != 6 {
		return ""
	}
	return fmt.Sprintf("%sx%x", prefix, []byte(mac))
}

// join is a name from its parts, or empty if that is too long.
func join(parts ...string) string {
	name := strings.Join(parts, "")
	if len(name) > propertyMax {
		return ""
	}
	return name
}

// Default is the name that systemd's 99-default.link chooses for an interface
// that the kernel has only numbered: NamePolicy= ... onboard slot path. Empty:
// it keeps the kernel's.
func Default(n Names) string {
	for _, name := range []string{n.Onboard, n.Slot, n.Path} {
		if Valid(name) == nil {
			return name
		}
	}
	return ""
}

// Valid says whether the kernel and systemd accept a name for an interface.
func Valid(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("name an interface: it needs a name")
	case len(name) > nameMax:
		return fmt.Errorf("name an interface %q: the kernel takes at most %d characters", name, nameMax)
	case name == "." || name == ".." || name == "all" || name == "default":
		return fmt.Errorf("name an interface %q: the word has a meaning in /proc/sys/net", name)
	case strings.Trim(name, "0123456789") == "":
		return fmt.Errorf("name an interface %q: it would be taken for an interface's number", name)
	}
	for _, r := range name {
		if r <= ' ' || r >= unicode.MaxASCII || strings.ContainsRune("/:%", r) {
			return fmt.Errorf("name an interface %q: it must not have the character %q", name, r)
		}
	}
	return nil
}
