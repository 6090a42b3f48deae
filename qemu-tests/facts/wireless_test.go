package facts

import (
	"encoding/json"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// networks are access points on two of the kernel's simulated radios.
const networks = `interface=wlan0
driver=nl80211
hw_mode=g
channel=1
ssid=alpha
wpa=2
wpa_key_mgmt=WPA-PSK
rsn_pairwise=CCMP
wpa_passphrase=canary-password
bss=wlan0_1
bssid=02:00:00:00:00:01
ssid2=436166c3a9
bss=wlan0_2
bssid=02:00:00:00:00:02
ssid2=P"old\x07and\\new"
wpa=3
wpa_key_mgmt=WPA-PSK
wpa_pairwise=TKIP
rsn_pairwise=CCMP
wpa_passphrase=canary-password
bss=wlan0_3
bssid=02:00:00:00:00:03
ssid=office
wpa=2
wpa_key_mgmt=WPA-EAP
rsn_pairwise=CCMP
ieee8021x=1
own_ip_addr=127.0.0.1
auth_server_addr=127.0.0.1
auth_server_shared_secret=canary-password
`

const transition = `interface=wlan1
driver=nl80211
hw_mode=g
channel=6
ssid=newer
ignore_broadcast_ssid=0
wpa=2
wpa_key_mgmt=WPA-PSK SAE
rsn_pairwise=CCMP
ieee80211w=1
wpa_passphrase=canary-password
bss=wlan1_1
bssid=02:00:00:00:01:01
ssid=nobody-sees-this
ignore_broadcast_ssid=2
wpa=2
wpa_key_mgmt=SAE
ieee80211w=2
rsn_pairwise=CCMP
wpa_passphrase=canary-password
`

const wirelessScript = `
exec 2>&1
ip link set lo up
hostapd -B -f /tmp/hostapd.log /etc/networks /etc/transition || cat /tmp/hostapd.log
echo "@ down"
vic-env get state.wireless
ip link set wlan2 up
echo "@ silent"
vic-env get state.wireless
echo "@ listened"
vic-env get --wake --timeout 60s state.wireless
echo "@ iw"
iw dev wlan2 scan dump
echo "@ nobody"
setpriv --reuid 65534 --clear-groups vic-env get state.wireless
echo "@ radios"
vic-env get hw.nic
echo "@ phy"
iw phy
echo "@ end"
`

// TestWirelessFacts has radios of mac80211_hwsim, hostapd's networks, and iw for
// a judge.
func TestWirelessFacts(t *testing.T) {
	lab.Need(t)
	out := machineScript{
		modules: []string{"mac80211_hwsim radios=3", "ccm", "cmac", "gcm", "aes_generic", "ctr"},
		tools:   []string{"ip", "iw", "hostapd", "setpriv", "cat"},
		files:   map[string]string{"etc/networks": networks, "etc/transition": transition},
		script:  wirelessScript,
		config:  vm.Config{MemoryMiB: 512},
	}.run(t)
	if _, ok := out["end"]; !ok {
		t.Fatalf("the script did not end: %v", out)
	}
	for _, when := range []string{"down", "silent"} {
		if got := strings.TrimSpace(out[when]); got != "[]" {
			t.Errorf("%s: %s", when, got)
		}
	}
	var heard, others []envscan.Station
	var nics []envscan.NIC
	for part, v := range map[string]any{"listened": &heard, "nobody": &others, "radios": &nics} {
		if err := json.Unmarshal([]byte(out[part]), v); err != nil {
			t.Fatalf("%s: %v in %s", part, err, out[part])
		}
	}
	checkStations(t, heard, out["iw"])
	if len(others) != len(heard) {
		t.Errorf("without privilege: %s", out["nobody"])
	}
	checkRadios(t, nics, out["phy"])
}

// checkStations compares what was heard with what hostapd was told, and with iw.
func checkStations(t *testing.T, got []envscan.Station, iw string) {
	t.Helper()
	security := map[string][]string{
		"alpha": {"wpa2"}, "Café": {"open"}, `old\x07and\x5cnew`: {"wpa", "wpa2"}, "office": {"eap"}, "newer": {"wpa2", "wpa3"}, "": {"wpa3"},
	}
	judged := iwStations(iw)
	if len(got) != len(security) || len(judged) != len(security) {
		t.Errorf("%d networks, iw has %d, hostapd %d: %+v\n%s", len(got), len(judged), len(security), got, iw)
	}
	for _, s := range got {
		if s.NIC != "wlan2" || cmp.Diff(security[s.SSID], s.Security) != "" {
			t.Errorf("%q: %+v, want %v", s.SSID, s, security[s.SSID])
		}
		other, ok := judged[s.BSSID]
		if !ok || s.Signal == nil || other.frequency != s.Frequency || math.Abs(other.signal-float64(*s.Signal)) > 1 {
			t.Errorf("%+v, iw has %+v", s, other)
		}
	}
	if !slices.IsSortedFunc(got, func(a, b envscan.Station) int { return strings.Compare(a.SSID, b.SSID) }) {
		t.Errorf("not sorted: %+v", got)
	}
}

type iwStation struct {
	frequency int64
	signal    float64
}

var (
	iwBSS       = regexp.MustCompile(`(?m)^BSS ([0-9a-f:]{17})`)
	iwFrequency = regexp.MustCompile(`(?m)^\tfreq: (\d+)`)
	iwSignal    = regexp.MustCompile(`(?m)^\tsignal: (-?[\d.]+) dBm`)
)

// iwStations are those that iw dev wlan2 scan dump lists.
func iwStations(text string) map[string]iwStation {
	found := map[string]iwStation{}
	starts := iwBSS.FindAllStringSubmatchIndex(text, -1)
	for i, at := range starts {
		end := len(text)
		if i+1 < len(starts) {
			end = starts[i+1][0]
		}
		part := text[at[0]:end]
		var s iwStation
		if m := iwFrequency.FindStringSubmatch(part); m != nil {
			s.frequency, _ = strconv.ParseInt(m[1], 10, 64)
		}
		if m := iwSignal.FindStringSubmatch(part); m != nil {
			s.signal, _ = strconv.ParseFloat(m[1], 64)
		}
		found[text[at[2]:at[3]]] = s
	}
	return found
}

// checkRadios compares the radios with iw phy.
func checkRadios(t *testing.T, nics []envscan.NIC, phy string) {
	t.Helper()
	radios := map[string]bool{}
	for _, n := range nics {
		if n.Wiphy == nil || !n.Wireless {
			t.Errorf("%s has no radio: %+v", n.Name, n)
			continue
		}
		radios[n.Wiphy.Name] = true
		// A simulated radio has all bands, and iw numbers them.
		for band, number := range map[string]string{"2.4GHz": "Band 1:", "5GHz": "Band 2:", "6GHz": "Band 4:"} {
			if slices.Contains(n.Wiphy.Bands, band) != strings.Contains(phy, number) {
				t.Errorf("%s: %v, iw says %s: %v", n.Name, n.Wiphy.Bands, number, strings.Contains(phy, number))
			}
		}
		for mode, name := range map[string]string{"ap": " * AP\n", "managed": " * managed\n", "ibss": " * IBSS\n", "mesh": " * mesh point\n", "p2p-device": " * P2P-device\n"} {
			if slices.Contains(n.Wiphy.Modes, mode) != strings.Contains(phy, name) {
				t.Errorf("%s: %v, iw says %s: %v", n.Name, n.Wiphy.Modes, mode, strings.Contains(phy, name))
			}
		}
	}
	if len(radios) != 3 {
		t.Errorf("%d radios: %+v", len(radios), nics)
	}
}

// TestNetworkFacts runs the comparison with iproute2 that envscan's own tests
// have, under a kernel that has every kind of link.
func TestNetworkFacts(t *testing.T) {
	lab.Need(t)
	test := filepath.Join(t.TempDir(), "envscan.test")
	buildGo(t, test, "test", "-c", "github.com/victorinix/vic/envscan")
	out := machineScript{
		modules: []string{"veth", "bridge", "8021q", "bonding max_bonds=0", "macvlan", "dummy numdummies=0", "wireguard", "vxlan", "vrf", "team", "sit", "tun"},
		tools:   []string{"ip"},
		static:  map[string]string{"usr/bin/envscan.test": test},
		files:   map[string]string{"etc/protocols": "tcp\t6\tTCP\n"},
		script:  "export VIC_TEST_NETWORK=all\nenvscan.test -test.run '^TestNetwork$' -test.v 2>&1\necho '@ end'\n",
		config:  vm.Config{MemoryMiB: 512},
	}.run(t)
	if !strings.Contains(out[""], "--- PASS: TestNetwork") {
		t.Error(out[""])
	}
}
