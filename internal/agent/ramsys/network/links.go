package network

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/netconf"
)

// link does what is missing of one link, and says whether something was done.
func (t *takeover) link(l netconf.Link, list []seen) bool {
	byIndex := indexed(list)
	index, there := t.index[l.Name]
	if !there {
		return l.Kind != netconf.Physical && t.create(l)
	}
	have := byIndex[index]
	if !have.up && have.name != l.Name {
		t.makeRoom(l.Name, list)
		var err error
		if list, err = t.n.look(t.first); err != nil {
			t.try("list interfaces", err)
			return false
		}
		byIndex = indexed(list)
	}
	steps := next(l, have, t.others(l, byIndex, named(list)))
	changed := false
	for _, s := range steps {
		err := t.do(l, index, s)
		t.try(fmt.Sprintf("%s of link %s", s.do, l.Name), err)
		changed = changed || err == nil
	}
	return changed
}

// others is what next has to know for l.
func (t *takeover) others(l netconf.Link, byIndex map[int]seen, byName map[string]seen) others {
	_, taken := byName[l.Name]
	o := others{nameFree: !taken, lowerUp: byIndex[t.index[l.Lower]].up}
	for _, m := range t.conf.Links {
		if m.Name == l.Master {
			o.masterKind, o.master = m.Kind, t.index[m.Name]
			if m.Bond != nil {
				o.failMAC = m.Bond.FailMAC
			}
		}
	}
	if l.Bond != nil && hasPrimary(l.Bond.Mode) {
		if port, ok := t.index[l.Bond.Primary]; ok && byIndex[port].master == t.index[l.Name] {
			o.primary = port
		}
	}
	return o
}

// makeRoom takes a name away from an interface that is not in use.
func (t *takeover) makeRoom(name string, list []seen) {
	byName := named(list)
	other, taken := byName[name]
	if !taken || other.up {
		return
	}
	link, err := netlink.LinkByIndex(other.index)
	if err == nil {
		err = netlink.LinkSetName(link, freeName(byName, t.conf.Links))
	}
	t.try("take the name "+name+" from another interface", err)
}

// do does a step.
func (t *takeover) do(l netconf.Link, index int, s step) error {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return err
	}
	switch s.do {
	case rename:
		return netlink.LinkSetName(link, s.name)
	case setDown:
		return netlink.LinkSetDown(link)
	case setMAC:
		mac, err := net.ParseMAC(s.mac)
		if err != nil {
			return err
		}
		return netlink.LinkSetHardwareAddr(link, mac)
	case setMTU:
		return netlink.LinkSetMTU(link, s.to)
	case setMaster:
		return netlink.LinkSetMasterByIndex(link, s.to)
	case setPrimary:
		return send(unix.RTM_NEWLINK, 0, primaryParts(index, s.to))
	case setUp:
		t.try("let "+l.Name+" listen to routers", t.acceptRA(link.Attrs().Name, l.RA))
		return netlink.LinkSetUp(link)
	}
	return fmt.Errorf("unknown step %q", s.do)
}

// acceptRA has the kernel listen to routers, even if it were one (2), or not.
func (t *takeover) acceptRA(name string, listen bool) error {
	value := "0"
	if listen {
		value = "2"
	}
	err := sysctl("ipv6/conf/"+name+"/accept_ra", value)
	if errors.Is(err, os.ErrNotExist) && !listen {
		return nil // no IPv6
	}
	return err
}

// create makes a link that is no card, once what it stands on is there.
func (t *takeover) create(l netconf.Link) bool {
	lower, there := t.index[l.Lower]
	if l.Kind == netconf.VLAN && !there {
		return false
	}
	t.try("load "+modules[l.Kind], t.n.cfg.Need(modules[l.Kind]))
	name, old, err := t.nameFor(l)
	if err == nil && old == 0 {
		err = create(l, name, lower)
		t.try("create the "+l.Kind+" "+l.Name, err)
		if err != nil && l.Kind == netconf.Bond && l.Bond != nil {
			// Better a bond with other settings than none.
			refused := err
			if err = create(plain(l), name, lower); err == nil {
				t.n.cfg.Report(name, nil, fmt.Errorf("create the bond %s: %w: it has its mode only", l.Name, refused))
			}
		}
		if err != nil {
			return false
		}
		old, err = indexOf(name)
	}
	t.try("find a name for "+l.Name, err)
	if err == nil {
		t.index[l.Name] = old
	}
	return err == nil
}

// nameFor is the name for a link that is to be created: its own, or another one
// if that cannot be had. An interface of that name and kind that is down is what
// a module makes when it is loaded (bond0), and is removed; one that is up was
// made by a run of this program before, and is the link: the index.
func (t *takeover) nameFor(l netconf.Link) (name string, index int, err error) {
	list, err := t.n.look(t.first)
	if err != nil {
		return "", 0, err
	}
	old, taken := named(list)[l.Name]
	switch {
	case taken && old.kind == l.Kind && old.up:
		return l.Name, old.index, nil
	case taken && old.kind == l.Kind:
		t.try("remove the "+l.Kind+" "+l.Name, netlink.LinkDel(&netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: old.index}}))
	case taken:
		t.makeRoom(l.Name, list)
	}
	if list, err = t.n.look(t.first); err != nil {
		return "", 0, err
	}
	if _, taken = named(list)[l.Name]; taken {
		return freeName(named(list), t.conf.Links), 0, nil
	}
	return l.Name, 0, nil
}

// plain is a bond with nothing but its mode.
func plain(l netconf.Link) netconf.Link {
	l.MTU, l.MAC, l.Bond = 0, "", &netconf.BondConfig{Mode: l.Bond.Mode, Monitor: 100}
	return l
}

func indexOf(name string) (int, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return 0, err
	}
	return l.Attrs().Index, nil
}

// setVLANs has a bridge that filters by VLAN let those through that stand on it.
// Which others its ports had is not handed over: they are not this machine's.
func (t *takeover) setVLANs(list []seen) {
	for _, v := range t.conf.Links {
		bridge, ok := t.index[v.Lower]
		if v.Kind != netconf.VLAN || !ok || !filters(t.conf, v.Lower) {
			continue
		}
		have, err := netlink.BridgeVlanList()
		for _, s := range list {
			if err == nil && (s.index == bridge || s.master == bridge) && !lets(have[int32(s.index)], v.ID) {
				link := &netlink.Dummy{LinkAttrs: netlink.LinkAttrs{Index: s.index}}
				err = netlink.BridgeVlanAdd(link, uint16(v.ID), false, false, s.index == bridge, s.index != bridge)
			}
		}
		t.try(fmt.Sprintf("let VLAN %d through %s", v.ID, v.Lower), err)
	}
}

func lets(vlans []*nl.BridgeVlanInfo, id int64) bool {
	return slices.ContainsFunc(vlans, func(v *nl.BridgeVlanInfo) bool { return int64(v.Vid) == id })
}

// filters: the link is a bridge that filters by VLAN.
func filters(c netconf.Config, name string) bool {
	return slices.ContainsFunc(c.Links, func(l netconf.Link) bool {
		return l.Name == name && l.Bridge != nil && l.Bridge.VLANFiltering
	})
}
