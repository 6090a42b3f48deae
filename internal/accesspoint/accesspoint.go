// Package accesspoint is what a reverse Wi-Fi access point does, as far as that can
// be said without doing it: it joins a wireless network, and serves it on its
// Ethernet side.
//
//	wireless network ── card (DHCP, RA) ── masquerade ── bridge "lan" ── whoever is plugged in
//	                     nothing in                       DHCP, RA, DNS, SSH, status page
//
// The package is pure. It reads what the appliance was made with (Options, Secrets),
// chooses cards and subnets, and writes the configuration of the programs that do
// the work. Package internal/agent/accesspoint runs them.
package accesspoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
	"github.com/victorinix/vic/internal/nearest"
)

// Version is that of Options.
const Version = 1

// OptionsPath is where Options are in the system image of an appliance.
const OptionsPath = "/etc/vic/access-point.json"

// LAN is the name of the bridge of the Ethernet side.
const LAN = "lan"

// Options are what is no secret.
type Options struct {
	Version  int    `json:"version"`
	Hostname string `json:"hostname"`
	// Country is the regulatory domain, as in ISO 3166-1: "DE". "00": that of the
	// whole world, which allows what is allowed everywhere.
	Country  string       `json:"country"`
	Security string       `json:"security"` // one of Securities
	User     string       `json:"user"`     // of WPA-Enterprise
	Subnet   netip.Prefix `json:"subnet"`   // of the Ethernet side, as long as it collides with nothing
	SSHKeys  []string     `json:"sshKeys"`
	Portal   bool         `json:"portal"`
	// Wifi and Ethernet are matches, such as "mac:02:00:00:00:00:01", for the
	// wireless card and for the cards of the Ethernet side. Empty: chosen.
	Wifi     []string `json:"wifi"`
	Ethernet []string `json:"ethernet"`
	// NTP are the names or addresses of time servers.
	NTP []string `json:"ntp"`
}

// The values of Options.Security.
const (
	Auto       = "auto" // WPA2 or WPA3 with a password, whichever is offered
	WPA2       = "wpa2"
	WPA3       = "wpa3"
	Open       = "open"
	Enterprise = "enterprise" // WPA2 or WPA3 with user and password
)

// Securities are all of them.
func Securities() []string { return []string{Auto, WPA2, WPA3, Open, Enterprise} }

// Decode reads and checks Options.
func Decode(r io.Reader) (Options, error) {
	var o Options
	b, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return o, fmt.Errorf("read options of the access point: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&o); err != nil {
		return o, fmt.Errorf("read options of the access point: %w", err)
	}
	return o, o.Validate()
}

// Encode writes Options that are valid.
func (o Options) Encode() ([]byte, error) {
	o.Version = Version
	if err := o.Validate(); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(o, "", "  ")
	return append(b, '\n'), err
}

var (
	country  = lazyregexp.New(`^([A-Z]{2}|00)$`)
	hostname = lazyregexp.New(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	server   = lazyregexp.New(`^[A-Za-z0-9.:-]{1,253}$`)
)

// Validate says what is wrong.
func (o Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Version != Version {
		bad("they have version %d, this program knows %d", o.Version, Version)
	}
	if !hostname.MatchString(o.Hostname) {
		bad("hostname %q is not one of lower-case letters, digits and -", o.Hostname)
	}
	if !country.MatchString(o.Country) {
		bad("country %q is not two capital letters, or 00", o.Country)
	}
	if !slices.Contains(Securities(), o.Security) {
		bad("security %q: %s", o.Security, orNearest(o.Security, Securities()))
	}
	if (o.Security == Enterprise) != (o.User != "") {
		bad("a user is for security %s, and needed there", Enterprise)
	}
	if !o.Subnet.IsValid() || !o.Subnet.Addr().Is4() || o.Subnet.Bits() < 16 || o.Subnet.Bits() > 28 || o.Subnet != o.Subnet.Masked() {
		bad("subnet %s is not one of IPv4 with a prefix of 16 to 28 bits", o.Subnet)
	}
	for _, m := range slices.Concat(o.Wifi, o.Ethernet) {
		if _, err := ParseMatch(m); err != nil {
			errs = append(errs, err)
		}
	}
	for _, s := range o.NTP {
		if !server.MatchString(s) {
			bad("time server %q is neither a name nor an address", s)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("options of the access point: %w", err)
	}
	return nil
}

func orNearest(name string, known []string) string {
	if near := nearest.Name(name, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "it is one of " + strings.Join(known, ", ")
}

// Secrets are given when a card is written. They are never in an image.
type Secrets struct {
	SSID     string // name of the wireless network
	PSK      string // its password
	Password string // of the user, for WPA-Enterprise
	CA       string // certificates, in PEM, that the network's server must be signed by
}

// The names of the secrets.
const (
	SecretSSID     = "wifi-ssid"
	SecretPSK      = "wifi-psk"
	SecretPassword = "wifi-password"
	SecretCA       = "wifi-ca"
)

// NewSecrets takes what get finds by name.
func NewSecrets(get func(name string) string) Secrets {
	return Secrets{get(SecretSSID), get(SecretPSK), get(SecretPassword), get(SecretCA)}
}

// Validate says what is wrong with them for a kind of network, and repeats none
// of them.
func (s Secrets) Validate(security string) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if s.SSID == "" || len(s.SSID) > 32 {
		bad("secret %s: the name of a wireless network has 1 to 32 bytes, not %d", SecretSSID, len(s.SSID))
	}
	switch security {
	case Auto, WPA2, WPA3:
		if err := checkPSK(s.PSK, security); err != nil {
			bad("secret %s: %w", SecretPSK, err)
		}
	case Enterprise:
		if s.Password == "" {
			bad("secret %s: security %s needs it", SecretPassword, Enterprise)
		}
	case Open:
		if s.PSK != "" || s.Password != "" {
			bad("an open network has no password: leave %s and %s out, or choose another security", SecretPSK, SecretPassword)
		}
	}
	return errors.Join(errs...)
}

var rawPSK = lazyregexp.New(`^[0-9a-fA-F]{64}$`)

// checkPSK checks a password, or a key of 64 hexadecimal digits (IEEE 802.11-2020
// §J.4.1). SAE has passwords of any length, and no keys.
func checkPSK(psk, security string) error {
	switch {
	case psk == "":
		return fmt.Errorf("security %s needs it", security)
	case rawPSK.MatchString(psk) && security == WPA3:
		return errors.New("WPA3 needs the password, not the key of 64 digits")
	case rawPSK.MatchString(psk):
		return nil
	case security == WPA3 && len(psk) <= 128 && !strings.ContainsAny(psk, "\n\r\x00"):
		return nil
	case len(psk) < 8 || len(psk) > 63:
		return fmt.Errorf("a password has 8 to 63 characters, this has %d", len(psk))
	case strings.ContainsFunc(psk, func(r rune) bool { return r < 32 || r > 126 }):
		return errors.New("a password is made of printable ASCII characters")
	}
	return nil
}
