package envscan

import (
	"slices"
	"strings"
	"testing"
)

// Elements of beacons, made by the tables of IEEE 802.11.
const (
	rsnHead  = "\x01\x00" + ccmp + "\x01\x00" + ccmp // version, group cipher, one pairwise cipher
	ccmp     = "\x00\x0f\xac\x04"
	akmPSK   = "\x00\x0f\xac\x02"
	akmSAE   = "\x00\x0f\xac\x08"
	akmEAP   = "\x00\x0f\xac\x01"
	akmOWE   = "\x00\x0f\xac\x12"
	akmOther = "\x00\x11\x22\x09"
	wpaTKIP  = "\x00\x50\xf2\x02"
	wpaPSK   = "\x00\x50\xf2\x02"
)

func element(id byte, body ...string) string {
	b := strings.Join(body, "")
	return string([]byte{id, byte(len(b))}) + b
}

func TestSecurity(t *testing.T) {
	ssid := element(elementSSID, "net")
	wpa := element(elementVendor, wpaElement, "\x01\x00", wpaTKIP, "\x01\x00", wpaTKIP, "\x01\x00", wpaPSK)
	for _, tt := range []struct {
		name, elements string
		privacy        bool
		want           string
	}{
		{"open", ssid, false, "open"},
		{"nothing at all", "", false, "open"},
		{"wep", ssid, true, "wep"},
		{"wpa2", ssid + element(elementRSN, rsnHead, "\x01\x00", akmPSK, "\x00\x00"), true, "wpa2"},
		{"wpa3 in transition", ssid + element(elementRSN, rsnHead, "\x02\x00", akmPSK, akmSAE), true, "wpa2 wpa3"},
		{"wpa3", ssid + element(elementRSN, rsnHead, "\x01\x00", akmSAE, "\xc0\x00"), true, "wpa3"},
		{"wpa and wpa2", wpa + element(elementRSN, rsnHead, "\x01\x00", akmPSK), true, "wpa wpa2"},
		{"wpa alone", ssid + wpa, true, "wpa"},
		{"eap", element(elementRSN, rsnHead, "\x01\x00", akmEAP), true, "eap"},
		{"owe", element(elementRSN, rsnHead, "\x01\x00", akmOWE), true, "owe"},
		{"a suite of somebody's", element(elementRSN, rsnHead, "\x01\x00", akmOther), true, "001122-9"},
		{"RSN with its version alone", element(elementRSN, "\x01\x00"), true, "eap"},
		{"RSN of ciphers alone", element(elementRSN, rsnHead), true, "eap"},
		{"ciphers beyond the end", element(elementRSN, "\x01\x00", ccmp, "\xff\xff", ccmp), true, "eap"},
		{"fewer suites than said", element(elementRSN, rsnHead, "\x09\x00", akmPSK), true, "wpa2"},
		{"another vendor's element", element(elementVendor, "\x00\x50\xf2\x02\x01\x01"), false, "open"},
		{"cut off", ssid + element(elementRSN, rsnHead, "\x01\x00", akmPSK)[:10], true, "wep"},
	} {
		if got := strings.Join(security([]byte(tt.elements), tt.privacy), " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestSSIDText(t *testing.T) {
	for ssid, want := range map[string]string{
		"home":                 "home",
		"Café 2":               "Café 2",
		"\xff\x00a":            `\xff\x00a`,
		`a\b`:                  `a\x5cb`,
		"tab\there":            `tab\x09here`,
		"line\u2028":           `line\xe2\x80\xa8`,
		"":                     "",
		"\x00\x00\x00":         "",
		" spaces ":             " spaces ",
		"\xf0\x9f\x93\xb6 net": "📶 net",
	} {
		if got := ssidText([]byte(ssid)); got != want {
			t.Errorf("%q: %q, want %q", ssid, got, want)
		}
	}
}

func FuzzElements(f *testing.F) {
	f.Add([]byte(element(elementSSID, "net")+element(elementRSN, rsnHead, "\x02\x00", akmPSK, akmSAE)), true)
	f.Add([]byte(element(elementVendor, wpaElement, "\x01\x00", wpaTKIP, "\xff\x00", wpaTKIP)), false)
	f.Add([]byte{elementRSN, 0, elementVendor, 255}, true)
	f.Fuzz(func(t *testing.T, b []byte, privacy bool) {
		ways := security(b, privacy)
		if len(ways) == 0 && len(b) < 2 || !slices.IsSorted(ways) {
			t.Errorf("%q", ways)
		}
		size := 0
		for _, body := range informationElements(b) {
			size += 2 + len(body)
			if text := ssidText(body); strings.ContainsFunc(text, func(r rune) bool { return r == '\uFFFD' || r < ' ' }) && !strings.Contains(string(body), "\uFFFD") {
				t.Errorf("%q", text)
			}
		}
		if size > len(b) {
			t.Errorf("%d bytes of %d", size, len(b))
		}
	})
}
