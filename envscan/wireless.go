package envscan

import (
	"cmp"
	"context"
	"net"
	"slices"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// wireless is what the radio of each interface can, and the networks that the
// cards have heard of lately. A card is only made to listen when disks may be
// woken too: that takes seconds, in which it is away from its network.
func (s *scanner) wireless(ctx context.Context) (map[string]*Wiphy, []Station) {
	names, err := s.root.Names("sys/class/ieee80211")
	s.gap("state.wireless", "/sys/class/ieee80211", err)
	if len(names) == 0 {
		return nil, []Station{}
	}
	var r radio
	err = errNotLive
	if s.live {
		r, err = openRadio()
	}
	if err != nil {
		s.noRadio(err)
		return nil, []Station{}
	}
	return s.ask80211(ctx, r)
}

// noRadio notes that nothing is known of the wireless cards.
func (s *scanner) noRadio(err error) {
	s.gap("state.wireless", "netlink", err)
	names, listErr := s.root.Names("sys/class/net")
	s.gap("hw.nic", "/sys/class/net", listErr)
	for _, name := range names {
		if s.exists("/sys/class/net/" + name + "/phy80211") {
			s.gap("hw.nic[name="+name+"].wiphy", "netlink", err)
		}
	}
}

func (s *scanner) ask80211(ctx context.Context, r radio) (map[string]*Wiphy, []Station) {
	wiphys, stations := map[string]*Wiphy{}, []Station{}
	interfaces, err := r.dump(unix.NL80211_CMD_GET_INTERFACE)
	if err != nil {
		s.noRadio(err)
		return wiphys, stations
	}
	radios, err := wiphyList(r)
	for _, i := range interfaces {
		name := i.text(unix.NL80211_ATTR_IFNAME)
		if name == "" { // a P2P device, which is no network interface
			continue
		}
		s.gap("hw.nic[name="+name+"].wiphy", "netlink", err)
		wiphys[name] = radios[i.number(unix.NL80211_ATTR_WIPHY)]
		if !listens(i) {
			continue
		}
		heard, err := s.heard(ctx, r, name, uint32(i.number(unix.NL80211_ATTR_IFINDEX)))
		s.gap("state.wireless", name, err)
		stations = append(stations, heard...)
	}
	slices.SortFunc(stations, func(a, b Station) int {
		return cmp.Or(cmp.Compare(a.SSID, b.SSID), cmp.Compare(a.BSSID, b.BSSID), cmp.Compare(a.NIC, b.NIC))
	})
	return wiphys, stations
}

// listens tells whether an interface looks for networks to join. Others share a
// radio with it, or serve a network that a scan would take off its channel.
func listens(i attributes) bool {
	kind := i.number(unix.NL80211_ATTR_IFTYPE)
	return kind == unix.NL80211_IFTYPE_STATION || kind == unix.NL80211_IFTYPE_P2P_CLIENT
}

// wiphyList are the radios by their number. The kernel tells of each in several
// messages when asked to, and otherwise leaves out what does not fit in one.
func wiphyList(r radio) (map[int64]*Wiphy, error) {
	msgs, err := r.dump(unix.NL80211_CMD_GET_WIPHY, nl.NewRtAttr(unix.NL80211_ATTR_SPLIT_WIPHY_DUMP, nil))
	if err != nil {
		return nil, err
	}
	all := map[int64]*Wiphy{}
	for _, m := range msgs {
		id := m.number(unix.NL80211_ATTR_WIPHY)
		if all[id] == nil {
			all[id] = &Wiphy{Modes: []string{}, Bands: []string{}}
		}
		w := all[id]
		w.Name = cmp.Or(m.text(unix.NL80211_ATTR_WIPHY_NAME), w.Name)
		modes, err := m.nested(unix.NL80211_ATTR_SUPPORTED_IFTYPES)
		if err != nil {
			return nil, err
		}
		bands, err := m.nested(unix.NL80211_ATTR_WIPHY_BANDS)
		if err != nil {
			return nil, err
		}
		w.Modes = merge(w.Modes, modes, wiphyModes)
		w.Bands = merge(w.Bands, bands, wiphyBands)
	}
	return all, nil
}

// merge adds the names of the attributes' types to a sorted list.
func merge(list []string, a attributes, names map[int64]string) []string {
	for kind := range a {
		list = append(list, named(names, int64(kind)))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// heard are the networks in the cache of an interface, which the kernel empties
// of what it has not heard for 30 s.
func (s *scanner) heard(ctx context.Context, r radio, name string, ifindex uint32) ([]Station, error) {
	if s.wake && s.privileged {
		s.gap("state.wireless", name, r.scan(ctx, ifindex)) // what is known without it is worth telling
	}
	msgs, err := r.dump(unix.NL80211_CMD_GET_SCAN, ifindexAttr(ifindex))
	if err != nil {
		return nil, err
	}
	var list []Station
	for _, m := range msgs {
		bss, err := m.nested(unix.NL80211_ATTR_BSS)
		if err != nil {
			return nil, err
		}
		list = append(list, stationOf(name, bss))
	}
	return list, nil
}

// privacyBit of a beacon's capabilities: something is encrypted (IEEE 802.11-2020
// 9.4.1.4).
const privacyBit = 1 << 4

func stationOf(nic string, bss attributes) Station {
	elements := bss[unix.NL80211_BSS_INFORMATION_ELEMENTS] // of a probe response, if there was one
	if elements == nil {
		elements = bss[unix.NL80211_BSS_BEACON_IES]
	}
	st := Station{
		NIC: nic, BSSID: net.HardwareAddr(bss[unix.NL80211_BSS_BSSID]).String(), Frequency: bss.number(unix.NL80211_BSS_FREQUENCY),
		Security: security(elements, bss.number(unix.NL80211_BSS_CAPABILITY)&privacyBit != 0),
	}
	for id, body := range informationElements(elements) {
		if id == elementSSID || id == elementMeshID && st.SSID == "" {
			st.SSID = ssidText(body)
		}
	}
	if bss.has(unix.NL80211_BSS_SIGNAL_MBM) {
		dBm := int64(int32(bss.number(unix.NL80211_BSS_SIGNAL_MBM))) / 100
		st.Signal = &dBm
	}
	return st
}

// wiphyModes are values of enum nl80211_iftype.
var wiphyModes = numbered("unspecified", "ibss", "managed", "ap", "ap-vlan", "wds", "monitor", "mesh", "p2p-client", "p2p-go", "p2p-device", "ocb", "nan")

// wiphyBands are values of enum nl80211_band.
var wiphyBands = numbered("2.4GHz", "5GHz", "60GHz", "6GHz", "S1G", "light")

func numbered(names ...string) map[int64]string {
	m := map[int64]string{}
	for i, n := range names {
		m[int64(i)] = n
	}
	return m
}
