package accesspoint

import (
	"fmt"
	"strconv"
	"strings"
)

// The states of a Radio.
const (
	Searching = "searching"
	NotFound  = "not-found" // no access point in reach has the name
	Joining   = "joining"
	WrongKey  = "wrong-key"
	Refused   = "refused"
	Lost      = "lost" // it was connected
	Connected = "connected"
)

// Radio is where a wireless card stands, by the events of wpa_supplicant's control
// interface.
type Radio struct {
	State string
	Why   string // for people; "" when there is nothing to say
	BSSID string // of the access point; "" unless connected

	barred bool // wpa_supplicant does not try the network for a while
	joined bool // it has been connected since it started
}

// NewRadio is a card that has just been started.
func NewRadio() Radio { return Radio{State: Searching, Why: "looking for the network"} }

// Event is the radio after an event such as
//
//	<3>CTRL-EVENT-SSID-TEMP-DISABLED id=0 ssid="x" auth_failures=1 duration=10 reason=WRONG_KEY
//
// A wrong password stays the reason until the network is joined, or is really gone:
// a scan while it is barred finds no network to join, either.
func (r Radio) Event(line string) Radio {
	if _, after, ok := strings.Cut(line, ">"); ok && strings.HasPrefix(line, "<") {
		line = after
	}
	name, rest, _ := strings.Cut(line, " ")
	f := fields(rest)
	switch name {
	case "CTRL-EVENT-CONNECTED":
		return Radio{State: Connected, BSSID: bssidOf(rest), joined: true}
	case "CTRL-EVENT-DISCONNECTED":
		return r.disconnected(f)
	case "CTRL-EVENT-SSID-TEMP-DISABLED":
		return r.disabled(f)
	case "CTRL-EVENT-SSID-REENABLED":
		r.barred = false
	case "CTRL-EVENT-NETWORK-NOT-FOUND":
		return r.notFound()
	case "CTRL-EVENT-ASSOC-REJECT":
		return r.refused("the access point refuses this device", f["status_code"])
	case "CTRL-EVENT-AUTH-REJECT":
		if f["auth_type"] == sae {
			return r.wrongKey()
		}
		return r.refused("the access point refuses this device", f["status_code"])
	case "CTRL-EVENT-EAP-FAILURE":
		r.State, r.Why = WrongKey, "the network does not accept this user and password"
	case "CTRL-EVENT-EAP-TLS-CERT-ERROR":
		r.State, r.Why = Refused, "the certificate of the network's server is not signed by the one given"
	}
	if r.State == Searching && (name == "SME:" || name == "Trying" || name == "Associated") {
		r.State, r.Why = Joining, "joining the network"
	}
	return r
}

// sae is the authentication of WPA3 (IEEE 802.11-2020 §9.4.1.1).
const sae = "3"

func (r Radio) wrongKey() Radio {
	r.State, r.Why, r.BSSID = WrongKey, "the password is wrong", ""
	return r
}

func (r Radio) refused(why, code string) Radio {
	if r.State == WrongKey {
		return r
	}
	r.State, r.Why, r.BSSID = Refused, fmt.Sprintf("%s (status %s)", why, code), ""
	return r
}

// disconnected: that the four messages of a handshake are not answered (reasons 15
// and 2) is what a wrong password looks like, and said so by the event that follows.
func (r Radio) disconnected(f map[string]string) Radio {
	r.BSSID = ""
	if r.State == Connected {
		r.State, r.Why = Lost, "the connection was lost"
		if n, err := strconv.Atoi(f["reason"]); err == nil {
			r.Why += fmt.Sprintf(" (reason %d)", n)
		}
	}
	return r
}

func (r Radio) disabled(f map[string]string) Radio {
	r.barred, r.BSSID = true, ""
	switch {
	case f["reason"] == "WRONG_KEY":
		return r.wrongKey()
	case r.State == WrongKey:
		return r
	case f["reason"] == "AUTH_FAILED":
		r.State, r.Why = WrongKey, "the network does not accept this user and password"
	default:
		r.State, r.Why = Refused, "joining the network fails"
	}
	return r
}

func (r Radio) notFound() Radio {
	if r.barred {
		return r
	}
	r.State, r.Why, r.BSSID = NotFound, "no access point in reach has this name", ""
	if r.joined {
		r.Why = "the network is gone"
	}
	return r
}

// fields are the words KEY=VALUE of an event.
func fields(text string) map[string]string {
	all := map[string]string{}
	for word := range strings.FieldsSeq(text) {
		if k, v, ok := strings.Cut(word, "="); ok {
			all[k] = v
		}
	}
	return all
}

// bssidOf finds the address in "- Connection to 02:00:00:00:01:00 completed ...".
func bssidOf(text string) string {
	for word := range strings.FieldsSeq(text) {
		if len(word) == 17 && strings.Count(word, ":") == 5 {
			return word
		}
	}
	return ""
}
