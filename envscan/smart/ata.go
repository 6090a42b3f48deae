package smart

import (
	"errors"
	"fmt"
)

// Of ACS-3: commands (§7), SMART's features and the signature in LBA that goes
// with them (§7.48).
const (
	ataCheckPowerMode = 0xe5
	ataIdentify       = 0xec
	ataReadLogExt     = 0x2f
	ataSMART          = 0xb0

	smartReadData       = 0xd0
	smartReadThresholds = 0xd1
	smartReturnStatus   = 0xda
	smartSignature      = 0xc24f00
	smartExceeded       = 0x2cf400 // instead of the signature: a threshold is exceeded
	signatureMask       = 0xffff00

	logStatistics = 0x04
	ataSector     = 512
)

// ataCommand are the registers that a command is given in.
type ataCommand struct {
	command, feature, count uint8
	lba                     uint64
	ext                     bool // 48-bit
}

// registers are those that it leaves.
type registers struct {
	status, err, count uint8
	lba                uint64 // 28-bit
}

// ataAsleep asks for the power mode, which is what does not change it
// (ACS-3 §7.4). 00h and 01h are standby, in which the disk does not turn.
func ataAsleep(dev device) (bool, error) {
	r, err := ataNoData(dev, ataCommand{command: ataCheckPowerMode})
	if err != nil {
		return false, fmt.Errorf("check power mode: %w", err)
	}
	return r.count == 0x00 || r.count == 0x01, nil
}

// ataReport reads what there is: a disk has to have SMART, switched on, and a
// verdict; attributes and statistics are what it may have.
func ataReport(dev device) (Report, error) {
	page, err := ataRead(dev, ataCommand{command: ataIdentify, count: 1})
	if err != nil {
		return Report{}, fmt.Errorf("identify: %w", err)
	}
	var a ataAnswers
	if a.identify, err = decodeIdentify(page); err != nil {
		return Report{}, err
	}
	if !a.identify.hasSMART() {
		return Report{}, ErrUnsupported
	}
	status, err := ataNoData(dev, ataCommand{command: ataSMART, feature: smartReturnStatus, lba: smartSignature})
	if err != nil {
		return Report{}, fmt.Errorf("read SMART status: %w", err)
	}
	a.exceeded = status.lba&signatureMask == smartExceeded
	silent := !a.exceeded && status.lba&signatureMask != smartSignature
	for feature, into := range map[uint8]*[]byte{smartReadData: &a.data, smartReadThresholds: &a.thresholds} {
		*into, err = ataRead(dev, ataCommand{command: ataSMART, feature: feature, count: 1, lba: smartSignature})
		if err != nil && !errors.Is(err, ErrUnsupported) {
			return Report{}, fmt.Errorf("read SMART data: %w", err)
		}
	}
	if silent && (a.data == nil || a.thresholds == nil) {
		return Report{}, ErrUnsupported
	}
	if a.identify.hasLogs() {
		a.statistics = ataStatistics(dev)
	}
	return a.report()
}

// ataStatistics reads the pages of the device statistics log that there are; page
// 0 is the list of them. The log is newer than SMART: a disk without it is fine,
// and one that does not give a page has not counted what is on it.
func ataStatistics(dev device) map[uint8][]byte {
	read := func(page uint8) []byte {
		b, err := ataRead(dev, ataCommand{command: ataReadLogExt, count: 1, lba: logStatistics | uint64(page)<<8, ext: true})
		if err != nil || len(b) != ataSector || b[2] != page {
			return nil
		}
		return b
	}
	list := read(0)
	if list == nil {
		return nil
	}
	pages := map[uint8][]byte{}
	for _, page := range list[9 : 9+min(int(list[8]), ataSector-9)] {
		if wantedPage[page] {
			pages[page] = read(page)
		}
	}
	return pages
}

func ataRead(dev device, c ataCommand) ([]byte, error) {
	page := make([]byte, ataSector)
	sense, err := dev.scsi(passThrough(c, true), page)
	if err == nil {
		err = senseError(sense)
	}
	if err != nil {
		return nil, err
	}
	return page, nil
}

func ataNoData(dev device, c ataCommand) (registers, error) {
	sense, err := dev.scsi(passThrough(c, false), nil)
	if err != nil {
		return registers{}, err
	}
	r, ok := decodeRegisters(sense)
	if !ok {
		if err := senseError(sense); err != nil {
			return r, err
		}
		return r, ErrUnsupported // a bridge that keeps the registers to itself
	}
	if r.status&1 != 0 {
		return r, ErrUnsupported // aborted
	}
	return r, nil
}

// passThrough is ATA PASS-THROUGH (16) (SAT-4 §12.2.3). Commands without data
// ask for the registers.
func passThrough(c ataCommand, read bool) []byte {
	const nonData, pioIn = 3, 4
	cdb := make([]byte, 16)
	cdb[0] = 0x85
	cdb[1], cdb[2] = nonData<<1, 0x20 // CK_COND
	if read {
		cdb[1], cdb[2] = pioIn<<1, 0x0e // from the device, as many sectors as count says
	}
	if c.ext {
		cdb[1] |= 1
	}
	cdb[4], cdb[6] = c.feature, c.count
	cdb[8], cdb[10], cdb[12] = byte(c.lba), byte(c.lba>>8), byte(c.lba>>16)
	cdb[14] = c.command
	return cdb
}

// decodeRegisters takes the registers out of sense data (SAT-4 §12.2.5): from
// their own descriptor, or from where fixed sense data has them.
func decodeRegisters(sense []byte) (registers, bool) {
	at := func(i int) uint8 {
		if i < len(sense) {
			return sense[i]
		}
		return 0
	}
	switch at(0) & 0x7f {
	case 0x72, 0x73:
		for i := 8; i+14 <= len(sense); i += 2 + int(sense[i+1]) {
			if d := sense[i : i+14]; d[0] == 0x09 && d[1] >= 12 {
				return registers{err: d[3], count: d[5], lba: uint64(d[7]) | uint64(d[9])<<8 | uint64(d[11])<<16, status: d[13]}, true
			}
		}
	case 0x70, 0x71:
		if len(sense) >= 14 && sense[12] == 0x00 && sense[13] == 0x1d { // ATA pass-through information available
			return registers{err: sense[3], status: sense[4], count: sense[6], lba: uint64(sense[9]) | uint64(sense[10])<<8 | uint64(sense[11])<<16}, true
		}
	}
	return registers{}, false
}

func decodeIdentify(page []byte) (identification, error) {
	if len(page) < ataSector {
		return identification{}, fmt.Errorf("decode identification of %d bytes", len(page))
	}
	return identification(page), nil
}

// IdentifyFirmware is the revision in an ATA information page (SAT-4 §12.4.2),
// /sys/block/*/device/vpd_pg89: SCSI has room for half of it. Empty: it is none.
func IdentifyFirmware(page []byte) string {
	const identifyAt = 60
	if len(page) < identifyAt+ataSector || page[1] != 0x89 {
		return ""
	}
	return (*identification)(page[identifyAt:]).firmware()
}
