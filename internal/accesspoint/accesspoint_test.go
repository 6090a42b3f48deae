package accesspoint

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func options(change func(*Options)) Options {
	o := Options{Version: Version, Hostname: "attic", Country: "DE", Security: Auto, Subnet: netip.MustParsePrefix("192.168.77.0/24"),
		SSHKeys: []string{}, Portal: true, Wifi: []string{}, Ethernet: []string{}, NTP: []string{"ntp.example.org"}}
	if change != nil {
		change(&o)
	}
	return o
}

func TestOptions(t *testing.T) {
	b, err := options(nil).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(strings.NewReader(string(b))); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Options){
		`hostname "A b"`:               func(o *Options) { o.Hostname = "A b" },
		`country "de"`:                 func(o *Options) { o.Country = "de" },
		`did you mean "wpa2"?`:         func(o *Options) { o.Security = "wpa22" },
		"it is one of auto, wpa2":      func(o *Options) { o.Security = "none at all" },
		"a user is for security":       func(o *Options) { o.User = "anna" },
		"needed there":                 func(o *Options) { o.Security = Enterprise },
		"subnet 192.168.77.1/24":       func(o *Options) { o.Subnet = netip.MustParsePrefix("192.168.77.1/24") },
		"subnet fd00::/64":             func(o *Options) { o.Subnet = netip.MustParsePrefix("fd00::/64") },
		"subnet 10.0.0.0/8":            func(o *Options) { o.Subnet = netip.MustParsePrefix("10.0.0.0/8") },
		`network card "eth0"`:          func(o *Options) { o.Ethernet = []string{"eth0"} },
		`time server "a b" is neither`: func(o *Options) { o.NTP = []string{"a b"} },
	} {
		if _, err := options(change).Encode(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := Decode(strings.NewReader(`{"version": 1, "hostnam": ""}`)); err == nil || !strings.Contains(err.Error(), "hostnam") {
		t.Errorf("got %v", err)
	}
}

func TestSecrets(t *testing.T) {
	key := strings.Repeat("0f", 32)
	for name, tt := range map[string]struct {
		secrets  Secrets
		security string
		want     string // "" is right
	}{
		"password":        {Secrets{SSID: "net", PSK: "password"}, Auto, ""},
		"key":             {Secrets{SSID: "net", PSK: key}, WPA2, ""},
		"no name":         {Secrets{PSK: "password"}, Auto, "1 to 32 bytes, not 0"},
		"long name":       {Secrets{SSID: strings.Repeat("x", 33), PSK: "password"}, Auto, "not 33"},
		"no password":     {Secrets{SSID: "net"}, WPA2, "secret wifi-psk: security wpa2 needs it"},
		"short":           {Secrets{SSID: "net", PSK: "hunter2"}, Auto, "8 to 63 characters, this has 7"},
		"short for WPA3":  {Secrets{SSID: "net", PSK: "hunter2"}, WPA3, ""},
		"key for WPA3":    {Secrets{SSID: "net", PSK: key}, WPA3, "not the key"},
		"umlaut":          {Secrets{SSID: "net", PSK: "passwörter"}, WPA2, "printable ASCII"},
		"newline":         {Secrets{SSID: "net", PSK: "pass\nword\""}, Auto, "printable ASCII"},
		"open":            {Secrets{SSID: "net"}, Open, ""},
		"open with":       {Secrets{SSID: "net", PSK: "hunter2222"}, Open, "has no password"},
		"enterprise":      {Secrets{SSID: "net", Password: "x"}, Enterprise, ""},
		"enterprise none": {Secrets{SSID: "net"}, Enterprise, "secret wifi-password"},
	} {
		err := tt.secrets.Validate(tt.security)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
		if err != nil && tt.secrets.PSK != "" && strings.Contains(err.Error(), tt.secrets.PSK) {
			t.Errorf("%s: the error tells the password", name)
		}
	}
}

// TestSupplicant: each configuration is one that wpa_supplicant takes: it gets as
// far as to a card that is not there.
func TestSupplicant(t *testing.T) {
	tooltest.Need(t, "wpa_supplicant")
	quotes := `it's "quoted" \x`
	for name, tt := range map[string]struct {
		change  func(*Options)
		secrets Secrets
		want    []string
	}{
		"auto":       {nil, Secrets{SSID: "my-wifi", PSK: quotes}, []string{"ssid=6d792d77696669", "key_mgmt=SAE WPA-PSK WPA-PSK-SHA256", `psk="` + quotes + `"`, "country=DE"}},
		"key":        {nil, Secrets{SSID: "x", PSK: strings.Repeat("AB", 32)}, []string{"key_mgmt=WPA-PSK WPA-PSK-SHA256", "psk=" + strings.Repeat("ab", 32)}},
		"wpa2":       {func(o *Options) { o.Security, o.Country = WPA2, "00" }, Secrets{SSID: "x\n}", PSK: "password"}, []string{"ssid=780a7d"}},
		"wpa3":       {func(o *Options) { o.Security = WPA3 }, Secrets{SSID: "x", PSK: "p"}, []string{"key_mgmt=SAE", "ieee80211w=2", "sae_password=70"}},
		"open":       {func(o *Options) { o.Security = Open }, Secrets{SSID: "x"}, []string{"key_mgmt=NONE"}},
		"enterprise": {func(o *Options) { o.Security, o.User = Enterprise, "anna" }, Secrets{SSID: "x", Password: "ä\"", CA: "pem"}, []string{"identity=616e6e61", "password=c3a422", "ca_cert="}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			text, err := Supplicant(options(tt.change), tt.secrets, SupplicantFiles{Control: dir, CA: dir + "/ca.pem"})
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %s in\n%s", want, text)
				}
			}
			conf := filepath.Join(dir, "conf")
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := tool.Exec{}.Run(t.Context(), tool.Cmd{Name: "wpa_supplicant", Args: []string{"-D", "wired", "-i", "gone0", "-c", conf}})
			said := string(out.Stdout) + string(out.Stderr)
			if err == nil || strings.Contains(said, "Failed to read or parse") || strings.Contains(said, "Line ") {
				t.Errorf("%v\n%s", err, said)
			}
			if strings.Contains(said, "password") && strings.Contains(said, tt.secrets.PSK) && tt.secrets.PSK != "p" && tt.secrets.PSK != "" {
				t.Error("wpa_supplicant tells the password")
			}
		})
	}
	if _, err := Supplicant(options(nil), Secrets{}, SupplicantFiles{}); err == nil {
		t.Error("wrote a configuration without a network")
	}
}

func TestRadio(t *testing.T) {
	const (
		connected = "<3>CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:01:00 completed [id=0 id_str=]"
		lost      = "<3>CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=3"
		notFound  = "<3>CTRL-EVENT-NETWORK-NOT-FOUND "
		wrong     = `<3>CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid="a b" auth_failures=1 duration=10 reason=WRONG_KEY`
		again     = `<3>CTRL-EVENT-SSID-REENABLED id=0 ssid="a b"`
		handshake = "<3>CTRL-EVENT-DISCONNECTED bssid=02:00:00:00:01:00 reason=15"
		trying    = "<3>Trying to associate with 02:00:00:00:01:00 (SSID='a b' freq=2412 MHz)"
	)
	for name, tt := range map[string]struct {
		events     []string
		state, why string
	}{
		"new":                          {nil, Searching, "looking for the network"},
		"joined":                       {[]string{trying, connected}, Connected, ""},
		"joining":                      {[]string{trying}, Joining, "joining the network"},
		"no such network":              {[]string{notFound}, NotFound, "no access point in reach has this name"},
		"wrong key":                    {[]string{trying, handshake, wrong}, WrongKey, "the password is wrong"},
		"still wrong while barred":     {[]string{trying, handshake, wrong, notFound}, WrongKey, "the password is wrong"},
		"still wrong when tried again": {[]string{trying, wrong, again, trying, handshake}, WrongKey, "the password is wrong"},
		"gone after a wrong key":       {[]string{trying, wrong, again, notFound}, NotFound, "no access point in reach has this name"},
		"right after all":              {[]string{trying, wrong, again, trying, connected}, Connected, ""},
		"lost":                         {[]string{connected, lost}, Lost, "the connection was lost (reason 3)"},
		"gone":                         {[]string{connected, lost, notFound}, NotFound, "the network is gone"},
		"and back":                     {[]string{connected, lost, notFound, trying, connected}, Connected, ""},
		"WPA3 wrong key":               {[]string{trying, "<3>CTRL-EVENT-AUTH-REJECT 02:00:00:00:01:00 auth_type=3 auth_transaction=2 status_code=1"}, WrongKey, "the password is wrong"},
		"refused":                      {[]string{trying, "<3>CTRL-EVENT-ASSOC-REJECT bssid=02:00:00:00:01:00 status_code=17"}, Refused, "the access point refuses this device (status 17)"},
		"wrong user":                   {[]string{trying, "<3>CTRL-EVENT-EAP-FAILURE EAP authentication failed", handshake}, WrongKey, "the network does not accept this user and password"},
		"other words":                  {[]string{"", "<", "<3>", "CTRL-EVENT-SCAN-RESULTS "}, Searching, "looking for the network"},
	} {
		r := NewRadio()
		for _, e := range tt.events {
			r = r.Event(e)
		}
		if r.State != tt.state || r.Why != tt.why {
			t.Errorf("%s: got %s (%s), want %s (%s)", name, r.State, r.Why, tt.state, tt.why)
		}
		if (r.BSSID == "02:00:00:00:01:00") != (r.State == Connected) {
			t.Errorf("%s: access point %q", name, r.BSSID)
		}
	}
}

func FuzzRadio(f *testing.F) {
	f.Add("<3>CTRL-EVENT-SSID-TEMP-DISABLED id=0 reason=WRONG_KEY\n<3>CTRL-EVENT-CONNECTED - Connection to 02:00:00:00:01:00")
	f.Fuzz(func(t *testing.T, text string) {
		r := NewRadio()
		for line := range strings.Lines(text) {
			if r = r.Event(line); r.State == "" {
				t.Fatal("no state")
			}
		}
	})
}

func TestChoose(t *testing.T) {
	builtin := Card{Name: "wlan0", Wireless: true, Managed: true, Path: "platform-fe300000.mmcnr", Driver: "brcmfmac", Bands: []string{"2.4GHz", "5GHz"}}
	stick := Card{Name: "wlan1", Wireless: true, Managed: true, Path: "platform-fd500000.pcie-usb-0:1.1:1.0", Driver: "ath9k_htc", Bands: []string{"2.4GHz"}}
	monitor := Card{Name: "wlan2", Wireless: true, Path: "usb", Driver: "x"}
	eth := Card{Name: "eth0", MAC: "02:00:00:00:00:01", Path: "platform-fd580000.ethernet", Driver: "bcmgenet"}
	usb := Card{Name: "eth1", MAC: "02:00:00:00:00:02", Path: "usb", Driver: "ax88179_178a"}
	for name, tt := range map[string]struct {
		cards          []Card
		wifi, ethernet []string
		want           string
		fails          error
	}{
		"one of each":        {[]Card{eth, builtin}, nil, nil, "wlan0 <- eth0", nil},
		"the stick is meant": {[]Card{builtin, stick, eth}, nil, nil, "wlan1 <- eth0", nil},
		"several cables":     {[]Card{usb, builtin, eth}, nil, nil, "wlan0 <- eth0 eth1", nil},
		"asked for":          {[]Card{builtin, stick, eth, usb}, []string{"driver:brcmfmac"}, []string{"mac:02:00:00:00:00:02"}, "wlan0 <- eth1", nil},
		"by path":            {[]Card{builtin, eth}, []string{"path:platform-fe300000.mmcnr"}, nil, "wlan0 <- eth0", nil},
		"cannot join":        {[]Card{monitor, eth}, nil, nil, " <- eth0", ErrNoWifi},
		"no cable":           {[]Card{builtin}, nil, nil, "wlan0 <- ", ErrNoEthernet},
		"not asked for":      {[]Card{builtin, eth}, []string{"driver:mt76x2u"}, nil, " <- eth0", ErrNoWifi},
	} {
		c, err := Choose(tt.cards, tt.wifi, tt.ethernet)
		if got := c.Wifi + " <- " + strings.Join(c.Ethernet, " "); got != tt.want || !errors.Is(err, tt.fails) {
			t.Errorf("%s: got %s %v, want %s", name, got, err, tt.want)
		}
	}
}

func TestChooseSubnet(t *testing.T) {
	wish := netip.MustParsePrefix("192.168.77.0/24")
	for name, tt := range map[string]struct{ upstream, want string }{
		"free":             {"192.168.178.0/24", "192.168.77.0/24"},
		"the same":         {"192.168.77.0/24", "192.168.78.0/24"},
		"a part":           {"192.168.77.128/25", "192.168.78.0/24"},
		"all of a range":   {"192.168.0.0/16", "10.77.77.0/24"},
		"both":             {"192.168.0.0/16 10.0.0.0/8", "172.29.77.0/24"},
		"everything":       {"0.0.0.0/0", "192.168.77.0/24"},
		"the router alone": {"192.168.77.1/32", "192.168.78.0/24"},
		"IPv6":             {"fd00::/8", "192.168.77.0/24"},
	} {
		var upstream []netip.Prefix
		for f := range strings.FieldsSeq(tt.upstream) {
			upstream = append(upstream, netip.MustParsePrefix(f))
		}
		if got := ChooseSubnet(wish, upstream); got.String() != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

func TestPool(t *testing.T) {
	for subnet, want := range map[string]string{
		"192.168.77.0/24": "192.168.77.10 192.168.77.254",
		"10.0.0.0/28":     "10.0.0.4 10.0.0.14",
		"10.0.0.0/16":     "10.0.0.10 10.0.3.254",
	} {
		p := netip.MustParsePrefix(subnet)
		first, last := pool(p)
		if got := first.String() + " " + last.String(); got != want || !p.Contains(first) || !p.Contains(last) || !first.Less(last) {
			t.Errorf("%s: got %s, want %s", subnet, got, want)
		}
		if g := Gateway(p); !g.Addr().Less(first) {
			t.Errorf("%s: the gateway %s is in the pool", subnet, g)
		}
	}
	a, b := ULA("02:00:00:00:00:01"), ULA("02:00:00:00:00:02")
	if a == b || a.Bits() != 64 || a != ULA("02:00:00:00:00:01") || !netip.MustParsePrefix("fd00::/8").Contains(a.Addr()) {
		t.Error(a, b)
	}
}

// TestRules: nft takes the rules, twice, and they say what they should.
func TestRules(t *testing.T) {
	tooltest.Need(t, "nft", "unshare")
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/rules", []byte(Rules()), 0o644); err != nil {
		t.Fatal(err)
	}
	script := "nft -f " + dir + "/rules && nft -f " + dir + "/rules && nft -j list ruleset"
	out, err := tool.Exec{}.Run(t.Context(), tool.Cmd{Name: "unshare", Args: []string{"-n", "sh", "-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(out.Stdout), `"hook": "input"`); n != 1 {
		t.Errorf("%d chains of input after loading twice", n)
	}
	if n := strings.Count(string(out.Stdout), `"policy": "drop"`); n != 2 {
		t.Errorf("%d chains drop", n)
	}
}

func TestDnsmasq(t *testing.T) {
	tooltest.Need(t, "dnsmasq")
	s := Serving{Hostname: "attic", Subnet: netip.MustParsePrefix("192.168.77.0/24"), ULA: ULA("x"), ResolvConf: "/run/x", LeaseFile: "/run/y"}
	for _, upstream := range []bool{true, false} {
		s.Upstream6 = upstream
		text := Dnsmasq(s)
		if want := map[bool]string{true: "ra-param=lan,60,180\n", false: "ra-param=lan,60,0\n"}[upstream]; !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
		path := t.TempDir() + "/conf"
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := (tool.Exec{}).Run(context.Background(), tool.Cmd{Name: "dnsmasq", Args: []string{"--test", "--conf-file=" + path}}); err != nil {
			t.Error(err)
		}
	}
}

func TestLeases(t *testing.T) {
	got := Leases("1795339200 02:00:00:00:00:09 192.168.77.10 laptop 01:02\n1795339200 02:00:00:00:00:0a 192.168.77.11 * *\nduid 00:01\n1 2 fd00::1 x y\nbad\n")
	want := []Lease{{"laptop", "02:00:00:00:00:09", netip.MustParseAddr("192.168.77.10")}, {"", "02:00:00:00:00:0a", netip.MustParseAddr("192.168.77.11")}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func FuzzLeases(f *testing.F) {
	f.Add("1795339200 02:00:00:00:00:09 192.168.77.10 laptop 01:02\n")
	f.Fuzz(func(t *testing.T, text string) { Leases(text) })
}
