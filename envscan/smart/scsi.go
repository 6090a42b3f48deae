package smart

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Log pages (SPC-4 §7.3, SBC-3 §6.4).
const (
	pageList       = 0x00
	pageWrite      = 0x02
	pageRead       = 0x03
	pageTemp       = 0x0d
	pageSolidState = 0x11
	pageScan       = 0x15 // background scans, and the time that the disk was on
	pageExceptions = 0x2f
)

// scsiAsleep: REQUEST SENSE tells the power condition and does not change it
// (SPC-4 §5.12): ASC 5Eh, and in ASCQ which of them, standby or idle.
func scsiAsleep(dev device) (bool, error) {
	sense := make([]byte, 32)
	failed, err := dev.scsi([]byte{0x03, 0, 0, 0, byte(len(sense)), 0}, sense)
	if err == nil {
		err = senseError(failed)
	}
	if err != nil {
		return false, fmt.Errorf("request sense: %w", err)
	}
	_, asc, ascq := decodeSense(sense)
	return asc == 0x5e && (ascq == 2 || ascq == 4 || ascq == 9 || ascq == 10), nil
}

func scsiReport(dev device) (Report, error) {
	pages := map[uint8][]byte{}
	list, err := logSense(dev, pageList)
	if err != nil {
		return Report{}, err
	}
	for _, page := range list {
		if pages[page], err = logSense(dev, page); err != nil && !errors.Is(err, ErrUnsupported) {
			return Report{}, err
		}
	}
	return decodeSCSI(pages)
}

// logSense reads a log page, without its head of four bytes.
func logSense(dev device, page uint8) ([]byte, error) {
	b := make([]byte, 1024)
	cdb := []byte{0x4d, 0, 0x40 | page&0x3f, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(cdb[7:], uint16(len(b)))
	sense, err := dev.scsi(cdb, b)
	if err == nil {
		err = senseError(sense)
	}
	if err != nil {
		return nil, fmt.Errorf("read log page %#02x: %w", page, err)
	}
	if b[0]&0x3f != page {
		return nil, ErrUnsupported
	}
	return b[4 : 4+min(int(binary.BigEndian.Uint16(b[2:])), len(b)-4)], nil
}

// decodeSCSI judges pages. A disk without the page of exceptions has no verdict.
func decodeSCSI(pages map[uint8][]byte) (Report, error) {
	exceptions := parameter(pages[pageExceptions], 0)
	if len(exceptions) < 2 {
		return Report{}, ErrUnsupported
	}
	var j judgement
	var c Counters
	switch asc, ascq := exceptions[0], exceptions[1]; asc {
	case 0x5d:
		j.fail("it says that it is about to fail (%02x/%02x)", asc, ascq)
	case 0x0b:
		j.warn("it warns of its health (%02x/%02x)", asc, ascq)
	}
	for _, t := range [][]byte{parameter(pages[pageTemp], 0), exceptions[1:]} {
		if len(t) >= 2 && t[1] != 0xff && t[1] != 0 && c.Temperature == nil {
			c.Temperature = number(uint64(t[1]))
		}
	}
	if p := parameter(pages[pageScan], 0); len(p) >= 4 {
		c.PowerOnHours = number(uint64(binary.BigEndian.Uint32(p)) / 60)
	}
	if p := parameter(pages[pageSolidState], 1); len(p) >= 4 {
		c.Used = number(uint64(p[3]))
	}
	const processed, uncorrected = 5, 6
	c.Written, c.Read = bigEndian(parameter(pages[pageWrite], processed)), bigEndian(parameter(pages[pageRead], processed))
	for _, page := range []uint8{pageWrite, pageRead} {
		if n := bigEndian(parameter(pages[page], uncorrected)); n != nil {
			if c.MediaErrors != nil {
				*n = *number(uint64(*n) + uint64(*c.MediaErrors))
			}
			c.MediaErrors = n
		}
	}
	j.count("media errors", c.MediaErrors)
	j.wear(c.Used)
	return j.report(SCSI, c), nil
}

// parameter finds one in a log page: code, control, length, value.
func parameter(page []byte, code uint16) []byte {
	for len(page) >= 4 {
		n := 4 + int(page[3])
		if n > len(page) {
			return nil
		}
		if binary.BigEndian.Uint16(page) == code {
			return page[4:n]
		}
		page = page[n:]
	}
	return nil
}

// bigEndian is a counter of any length.
func bigEndian(b []byte) *int64 {
	if len(b) == 0 {
		return nil
	}
	var n uint64
	for _, c := range b {
		if n>>56 != 0 {
			return number(1 << 63)
		}
		n = n<<8 | uint64(c)
	}
	return number(n)
}

// decodeSense takes key, code and qualifier out of sense data in either form.
func decodeSense(sense []byte) (key, asc, ascq uint8) {
	switch {
	case len(sense) >= 4 && sense[0]&0x7e == 0x72:
		return sense[1] & 15, sense[2], sense[3]
	case len(sense) >= 14 && sense[0]&0x7e == 0x70:
		return sense[2] & 15, sense[12], sense[13]
	}
	return 0, 0, 0
}

// senseError is what sense data, empty when a command went well, means. A
// command that is unknown (ILLEGAL REQUEST, or ABORTED COMMAND from behind a
// translation to ATA) is ErrUnsupported.
func senseError(sense []byte) error {
	switch key, asc, ascq := decodeSense(sense); key {
	case 0x0, 0x1: // nothing, recovered
		return nil
	case 0x5, 0xb:
		return ErrUnsupported
	default:
		return fmt.Errorf("the disk answers with sense key %x, code %02x/%02x", key, asc, ascq)
	}
}
