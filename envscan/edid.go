package envscan

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// edid is what a screen says of itself.
type edid struct {
	maker         string // three letters, as registered with the UEFI forum (PNP ID)
	model, serial string
	mode          string // preferred
	width, height int64  // mm; 0: unknown, or a projector
}

var errEDID = errors.New("it is no EDID")

// parseEDID reads the base block of an EDID (VESA E-EDID 1.4 §3):
//
//	 0  00 FF FF FF FF FF FF 00
//	 8  maker: three letters of five bits, big-endian; product and serial number
//	21  size in cm
//	54  four descriptors of 18 bytes: timings, the preferred ones first, or text
//	126 number of extensions; checksum
func parseEDID(b []byte) (edid, error) {
	if len(b) < 128 || !bytes.Equal(b[:8], []byte("\x00\xff\xff\xff\xff\xff\xff\x00")) {
		return edid{}, errEDID
	}
	var sum byte
	for _, c := range b[:128] {
		sum += c
	}
	if sum != 0 {
		return edid{}, fmt.Errorf("its checksum is wrong by %d", sum)
	}
	e := edid{width: int64(b[21]) * 10, height: int64(b[22]) * 10}
	if e.width == 0 || e.height == 0 { // one of them alone is an aspect ratio
		e.width, e.height = 0, 0
	}
	id := binary.BigEndian.Uint16(b[8:])
	for _, shift := range []int{10, 5, 0} {
		if c := id >> shift & 31; c >= 1 && c <= 26 {
			e.maker += string(rune('A' + c - 1))
		}
	}
	if n := binary.LittleEndian.Uint32(b[12:]); n != 0 {
		e.serial = strconv.FormatUint(uint64(n), 10)
	}
	var notes []string
	for at := 54; at < 126; at += 18 {
		notes = append(notes, e.descriptor(b[at:at+18])...)
	}
	if e.model == "" && len(notes) > 0 { // panels of laptops have their type there
		e.model = notes[len(notes)-1]
	}
	if e.model == "" {
		e.model = fmt.Sprintf("%04x", binary.LittleEndian.Uint16(b[10:]))
	}
	return e, nil
}

// descriptor reads 18 bytes, and returns text that has no meaning of its own.
func (e *edid) descriptor(d []byte) (note []string) {
	if d[0] != 0 || d[1] != 0 {
		if e.mode == "" {
			e.timing(d)
		}
		return nil
	}
	text := descriptorText(d[5:])
	switch d[3] {
	case 0xfc:
		e.model = text
	case 0xff:
		if text != "" {
			e.serial = text
		}
	case 0xfe:
		if text != "" {
			return []string{text}
		}
	}
	return nil
}

// timing is a detailed timing (§3.10.2): pixels and millimetres in twelve bits
// each, interlaced ones with half of the lines.
func (e *edid) timing(d []byte) {
	w, h := int(d[2])|int(d[4]&0xf0)<<4, int(d[5])|int(d[7]&0xf0)<<4
	if w == 0 || h == 0 {
		return
	}
	e.mode = fmt.Sprintf("%dx%d", w, h)
	if d[17]&0x80 != 0 {
		e.mode = fmt.Sprintf("%dx%di", w, 2*h) // as the kernel writes it
	}
	if mm, lines := int64(d[12])|int64(d[14]&0xf0)<<4, int64(d[13])|int64(d[14]&0x0f)<<8; mm > 0 && lines > 0 {
		e.width, e.height = mm, lines
	}
}

// descriptorText ends with a line feed and is filled up with spaces. What is not
// ASCII is not text.
func descriptorText(b []byte) string {
	if end := bytes.IndexByte(b, '\n'); end >= 0 {
		b = b[:end]
	}
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return -1
		}
		return r
	}, string(b))
	return strings.TrimSpace(clean)
}
