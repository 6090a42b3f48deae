package envscan

import (
	"bytes"
	"net"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Scrub replaces identifying values of facts in the files that they came from.
type Scrub struct {
	scrub *scrubber
	// whole are values that are replaced when a file has nothing else in it,
	// however short they are.
	whole map[string]string
	// binary are the forms that values have in tables of firmware, with
	// replacements of the same length.
	binary []needle
}

// Scrub is for files of the machine that f tells of.
func (r *Redactor) Scrub(f Facts) *Scrub {
	w := r.redaction(f)
	s := &Scrub{scrub: w.scrub, whole: map[string]string{}}
	for _, v := range w.collect(f) {
		if len(v) > 1 && strings.Trim(v, "0123456789.:/-") != "" {
			s.whole[lowercase(v)] = w.replace(v)
		}
		s.binary = append(s.binary, raw(v, r.hash)...)
	}
	for _, n := range w.scrub.needles {
		new := r.hash.fit(n.old, n.new)
		s.binary = append(s.binary, needle{n.old, new, false}, needle{wide(n.old), wide(new), true})
	}
	return s
}

// raw are the bytes of addresses and UUIDs, which SMBIOS and UEFI write with the
// first three fields in little endian.
func raw(v string, h hasher) []needle {
	if mac, err := net.ParseMAC(v); err == nil && len(mac) == 6 {
		return []needle{{lowercase(string(mac)), string(h.mac(mac)), true}}
	}
	id, err := uuid.Parse(v)
	if err != nil {
		return nil
	}
	new := h.uuid(id.String())
	return []needle{{lowercase(string(id[:])), string(new[:]), true}, {lowercase(mixed(id)), mixed(new), true}}
}

// mixed is a UUID as in SMBIOS 3.6 §7.2.1.
func mixed(id uuid.UUID) string {
	b := id
	b[0], b[1], b[2], b[3] = id[3], id[2], id[1], id[0]
	b[4], b[5], b[6], b[7] = id[5], id[4], id[7], id[6]
	return string(b[:])
}

// fit is a replacement of the same length.
func (h hasher) fit(old, new string) string {
	for len(new) < len(old) {
		new += h.word(new)
	}
	return new[:len(old)]
}

// wide is text in UTF-16, as UEFI has it.
func wide(s string) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(s)) {
		b.WriteByte(byte(u))
		b.WriteByte(byte(u >> 8))
	}
	return b.String()
}

// Text replaces in a name or a path.
func (s *Scrub) Text(text string) string { return s.scrub.text(text) }

// File replaces in the content of a file. One that is not text keeps its length.
func (s *Scrub) File(content []byte) []byte {
	if new, ok := s.whole[lowercase(strings.TrimSpace(string(content)))]; ok {
		return []byte(new + "\n")
	}
	if utf8.Valid(content) && !bytes.ContainsRune(content, 0) {
		return []byte(s.scrub.text(string(content)))
	}
	return []byte(replaceAll(s.binary, string(content)))
}
