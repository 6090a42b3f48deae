package envscan

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/envscan/netname"
)

// netLink is what the kernel tells of an interface when asked.
type netLink struct {
	permanent string // MAC; empty: the driver knows none
	maxSpeed  int64  // Mb/s; 0: unknown
}

// nicProbes find the network interfaces that are hardware.
var nicProbes = []prober{
	{"nics", []string{"hw.nic", "state.links"}, func(_ context.Context, s *scanner) func(*Facts) {
		nics, links := s.nics()
		return func(f *Facts) { f.HW.NIC, f.State.Links = nics, links }
	}},
}

// nics lists the interfaces that are hardware: those with a device. Bridges,
// VLANs, bonds, tunnels and the ends of virtual cables have none.
func (s *scanner) nics() ([]NIC, map[string]Link) {
	const class = "/sys/class/net"
	names, err := s.root.Names(class)
	s.gap("hw.nic", class, err)
	var known map[string]netLink
	if s.links != nil {
		known, err = s.links()
		s.gap("hw.nic", "netlink", err)
	}
	bonded := s.bonded()
	list, links := []NIC{}, map[string]Link{}
	for _, name := range names {
		dir := class + "/" + name
		if !s.exists(dir + "/device") {
			continue
		}
		d, err := netname.Read(s.root, name)
		s.gap("hw.nic[name="+name+"].names", dir, err)
		if d.Kind() == "" {
			continue
		}
		l := known[name]
		l.permanent = cmp.Or(l.permanent, bonded[name])
		list = append(list, s.nic(d, dir, l))
		links[name] = s.link(name, dir)
	}
	s.nicModules(list)
	slices.SortFunc(list, compareNICs)
	return list, links
}

// compareNICs orders by what stays: names and indices are given out in the order
// of discovery. Interfaces with an index of the firmware come first.
func compareNICs(a, b NIC) int {
	last := int64(1) << 62
	index := func(n NIC) int64 {
		if n.Index == nil {
			return last
		}
		return *n.Index
	}
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(index(a), index(b)), cmp.Compare(a.Path, b.Path),
		cmp.Compare(a.Port, b.Port), cmp.Compare(a.HWAddr, b.HWAddr), cmp.Compare(a.Name, b.Name))
}

func (s *scanner) nic(d netname.Device, dir string, known netLink) NIC {
	fact := "hw.nic[name=" + d.Name + "]"
	n := NIC{
		Name: d.Name, Kind: d.Kind(), Port: int64(d.Port),
		Path:     s.root.BusPath(strings.TrimSuffix(d.Path, "/net/"+d.Name)),
		Driver:   s.linkName(fact+".driver", dir+"/device/driver"),
		Wireless: d.Kind() == "wlan" || s.exists(dir+"/wireless") || s.exists(dir+"/phy80211"),
		Modalias: s.text(fact+".modalias", dir+"/device/modalias"),
		NameFrom: nameFrom(s.nameType(dir)),
		Names:    candidates(d),
	}
	if n.Wireless && n.Kind == "ethernet" {
		n.Kind = "wlan" // a driver that does not say what it is
	}
	current := s.text(fact+".current", dir+"/address")
	if strings.Trim(current, "0:") != "" {
		n.Current = current
	}
	n.HWAddr, n.HWAddrFrom = hwaddr(known.permanent, current, s.text(fact+".hwaddr", dir+"/addr_assign_type"))
	n.Index, n.Label = d.Firmware()
	if known.maxSpeed > 0 {
		n.MaxSpeed = &known.maxSpeed
	}
	return n
}

// nameType is who named an interface. Before it is registered the kernel does
// not say (EINVAL).
func (s *scanner) nameType(dir string) int64 {
	n, err := s.root.Number(dir, "name_assign_type")
	if err != nil {
		return 0
	}
	return n
}

// nameFrom are the kinds of Documentation/ABI/testing/sysfs-class-net.
func nameFrom(t int64) string {
	return map[int64]string{1: "enumerated", 2: "predictable", 3: "user", 4: "renamed"}[t]
}

func candidates(d netname.Device) []Names {
	when, names := netname.InEffect(d)
	list := []Names{}
	for i, n := range names {
		list = append(list, Names{Scheme: when[i].Name, Onboard: n.Onboard, Slot: n.Slot, Path: n.Path, MAC: n.MAC})
	}
	return list
}

// NamesAt are the names by a scheme such as v252: those of the newest one in Names
// that is not after it.
func (n NIC) NamesAt(scheme string) Names {
	var found Names
	for _, c := range n.Names {
		if schemeNumber(c.Scheme) <= schemeNumber(scheme) {
			found = c
		}
	}
	return found
}

// schemeNumber is 257 of v257.
func schemeNumber(scheme string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(scheme, "v"))
	if err != nil {
		return 0
	}
	return n
}

// nicModules finds the modules for all of them in one pass.
func (s *scanner) nicModules(list []NIC) {
	var aliases []string
	for _, n := range list {
		if n.Modalias != "" {
			aliases = append(aliases, n.Modalias)
		}
	}
	if len(aliases) == 0 {
		return
	}
	found, err := s.match(aliases)
	if err != nil {
		s.gaps = append(s.gaps, Gap{Fact: "hw.nic.*.module", Path: s.moduleDir(), Why: reason(err)})
		return
	}
	for i, n := range list {
		list[i].Module = sortedSet(found[n.Modalias])
	}
}

// bonded are the permanent addresses of the ports of bonds, by name: a bond
// gives all its ports one address. /sys does not keep them.
func (s *scanner) bonded() map[string]string {
	const dir = "/proc/net/bonding"
	bonds, err := s.root.Names(dir)
	s.gap("hw.nic.*.hwaddr", dir, err)
	addrs := map[string]string{}
	for _, bond := range bonds {
		port := ""
		for line := range strings.Lines(s.text("hw.nic.*.hwaddr", dir+"/"+bond)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch key {
			case "Slave Interface":
				port = filepath.Base(value)
			case "Permanent HW addr":
				addrs[port] = value
			}
		}
	}
	return addrs
}

// hwaddr tells a NIC's own address from one that it was given. Without one of
// its own it has none that a configuration could go by.
// Documentation/ABI/testing/sysfs-class-net: addr_assign_type.
func hwaddr(permanent, current, assignType string) (addr, from string) {
	zero := strings.Trim(current, "0:") == ""
	switch {
	case strings.Trim(permanent, "0:") != "":
		return permanent, "permanent"
	case zero:
		return "", "none"
	case assignType == "0":
		return current, "permanent"
	case assignType == "1":
		return "", "random"
	}
	return "", "assigned"
}

func (s *scanner) link(name, dir string) Link {
	fact := "state.links." + name
	flags, err := strconv.ParseUint(strings.TrimPrefix(s.text(fact+".up", dir+"/flags"), "0x"), 16, 32)
	s.gap(fact+".up", dir+"/flags", err)
	l := Link{Up: err == nil && flags&1 != 0}
	carrier, err := s.root.Text(dir, "carrier") // EINVAL while it is down
	l.Carrier = err == nil && carrier == "1"
	// Likewise; -1: the driver does not know.
	if speed, err := s.root.Number(dir, "speed"); err == nil && speed > 0 {
		l.Speed = speed
	}
	if l.MTU, err = s.root.Number(dir, "mtu"); err != nil {
		s.gap(fact+".mtu", dir+"/mtu", err)
	}
	return l
}
