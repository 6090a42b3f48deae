package network

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/internal/netconf"
)

// dump repeats a dump that other changes interrupted: it may lack something.
func dump[T any](list func() ([]T, error)) ([]T, error) {
	const enough = 10
	for n := 1; ; n++ {
		all, err := list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) || n == enough {
			return all, err
		}
	}
}

// sight is when an interface was seen first, and with which MAC.
type sight struct {
	mac string
	at  time.Time
}

// lenience is how long a card that fits in every field may take to appear, before
// one that has only the MAC is taken.
const lenience = 10 * time.Second

// look lists all interfaces but the loopback, and remembers when each appeared.
func (n *Network) look(first map[int]sight) ([]seen, error) {
	links, err := dump(netlink.LinkList)
	if err != nil {
		return nil, err
	}
	var list []seen
	for _, l := range links {
		a := l.Attrs()
		if a.RawFlags&unix.IFF_LOOPBACK != 0 {
			continue
		}
		s := seen{
			index: a.Index, name: a.Name, kind: l.Type(), mac: a.HardwareAddr.String(), mtu: a.MTU,
			master: a.MasterIndex, lower: a.ParentIndex, up: a.RawFlags&unix.IFF_UP != 0,
			card: n.cfg.card(a),
		}
		s.carrier = s.up && a.RawFlags&unix.IFF_LOWER_UP != 0
		if b, ok := l.(*netlink.Bond); ok {
			s.primary = b.Primary
		}
		if _, ok := first[s.index]; !ok {
			first[s.index] = sight{s.mac, time.Now()}
		}
		if s.card {
			s.nic = n.identify(a.Name)
			s.nic.MAC = first[s.index].mac
			s.waited = time.Since(first[s.index].at) >= lenience
			if len(a.PermHWAddr) > 0 {
				s.nic.MAC = a.PermHWAddr.String()
			}
		}
		list = append(list, s)
	}
	return list, nil
}

// identify says where a card is plugged in, and what drives it. What cannot be
// read is not known: virtual hardware has no driver, and a card may go.
func (n *Network) identify(name string) netconf.NIC {
	var nic netconf.NIC
	root := sysfs.Root(filepath.Dir(n.cfg.Sys))
	if path, err := root.DevPath("sys/class/net", name); err == nil {
		nic.Path = root.BusPath(strings.TrimSuffix(path, "/net/"+name))
	}
	if driver, err := os.Readlink(filepath.Join(n.cfg.Sys, "class/net", name, "device/driver")); err == nil {
		nic.Driver = filepath.Base(driver)
	}
	if text, err := os.ReadFile(filepath.Join(n.cfg.Sys, "class/net", name, "dev_port")); err == nil {
		nic.Port, _ = strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	}
	return nic
}

// isCard: the interface is Ethernet on a device, which excludes bridges, bonds,
// tunnels.
func isCard(sys string) func(*netlink.LinkAttrs) bool {
	return func(a *netlink.LinkAttrs) bool {
		_, err := os.Stat(filepath.Join(sys, "class/net", a.Name, "device"))
		return err == nil && a.EncapType == "ether"
	}
}

// An owned address is one of an interface.
type owned struct {
	index int
	addr  netip.Addr
}

// addresses lists those that can be used, by the bits of their network.
func addresses() (map[owned][]int, error) {
	list, err := dump(func() ([]netlink.Addr, error) { return netlink.AddrList(nil, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, err
	}
	have := map[owned][]int{}
	for _, a := range list {
		ip, ok := netip.AddrFromSlice(a.IP)
		if !ok || a.Flags&unix.IFA_F_DADFAILED != 0 {
			continue
		}
		network := a.IPNet
		if a.Peer != nil {
			network = a.Peer
		}
		bits, _ := network.Mask.Size()
		key := owned{a.LinkIndex, ip.Unmap()}
		have[key] = append(have[key], bits)
	}
	return have, nil
}

// linkLocal: the address is good on its link only, or is none.
func linkLocal(cidr string) bool {
	p, err := netip.ParsePrefix(cidr)
	return err != nil || p.Addr().IsLinkLocalUnicast() && p.Addr().Is6() || p.Addr().IsLoopback()
}
