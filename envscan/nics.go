package envscan

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// netLink is what netlink tells of an interface.
type netLink struct {
	permanent string // MAC; empty: the driver knows none
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
	names, err := s.root.Names("sys/class/net")
	s.gap("hw.nic", "/sys/class/net", err)
	var known map[string]netLink
	if s.links != nil {
		known, err = s.links()
		s.gap("hw.nic", "netlink", err)
	}
	list, links := []NIC{}, map[string]Link{}
	port := map[string]int64{}
	for _, name := range names {
		dir := "/sys/class/net/" + name
		if kind := s.text("hw.nic", dir+"/type"); !s.exists(dir+"/device") || kind != ethernet && kind != infiniband {
			continue
		}
		// Several ports of one card may share their place on the bus. A
		// driver without the attribute has one.
		if p, err := s.root.Number(dir, "dev_port"); err == nil {
			port[name] = p
		}
		list = append(list, s.nic(name, dir, known[name].permanent))
		links[name] = s.link(name, dir)
	}
	slices.SortFunc(list, func(a, b NIC) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(port[a.Name], port[b.Name]), cmp.Compare(a.HWAddr, b.HWAddr), cmp.Compare(a.Name, b.Name))
	})
	return list, links
}

// Values of /sys/class/net/*/type, include/uapi/linux/if_arp.h.
const (
	ethernet   = "1"
	infiniband = "32"
)

func (s *scanner) nic(name, dir, permanent string) NIC {
	n := NIC{Name: name, Wireless: s.exists(dir+"/wireless") || s.exists(dir+"/phy80211")}
	fact := "hw.nic[name=" + name + "]"
	devPath, err := s.root.DevPath("sys/class/net", name)
	s.gap(fact+".path", dir, err)
	n.Path = s.root.BusPath(strings.TrimSuffix(devPath, "/net/"+name))
	driver, err := s.root.Readlink(dir + "/device/driver")
	s.gap(fact+".driver", dir+"/device/driver", err)
	if err == nil {
		n.Driver = filepath.Base(driver)
	}
	n.Modalias = s.text(fact+".modalias", dir+"/device/modalias")
	n.HWAddr, n.HWAddrFrom = hwaddr(permanent, s.text(fact+".hwaddr", dir+"/address"), s.text(fact+".hwaddr", dir+"/addr_assign_type"))
	return n
}

// hwaddr tells a NIC's own address from one that it was given. Without one of
// its own it has none that a configuration could go by.
// Documentation/ABI/testing/sysfs-class-net: addr_assign_type.
func hwaddr(permanent, current, assignType string) (addr, from string) {
	zero := strings.Trim(current, "0:") == ""
	switch {
	case permanent != "":
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
	carrier, err := s.root.Text(dir, "carrier") // EINVAL while it is down
	return Link{Up: err == nil && flags&1 != 0, Carrier: err == nil && carrier == "1"}
}
