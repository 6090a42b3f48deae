package envscan

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/sysfs"
)

// fakeRadio answers commands; those that it has no answer to fail.
type fakeRadio struct {
	answers map[uint8][]attributes
	scans   []uint32
	err     error // of a scan
}

func (f *fakeRadio) dump(command uint8, _ ...*nl.RtAttr) ([]attributes, error) {
	if a, ok := f.answers[command]; ok {
		return a, nil
	}
	return nil, unix.EOPNOTSUPP
}

func (f *fakeRadio) scan(_ context.Context, ifindex uint32) error {
	f.scans = append(f.scans, ifindex)
	return f.err
}

func number32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }

// nest are attributes as bytes.
func nest(a attributes) []byte {
	var b []byte
	for kind, v := range a {
		b = binary.NativeEndian.AppendUint16(b, uint16(4+len(v)))
		b = binary.NativeEndian.AppendUint16(b, kind|unix.NLA_F_NESTED)
		b = append(b, v...)
		b = append(b, make([]byte, -len(b)&3)...)
	}
	return b
}

// oneRadio is a card with two bands, told in two messages, and a network.
func oneRadio() *fakeRadio {
	weak := int32(-7150)
	return &fakeRadio{answers: map[uint8][]attributes{
		unix.NL80211_CMD_GET_INTERFACE: {
			{unix.NL80211_ATTR_IFNAME: []byte("wlan0\x00"), unix.NL80211_ATTR_IFINDEX: number32(3), unix.NL80211_ATTR_WIPHY: number32(0), unix.NL80211_ATTR_IFTYPE: number32(unix.NL80211_IFTYPE_STATION)},
			// An access point on the same radio, which is not asked what it hears.
			{unix.NL80211_ATTR_IFNAME: []byte("wlan0_1\x00"), unix.NL80211_ATTR_IFINDEX: number32(4), unix.NL80211_ATTR_WIPHY: number32(0), unix.NL80211_ATTR_IFTYPE: number32(unix.NL80211_IFTYPE_AP)},
			{unix.NL80211_ATTR_WIPHY: number32(0)}, // a P2P device
		},
		unix.NL80211_CMD_GET_WIPHY: {
			{unix.NL80211_ATTR_WIPHY: number32(0), unix.NL80211_ATTR_WIPHY_NAME: []byte("phy0\x00"),
				unix.NL80211_ATTR_SUPPORTED_IFTYPES: nest(attributes{2: nil, 3: nil, 99: nil})},
			{unix.NL80211_ATTR_WIPHY: number32(0), unix.NL80211_ATTR_WIPHY_BANDS: nest(attributes{1: nil})},
			{unix.NL80211_ATTR_WIPHY: number32(0), unix.NL80211_ATTR_WIPHY_BANDS: nest(attributes{0: nil, 1: nil})},
		},
		unix.NL80211_CMD_GET_SCAN: {
			{unix.NL80211_ATTR_BSS: nest(attributes{
				unix.NL80211_BSS_BSSID: {2, 0, 0, 0, 0, 1}, unix.NL80211_BSS_FREQUENCY: number32(2412), unix.NL80211_BSS_CAPABILITY: {0x11, 0},
				unix.NL80211_BSS_SIGNAL_MBM: number32(uint32(weak)), unix.NL80211_BSS_BEACON_IES: []byte(element(elementSSID, "net")),
			})},
			{unix.NL80211_ATTR_BSS: nest(attributes{
				unix.NL80211_BSS_BSSID: {2, 0, 0, 0, 0, 2}, unix.NL80211_BSS_FREQUENCY: number32(5180),
				unix.NL80211_BSS_INFORMATION_ELEMENTS: []byte(element(elementSSID, "") + element(elementMeshID, "mesh")),
			})},
		},
	}}
}

func TestWireless(t *testing.T) {
	s, r, signal := scanner{}, oneRadio(), int64(-71)
	wiphys, stations := s.ask80211(t.Context(), r)
	phy0 := &Wiphy{Name: "phy0", Modes: []string{"99", "ap", "managed"}, Bands: []string{"2.4GHz", "5GHz"}}
	if diff := cmp.Diff(map[string]*Wiphy{"wlan0": phy0, "wlan0_1": phy0}, wiphys); diff != "" {
		t.Error(diff)
	}
	want := []Station{
		{NIC: "wlan0", SSID: "mesh", BSSID: "02:00:00:00:00:02", Frequency: 5180, Security: []string{"open"}},
		{NIC: "wlan0", SSID: "net", BSSID: "02:00:00:00:00:01", Frequency: 2412, Signal: &signal, Security: []string{"wep"}},
	}
	if diff := cmp.Diff(want, stations); diff != "" {
		t.Error(diff)
	}
	if len(s.gaps) != 0 || len(r.scans) != 0 {
		t.Errorf("gaps %+v, scans %v", s.gaps, r.scans)
	}
}

// TestWirelessWake: only who may wake disks makes a card listen, and what fails
// then leaves what was heard before.
func TestWirelessWake(t *testing.T) {
	r := oneRadio()
	r.err = unix.ENETDOWN
	s := scanner{wake: true, privileged: true}
	if _, stations := s.ask80211(t.Context(), r); len(stations) != 2 || len(r.scans) != 1 || r.scans[0] != 3 {
		t.Errorf("%v, scans %v", stations, r.scans)
	}
	if want := []Gap{{Fact: "state.wireless", Path: "wlan0", Why: "network is down"}}; cmp.Diff(want, s.gaps) != "" {
		t.Error(cmp.Diff(want, s.gaps))
	}
	s = scanner{wake: true}
	r.scans = nil
	if s.ask80211(t.Context(), r); len(r.scans) != 0 {
		t.Error("a scan without privilege")
	}
}

func TestWirelessUnknown(t *testing.T) {
	radioTree := tree{"sys/class/ieee80211/phy0/index": "0\n", "sys/class/net/wlan0/phy80211/index": "0\n", "sys/class/net/eth0/address": ""}
	root := sysfs.Root(radioTree.write(t))
	want := func(why string) []Gap {
		return []Gap{{Fact: "state.wireless", Path: "netlink", Why: why}, {Fact: "hw.nic[name=wlan0].wiphy", Path: "netlink", Why: why}}
	}
	s := scanner{root: root}
	s.wireless(t.Context())
	if diff := cmp.Diff(want(errNotLive.Error()), s.gaps); diff != "" {
		t.Errorf("captured tree: %s", diff)
	}
	s = scanner{root: root}
	s.ask80211(t.Context(), &fakeRadio{})
	if diff := cmp.Diff(want("operation not supported"), s.gaps); diff != "" {
		t.Errorf("no answer: %s", diff)
	}
	s = scanner{root: sysfs.Root(t.TempDir())}
	if _, stations := s.wireless(t.Context()); stations == nil || len(s.gaps) != 0 {
		t.Errorf("no radio: %v %+v", stations, s.gaps)
	}
}

func TestScanEnded(t *testing.T) {
	event := func(command byte, ifindex uint32) []byte {
		body := append([]byte{command, 1, 0, 0}, nest(attributes{unix.NL80211_ATTR_IFINDEX: number32(ifindex)})...)
		b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
		return append(append(b, make([]byte, unix.SizeofNlMsghdr-4)...), body...)
	}
	other := event(unix.NL80211_CMD_NEW_SCAN_RESULTS, 4)
	if done, err := scanEnded(append(other, event(unix.NL80211_CMD_TRIGGER_SCAN, 3)...), 3); done || err != nil {
		t.Error(done, err)
	}
	if done, err := scanEnded(append(other, event(unix.NL80211_CMD_NEW_SCAN_RESULTS, 3)...), 3); !done || err != nil {
		t.Error(done, err)
	}
	if done, err := scanEnded(event(unix.NL80211_CMD_SCAN_ABORTED, 3), 3); !done || err == nil {
		t.Error(done, err)
	}
	if _, err := scanEnded([]byte(string(number32(9999))+"0123456789abcdef"), 3); !errors.Is(err, errShort) {
		t.Error(err)
	}
}
