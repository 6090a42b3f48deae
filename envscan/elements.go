package envscan

import (
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Elements of a beacon (IEEE 802.11-2020 9.4.2): one byte of type, one of length,
// and the body. Those of vendors begin with three bytes that say whose, and one
// of type.
const (
	elementSSID   = 0
	elementRSN    = 48
	elementMeshID = 114
	elementVendor = 221
)

// wpaElement begins the element with which WPA came before 802.11i had RSN.
const wpaElement = "\x00\x50\xf2\x01"

// informationElements goes through elements; a last one that is cut off is left
// out.
func informationElements(b []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for len(b) >= 2 && len(b) >= 2+int(b[1]) {
			id, body := b[0], b[2:2+int(b[1])]
			if !yield(id, body) {
				return
			}
			b = b[2+len(body):]
		}
	}
}

// security are the ways into a network, sorted. privacy: it says that it is
// encrypted, which without more is WEP.
func security(elements []byte, privacy bool) []string {
	ways := []string{}
	known := false
	for id, body := range informationElements(elements) {
		switch {
		case id == elementRSN:
			known = true
			ways = append(ways, keyManagement(body, rsnSuites)...)
		case id == elementVendor && strings.HasPrefix(string(body), wpaElement):
			known = true
			ways = append(ways, keyManagement(body[len(wpaElement):], wpaSuites)...)
		}
	}
	switch {
	case !known && privacy:
		ways = append(ways, "wep")
	case !known:
		ways = append(ways, "open")
	}
	slices.Sort(ways)
	return slices.Compact(ways)
}

// rsnSuites and wpaSuites are what key management suites are called here, by OUI
// and type (IEEE 802.11-2020 table 9-151, and those of 802.11-2024).
var (
	rsnSuites = suites("\x00\x0f\xac", map[byte]string{
		1: "eap", 2: "wpa2", 3: "eap", 4: "wpa2", 5: "eap", 6: "wpa2", 8: "wpa3", 9: "wpa3", 11: "eap", 12: "eap", 13: "eap",
		14: "eap", 15: "eap", 16: "eap", 17: "eap", 18: "owe", 19: "wpa2", 20: "wpa2", 22: "eap", 23: "eap", 24: "wpa3", 25: "wpa3",
	})
	wpaSuites = suites("\x00\x50\xf2", map[byte]string{1: "eap", 2: "wpa"})
)

func suites(oui string, types map[byte]string) map[string]string {
	m := map[string]string{}
	for t, name := range types {
		m[oui+string([]byte{t})] = name
	}
	return m
}

// keyManagement reads an RSN element, or the rest of a WPA one, which is made
// alike (9.4.2.24): version, group cipher (4 bytes), count and list of pairwise
// ciphers, count and list of key management suites. All after the version may be
// left out, which stands for 802.1X. Suites that nobody here knows are named by
// their numbers.
func keyManagement(body []byte, names map[string]string) []string {
	rest, ok := skipList(body, 2+4)
	if !ok || len(rest) < 2 {
		return []string{"eap"}
	}
	var list []string
	count := int(binary.LittleEndian.Uint16(rest))
	for rest = rest[2:]; count > 0 && len(rest) >= 4; count-- {
		name, ok := names[string(rest[:4])]
		if !ok {
			name = fmt.Sprintf("%x-%d", rest[:3], rest[3])
		}
		list = append(list, name)
		rest = rest[4:]
	}
	return list
}

// skipList skips some bytes, and then a list of suites with its count.
func skipList(b []byte, bytes int) ([]byte, bool) {
	if len(b) < bytes+2 {
		return nil, false
	}
	size := 4 * int(binary.LittleEndian.Uint16(b[bytes:]))
	b = b[bytes+2:]
	if size > len(b) {
		return nil, false
	}
	return b[size:], true
}

// ssidText is a network's name as text. An SSID is bytes, mostly but not always
// UTF-8: what cannot be shown, and the backslash, is \xNN. One of zero bytes, or
// none, hides the name.
func ssidText(b []byte) string {
	if strings.Trim(string(b), "\x00") == "" {
		return ""
	}
	var text strings.Builder
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 || r == '\\' || !unicode.IsPrint(r) {
			for _, c := range b[:size] {
				fmt.Fprintf(&text, `\x%02x`, c)
			}
		} else {
			text.Write(b[:size])
		}
		b = b[size:]
	}
	return text.String()
}
