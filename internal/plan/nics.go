package plan

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/envscan/netname"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
)

// interfaces are the names of the network interfaces in the installed system,
// one for each of hw.nic, as far as they are known: those asked for, and those
// that the system's own udev will give.
func (t target) interfaces() ([]event.NIC, error) {
	nics := t.facts.HW.NIC
	list := make([]event.NIC, len(nics))
	for i, n := range nics {
		list[i] = event.NIC{Name: t.predict(n), HWAddr: t.ownMAC(n), Path: n.Path}
	}
	for i := range list { // of two with one name, it is chance which one gets it
		for k := range i {
			if list[i].Name != "" && list[i].Name == list[k].Name {
				list[i].Name, list[k].Name = "", ""
			}
		}
	}
	var errs []error
	for _, wish := range t.req.System.Network.NICs {
		i, err := t.choose(wish)
		switch {
		case err != nil:
			errs = append(errs, err)
		case list[i].Wished:
			errs = append(errs, fmt.Errorf("network card %s is the same as %s: %s", wish, list[i].Name, describeNIC(nics[i])))
		default:
			list[i].Name, list[i].Wished = wish.Name, true
		}
	}
	return list, errors.Join(errs...)
}

// ownMAC is the permanent MAC if it identifies the card. Some cheap cards all
// have the same, and that of InfiniBand begins with a number that the driver gives
// out.
func (t target) ownMAC(n envscan.NIC) string {
	same := 0
	for _, other := range t.facts.HW.NIC {
		if other.HWAddr == n.HWAddr {
			same++
		}
	}
	if n.HWAddrFrom != "permanent" || same != 1 || n.Kind == "infiniband" {
		return ""
	}
	return n.HWAddr
}

// choose finds the card that a wish means.
func (t target) choose(wish request.NICName) (int, error) {
	nics := t.facts.HW.NIC
	fits := func(n envscan.NIC) bool {
		return (wish.MAC == "" || n.HWAddrFrom == "permanent" && strings.EqualFold(wish.MAC, n.HWAddr)) &&
			(wish.Path == "" || wish.Path == n.Path) && (wish.Driver == "" || wish.Driver == n.Driver)
	}
	var found []int
	for i, n := range nics {
		if fits(n) {
			found = append(found, i)
		}
	}
	switch {
	case len(found) == 0:
		return 0, fmt.Errorf("network card %s: there is none; %s", wish, t.describeNICs())
	case len(found) > 1:
		return 0, fmt.Errorf("network card %s: there are %d; %s", wish, len(found), t.describeNICs())
	}
	// Without a MAC a card is found again by path and driver, which ports of one
	// device share.
	n := nics[found[0]]
	for i, other := range nics {
		if i != found[0] && t.ownMAC(n) == "" && other.Path == n.Path && other.Driver == n.Driver {
			return 0, fmt.Errorf("network card %s: it has no permanent MAC, and %s is at the same place: at the next boot they cannot be told apart", wish, other.Name)
		}
	}
	return found[0], nil
}

func (t target) describeNICs() string {
	if len(t.facts.HW.NIC) == 0 {
		return "this machine has no network card"
	}
	var list []string
	for _, n := range t.facts.HW.NIC {
		list = append(list, describeNIC(n))
	}
	return "this machine has:\n  " + strings.Join(list, "\n  ")
}

func describeNIC(n envscan.NIC) string {
	mac := "no MAC of its own"
	if n.HWAddr != "" {
		mac = "mac:" + n.HWAddr
	}
	return fmt.Sprintf("%s: %s path:%s driver:%s", n.Name, mac, n.Path, n.Driver)
}

// links are the systemd.link(5) files of the names that were asked for. They
// keep what 99-default.link says besides the name, since only the first file
// that matches counts. initramfs-tools takes them along, so that the name is right
// from the start.
func (t target) links() []named {
	if t.anywhere {
		return t.wishedLinks()
	}
	var s []named
	for i, n := range t.nics {
		if n.Wished {
			s = append(s, t.link(n.Name, t.match(t.facts.HW.NIC[i])))
		}
	}
	return s
}

func (t target) link(name, match string) named {
	return t.file("/etc/systemd/network/10-vic-"+name+".link", "[Match]\n"+match+
		"\n[Link]\nName="+name+"\nAlternativeNamesPolicy=database onboard slot path\nMACAddressPolicy=persistent\n")
}

// match are the lines of [Match] that find a card again whatever its name is:
// by its permanent MAC, or by where it is and what drives it.
func (t target) match(n envscan.NIC) string {
	if mac := t.ownMAC(n); mac != "" {
		return "PermanentMACAddress=" + mac + "\n"
	}
	lines := "Path=" + n.Path + "\n"
	if n.Driver != "" {
		lines += "Driver=" + n.Driver + "\n"
	}
	return lines
}

// predict is the name that the udev of the payload gives a card, by Debian's
// .link files: 73-usb-net-by-mac.link, then 99-default.link. Empty: it keeps the
// kernel's, which may be another one at each boot, or nothing is known.
func (t target) predict(n envscan.NIC) string {
	scheme, by, ok := t.scheme()
	switch {
	case !ok || slices.Contains(t.req.System.Cmdline, "net.ifnames=0"):
		return ""
	case n.NameFrom == "predictable":
		return n.Name // NamePolicy=keep kernel
	}
	at := n.NamesAt(scheme)
	names := netname.Names{Onboard: at.Onboard, Slot: at.Slot, Path: at.Path, MAC: at.MAC}
	if !strings.Contains(n.Path, "-usb-") {
		return netname.Default(names)
	}
	if netname.Valid(names.MAC) == nil {
		return names.MAC
	}
	// Debian 12's file takes them all; later ones only those with a MAC.
	if number(by) < 253 {
		return ""
	}
	return netname.Default(names)
}

// scheme is the naming scheme of the installed system, and the one of its udev.
func (t target) scheme() (scheme, by string, ok bool) {
	s, _, err := netname.OfSystemd(t.req.Payload.Udev)
	if err != nil {
		return "", "", false
	}
	scheme = s.Name
	for _, word := range t.req.System.Cmdline {
		if v, asked := strings.CutPrefix(word, "net.naming_scheme="); asked {
			if _, err := netname.Find(v); err == nil && number(v) <= number(s.Name) {
				scheme = v
			}
		}
	}
	return scheme, s.Name, true
}

// number is that of a scheme: 257 of v257.
func number(scheme string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(scheme, "v"))
	if err != nil {
		return 0
	}
	return n
}

// known are the interfaces whose names are known.
func (t target) known() []event.NIC {
	return slices.DeleteFunc(slices.Clone(t.nics), func(n event.NIC) bool { return n.Name == "" })
}

// describeNames tells the names to people, before anything is written.
func (p Plan) describeNames() string {
	if len(p.Result.NICs) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\nnetwork cards\n")
	for _, n := range p.Result.NICs {
		var which []string
		if n.HWAddr != "" {
			which = append(which, n.HWAddr)
		}
		if n.Path != "" { // of a machine that is not there yet it is not known
			which = append(which, "at "+n.Path)
		}
		why := "as its udev will call it"
		if n.Wished {
			why = "as asked for"
		}
		fmt.Fprintf(&b, "  %s: %s, %s\n", n.Name, strings.Join(which, " "), why)
	}
	return b.String()
}
