package accesspoint

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// SupplicantFiles are where wpa_supplicant finds things.
type SupplicantFiles struct {
	Control string // folder of the control socket
	CA      string // the file of Secrets.CA
}

// Supplicant is the configuration of wpa_supplicant (wpa_supplicant.conf(5)). It
// holds the password: the file is for its owner alone.
func Supplicant(o Options, s Secrets, files SupplicantFiles) (string, error) {
	if err := s.Validate(o.Security); err != nil {
		return "", err
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("ctrl_interface=%s", files.Control)
	line("update_config=0")
	line("ap_scan=1")
	if o.Country != "00" {
		line("country=%s", o.Country)
	}
	if o.Security == Auto || o.Security == WPA3 {
		line("sae_pwe=2") // both ways to derive: old access points know one
	}
	line("network={")
	line("\tssid=%s", hexText(s.SSID))
	line("\tscan_ssid=1") // hidden ones, too
	line("\tdisabled=1")  // until somebody says where to look first
	for _, l := range credentials(o, s, files) {
		line("\t%s", l)
	}
	line("}")
	return b.String(), nil
}

// credentials are the lines of the network that say how to get in. Management
// frames are protected (ieee80211w) where the access point can, and must be in
// WPA3.
func credentials(o Options, s Secrets, files SupplicantFiles) []string {
	switch o.Security {
	case WPA2:
		return []string{"key_mgmt=WPA-PSK WPA-PSK-SHA256", "ieee80211w=1", "psk=" + psk(s.PSK)}
	case WPA3:
		return []string{"key_mgmt=SAE", "ieee80211w=2", "sae_password=" + hexText(s.PSK)}
	case Auto:
		if rawPSK.MatchString(s.PSK) {
			return []string{"key_mgmt=WPA-PSK WPA-PSK-SHA256", "ieee80211w=1", "psk=" + psk(s.PSK)}
		}
		return []string{"key_mgmt=SAE WPA-PSK WPA-PSK-SHA256", "ieee80211w=1", "psk=" + psk(s.PSK), "sae_password=" + hexText(s.PSK)}
	case Enterprise:
		lines := []string{"key_mgmt=WPA-EAP WPA-EAP-SHA256", "ieee80211w=1", "eap=PEAP TTLS", "phase2=\"auth=MSCHAPV2\"",
			"identity=" + hexText(o.User), "password=" + hexText(s.Password)}
		if s.CA != "" {
			lines = append(lines, fmt.Sprintf("ca_cert=%q", files.CA))
		}
		return lines
	}
	return []string{"key_mgmt=NONE"}
}

// hexText is a text in a form that needs no quotes.
func hexText(s string) string { return hex.EncodeToString([]byte(s)) }

// psk is a password in quotes, which may be in it, too; a key without.
func psk(s string) string {
	if rawPSK.MatchString(s) {
		return strings.ToLower(s)
	}
	return `"` + s + `"`
}
