package envscan

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"
)

// hasher hashes values into values of the same form, that programs which read
// facts take for what they are:
//
//	MAC               02:..., of the same length, locally administered
//	IPv4, CIDR        in 240.0.0.0/4, with the same length of the prefix
//	IPv6, CIDR        in 2001:db8::/32; of a link in fe80::/64
//	UUID, GUID        a UUID of version 8
//	0x..., eui. naa.  hexadecimal digits of the same length
//	SHA256:...        the same
//	/dev/disk/by-*/N  the folder, and N as any other text
//	any other text    x and 12 letters and digits: it can name an interface
//
// Addresses that mean the same everywhere (unspecified, loopback, multicast) and
// "default" stay.
type hasher struct{ key []byte }

func (h hasher) sum(s string) []byte {
	m := hmac.New(sha256.New, h.key)
	m.Write([]byte(s))
	return m.Sum(nil)
}

func (h hasher) text(s string) string {
	if mac, err := net.ParseMAC(s); err == nil {
		return h.mac(mac).String()
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return h.address(a).String()
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return h.prefix(p).String()
	}
	if id, err := uuid.Parse(s); err == nil && len(s) == 36 {
		return h.uuid(id.String()).String()
	}
	if id, ok := strings.CutPrefix(s, "SHA256:"); ok {
		return "SHA256:" + base64.RawStdEncoding.EncodeToString(h.sum(id))
	}
	for _, prefix := range []string{"0x", "eui.", "naa."} {
		if digits, ok := strings.CutPrefix(s, prefix); ok && len(digits) <= 64 && isHex(digits) {
			return prefix + hex.EncodeToString(h.sum(digits))[:len(digits)]
		}
	}
	if dir, name := path.Split(s); strings.HasPrefix(dir, "/dev/disk/by-") && name != "" {
		return dir + h.word(name)
	}
	if s == "default" {
		return s
	}
	return h.word(s)
}

func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdefABCDEF") == ""
}

var letters = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// word has 60 bits: two of a million different values are the same once in two
// million such documents.
func (h hasher) word(s string) string { return "x" + letters.EncodeToString(h.sum(s))[:12] }

func (h hasher) mac(a net.HardwareAddr) net.HardwareAddr {
	if len(slices.Compact(slices.Clone(a))) == 1 && (a[0] == 0 || a[0] == 0xff) {
		return a
	}
	out := net.HardwareAddr(h.sum(a.String())[:len(a)])
	out[0] = 0x02
	return out
}

func (h hasher) address(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.IsUnspecified() || a.IsLoopback() || a.IsMulticast() {
		return a
	}
	sum := h.sum(a.String())
	if a.Is4() {
		return netip.AddrFrom4([4]byte{0xf0 | sum[0]&7, sum[1], sum[2], sum[3]})
	}
	b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	n := 4
	if a.IsLinkLocalUnicast() {
		b, n = [16]byte{0xfe, 0x80}, 8
	}
	copy(b[n:], sum)
	return netip.AddrFrom16(b)
}

// prefix keeps a network one: the bits behind its prefix stay zero.
func (h hasher) prefix(p netip.Prefix) netip.Prefix {
	if p.Bits() == 0 {
		return p
	}
	out := netip.PrefixFrom(h.address(p.Addr()), p.Bits())
	if p == p.Masked() && p.Bits() < p.Addr().BitLen() && !p.Addr().IsLinkLocalUnicast() {
		return out.Masked()
	}
	return out
}

func (h hasher) uuid(s string) uuid.UUID {
	var id uuid.UUID
	copy(id[:], h.sum(s))
	id[6] = id[6]&0x0f | 0x80 // RFC 9562 §5.8
	id[8] = id[8]&0x3f | 0x80
	return id
}

// scrubber replaces identifying values inside of other texts.
type scrubber struct {
	// seen is told all identifying texts instead, when they are collected.
	seen func(string)
	// needles are in lower case, longest first.
	needles []needle
}

type needle struct {
	old, new string
	raw      bool // bytes, for which there are no words
}

// newScrubber looks for values in every form that they are known to take.
func newScrubber(values []string, replace func(string) string) *scrubber {
	s := &scrubber{}
	done := map[string]bool{}
	add := func(old, new string) {
		old = lowercase(old)
		if !done[old] && telling(old) {
			done[old] = true
			s.needles = append(s.needles, needle{old: old, new: new})
		}
	}
	for _, v := range values {
		new := replace(v)
		add(v, new)
		for _, f := range forms(v) {
			if plain := strings.ReplaceAll(new, ":", ""); strings.ReplaceAll(v, ":", "") == f && isHex(plain) {
				add(f, plain) // a MAC in a name
				continue
			}
			add(f, replace(f))
		}
	}
	slices.SortFunc(s.needles, func(a, b needle) int {
		return cmp.Or(cmp.Compare(len(b.old), len(a.old)), cmp.Compare(a.old, b.old))
	})
	return s
}

// forms are what a value is turned into by others: udev writes _ for blanks,
// names of interfaces have MACs without colons, addresses stand without their
// prefix, host names without their domain.
func forms(v string) []string {
	var list []string
	if mac, err := net.ParseMAC(v); err == nil {
		plain := hex.EncodeToString(mac)
		return []string{plain, strings.ReplaceAll(mac.String(), ":", "-")}
	}
	if p, err := netip.ParsePrefix(v); err == nil {
		return []string{p.Addr().String()}
	}
	if _, err := netip.ParseAddr(v); err == nil {
		return nil
	}
	if strings.HasPrefix(v, "/dev/disk/by-") {
		return []string{path.Base(v)}
	}
	if id, err := uuid.Parse(v); err == nil {
		return []string{hex.EncodeToString(id[:])}
	}
	for _, prefix := range []string{"0x", "eui.", "naa.", "SHA256:"} {
		if rest, ok := strings.CutPrefix(v, prefix); ok {
			list = append(list, rest)
		}
	}
	if strings.Contains(v, " ") {
		list = append(list, strings.Join(strings.Fields(v), "_"), strings.ReplaceAll(v, " ", "_"))
	}
	if host, _, ok := strings.Cut(v, "."); ok && !strings.ContainsAny(v, "/ ") {
		list = append(list, host)
	}
	return list
}

// telling: a shorter value, such as the serial number 1, is in every text.
func telling(s string) bool {
	if strings.Trim(s, "0123456789.:/-") == "" {
		return len(s) >= 6 && strings.Trim(s, "0.:/-") != ""
	}
	return len(s) >= 4 && strings.Trim(s, s[:1]) != ""
}

// text replaces the values in s, whatever their case. Short ones have to stand
// alone.
func (s *scrubber) text(text string) string {
	return replaceAll(s.needles, text)
}

func replaceAll(needles []needle, text string) string {
	lower := lowercase(text)
	for _, n := range needles {
		if strings.Contains(lower, n.old) {
			text = n.in(text, lower)
			lower = lowercase(text)
		}
	}
	return text
}

// alone is the length up to which a needle has to be a word of its own.
const alone = 7

// in replaces in a text, which is also there in lower case.
func (n needle) in(text, lower string) string {
	var out strings.Builder
	for {
		i := strings.Index(lower, n.old)
		if i < 0 {
			out.WriteString(text)
			return out.String()
		}
		end := i + len(n.old)
		if !n.raw && len(n.old) <= alone && (i > 0 && wordy(lower[i-1]) || end < len(lower) && wordy(lower[end])) {
			out.WriteString(text[:i+1])
			text, lower = text[i+1:], lower[i+1:]
			continue
		}
		out.WriteString(text[:i] + n.new)
		text, lower = text[end:], lower[end:]
	}
}

// lowercase keeps every byte in its place.
func lowercase(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}

func wordy(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
