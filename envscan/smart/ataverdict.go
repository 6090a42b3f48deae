package smart

import (
	"encoding/binary"
	"fmt"
)

// ataAnswers are what a disk has answered; nil is what it does not have.
type ataAnswers struct {
	identify         identification
	exceeded         bool
	data, thresholds []byte
	statistics       map[uint8][]byte // pages of the device statistics log
}

// Attributes whose raw value means the same on nearly all disks. Others depend
// on the maker: what is written, for one, is counted in sectors, or in units of
// 32 MiB, or in GiB; the device statistics have it in sectors for all.
const (
	attrReallocated   = 5
	attrPowerOnHours  = 9
	attrPowerCycles   = 12
	attrUncorrectable = 187
	attrAirflow       = 190
	attrTemperature   = 194
	attrPending       = 197
	attrOffline       = 198
)

var attrNames = map[uint8]string{
	1: "read errors", 3: "spin-up time", attrReallocated: "reallocated sectors", 7: "seek errors", 10: "spin retries",
	attrUncorrectable: "uncorrectable errors", attrPending: "pending sectors", attrOffline: "uncorrectable sectors",
}

func (a ataAnswers) report() (Report, error) {
	var j judgement
	if a.exceeded {
		j.fail("it says that it is about to fail")
	}
	ssd := a.identify.ssd()
	attrs, err := a.attributes(&j)
	if err != nil {
		return Report{}, err
	}
	c := attributeCounters(attrs)
	a.counters(&c)
	if !ssd { // flash has blocks that were bad from the beginning
		j.count("reallocated sectors", c.Reallocated)
	}
	j.count("pending sectors", c.Pending)
	j.count("media errors", c.MediaErrors)
	j.wear(c.Used)
	return j.report(ATA, c), nil
}

// attributes decodes the attributes, and judges them by the thresholds that the
// maker has set: of an attribute that foretells a failure, at or below it means
// failing; of one of age, that the disk is worn.
func (a ataAnswers) attributes(j *judgement) (map[uint8]ataAttribute, error) {
	attrs, least := map[uint8]ataAttribute{}, map[uint8]uint8{}
	if a.data == nil {
		return attrs, nil
	}
	for what, page := range map[string][]byte{"data": a.data, "thresholds": a.thresholds} {
		if page != nil && len(page) < ataSector {
			return nil, fmt.Errorf("decode SMART %s of %d bytes", what, len(page))
		}
	}
	if a.thresholds != nil {
		least = limits((*[ataSector]byte)(a.thresholds))
	}
	for _, attr := range attributes((*[ataSector]byte)(a.data)) {
		attrs[attr.id] = attr
		j.attribute(attr, least[attr.id])
	}
	return attrs, nil
}

// attribute judges one. A threshold of 0 is never reached, and values of 0, 254
// and 255 are none.
func (j *judgement) attribute(attr ataAttribute, limit uint8) {
	valid := func(v uint8) bool { return v > 0 && v < 0xfe }
	name := attrNames[attr.id]
	if name == "" {
		name = "see its maker"
	}
	foretells := attr.flags&prefailure != 0
	switch {
	case limit == 0 || !valid(attr.current):
	case attr.current <= limit && foretells:
		j.fail("attribute %d (%s): %d, its threshold is %d", attr.id, name, attr.current, limit)
	case attr.current <= limit:
		j.warn("attribute %d (%s): %d, worn out at %d", attr.id, name, attr.current, limit)
	case valid(attr.worst) && attr.worst <= limit && foretells:
		j.warn("attribute %d (%s): it was %d once, its threshold is %d", attr.id, name, attr.worst, limit)
	}
}

// attributeCounters takes counters from raw values: six bytes, of which makers
// use the upper ones for other things.
func attributeCounters(attrs map[uint8]ataAttribute) Counters {
	raw := func(id uint8, bytes int) *int64 {
		a, ok := attrs[id]
		if !ok {
			return nil
		}
		var b [8]byte
		copy(b[:bytes], a.raw[:])
		return number(binary.LittleEndian.Uint64(b[:]))
	}
	c := Counters{
		PowerOnHours: raw(attrPowerOnHours, 3), PowerCycles: raw(attrPowerCycles, 4),
		Reallocated: raw(attrReallocated, 2), Pending: raw(attrPending, 4), MediaErrors: raw(attrUncorrectable, 4),
	}
	if c.MediaErrors == nil {
		c.MediaErrors = raw(attrOffline, 4)
	}
	for _, id := range []uint8{attrTemperature, attrAirflow} {
		if a, ok := attrs[id]; ok && c.Temperature == nil {
			t := int64(int8(a.raw[0]))
			c.Temperature = &t
		}
	}
	return c
}

// wantedPage are the pages of the device statistics log that counters are on
// (ACS-3 §A.5).
var wantedPage = map[uint8]bool{1: true, 3: true, 4: true, 5: true, 7: true}

// counters are those of the device statistics, which mean the same on all disks
// that have them.
func (a ataAnswers) counters(c *Counters) {
	sector := a.identify.sector()
	for _, s := range []struct {
		page   uint8
		at     int
		bytes  int
		factor uint64
		into   **int64
	}{
		{1, 8, 4, 1, &c.PowerCycles}, {1, 16, 4, 1, &c.PowerOnHours},
		{1, 24, 6, sector, &c.Written}, {1, 40, 6, sector, &c.Read},
		{3, 32, 4, 1, &c.Reallocated}, {3, 56, 4, 1, &c.Pending}, {3, 64, 4, 1, &c.UnsafeCutOffs},
		{4, 8, 4, 1, &c.MediaErrors}, {7, 8, 1, 1, &c.Used},
	} {
		if v, ok := statistic(a.statistics[s.page], s.at, s.bytes); ok {
			*s.into = times(v, s.factor)
		}
	}
	if v, ok := statistic(a.statistics[5], 8, 1); ok {
		t := int64(int8(v))
		c.Temperature = &t
	}
}

// statistic is a quad-word of which the upper byte says whether the lower ones
// are supported and valid.
func statistic(page []byte, at, bytes int) (uint64, bool) {
	if at+8 > len(page) {
		return 0, false
	}
	q := binary.LittleEndian.Uint64(page[at:])
	return q & (1<<(8*bytes) - 1), q>>62 == 3
}
