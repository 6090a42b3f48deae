package envscan

import (
	"encoding/binary"
	"testing"
)

// screen is an EDID: a header, what a maker VIC would write, and a checksum.
func screen() []byte {
	b := make([]byte, 128)
	copy(b, "\x00\xff\xff\xff\xff\xff\xff\x00")
	binary.BigEndian.PutUint16(b[8:], ('V'-'@')<<10|('I'-'@')<<5|('C'-'@'))
	binary.LittleEndian.PutUint16(b[10:], 0x1234)
	binary.LittleEndian.PutUint32(b[12:], 4711)
	b[18], b[19], b[21], b[22] = 1, 4, 60, 34
	// 2560x1440, 597 mm x 336 mm
	copy(b[54:], []byte{1, 1, 0x00, 0xa0, 0xa0, 0xa0, 0x29, 0x50, 0, 0, 0, 0, 0x55, 0x50, 0x21, 0, 0, 0x1a})
	copy(b[72:], "\x00\x00\x00\xfc\x00Test 27\n     ")
	copy(b[90:], "\x00\x00\x00\xff\x00SN42\n        ")
	copy(b[108:], "\x00\x00\x00\xfe\x00panel\n       ")
	return summed(b)
}

func summed(b []byte) []byte {
	var sum byte
	for _, c := range b[:127] {
		sum += c
	}
	b[127] = -sum
	return b
}

func TestEDID(t *testing.T) {
	for name, test := range map[string]struct {
		change func([]byte)
		want   edid
	}{
		"all":           {func([]byte) {}, edid{"VIC", "Test 27", "SN42", "2560x1440", 597, 336}},
		"panel":         {func(b []byte) { b[75], b[93] = 0x10, 0x10 }, edid{"VIC", "panel", "4711", "2560x1440", 597, 336}},
		"number":        {func(b []byte) { b[75], b[111] = 0x10, 0x10 }, edid{"VIC", "1234", "SN42", "2560x1440", 597, 336}},
		"interlaced":    {func(b []byte) { b[54+17] |= 0x80 }, edid{"VIC", "Test 27", "SN42", "2560x2880i", 597, 336}},
		"cm":            {func(b []byte) { b[54+12], b[54+13], b[54+14] = 0, 0, 0 }, edid{"VIC", "Test 27", "SN42", "2560x1440", 600, 340}},
		"projector":     {func(b []byte) { b[54+12], b[54+13], b[54+14], b[22] = 0, 0, 0, 0 }, edid{"VIC", "Test 27", "SN42", "2560x1440", 0, 0}},
		"no maker":      {func(b []byte) { b[8], b[9] = 0, 0 }, edid{"", "Test 27", "SN42", "2560x1440", 597, 336}},
		"control bytes": {func(b []byte) { b[77], b[78] = 0x1b, 0xe9 }, edid{"VIC", "st 27", "SN42", "2560x1440", 597, 336}},
	} {
		b := screen()
		test.change(b)
		if got, err := parseEDID(summed(b)); err != nil || got != test.want {
			t.Errorf("%s: %+v %v, want %+v", name, got, err, test.want)
		}
	}
}

func TestBadEDID(t *testing.T) {
	flipped := screen()
	flipped[60]++
	for name, b := range map[string][]byte{"empty": nil, "short": screen()[:127], "zeros": make([]byte, 128), "damaged": flipped} {
		if _, err := parseEDID(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func FuzzEDID(f *testing.F) {
	f.Add(screen())
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 128 {
			copy(b, screen()[:8])
			b = summed(b)
		}
		e, err := parseEDID(b)
		if err == nil && e.model == "" {
			t.Errorf("%x: no model", b)
		}
		for _, s := range []string{e.maker, e.model, e.serial, e.mode} {
			for _, r := range s {
				if r < ' ' || r > '~' {
					t.Errorf("%q is not for people", s)
				}
			}
		}
	})
}
