package smart

import (
	"fmt"
)

// Of NVM Express Base Specification 2.0: admin commands (§5), log pages (§5.16).
const (
	nvmeGetLogPage   = 0x02
	nvmeHealthLog    = 0x02
	nvmeHealthLength = 512
	nvmeController   = 0xffffffff // instead of a name space
)

// nvmeReport reads the SMART / health information log.
func nvmeReport(dev device) (Report, error) {
	page := make([]byte, nvmeHealthLength)
	if err := dev.admin(nvmeGetLogPage, nvmeController, nvmeHealthLog|(nvmeHealthLength/4-1)<<16, page); err != nil {
		return Report{}, fmt.Errorf("read health log: %w", err)
	}
	return decodeNVMe(page)
}

// kelvin0 is 0 °C: 273.15 K, of which the log has whole ones.
const kelvin0 = 273

func decodeNVMe(page []byte) (Report, error) {
	if len(page) < nvmeHealthLength {
		return Report{}, fmt.Errorf("decode health log of %d bytes", len(page))
	}
	log := (*nvmeHealth)(page)
	c := Counters{
		PowerOnHours: log.powerOnHours().times(1), PowerCycles: log.powerCycles().times(1), Used: number(uint64(log.used())),
		// In thousands of 512 bytes, whatever the sector size.
		Written: log.unitsWritten().times(512000), Read: log.unitsRead().times(512000),
		MediaErrors: log.mediaErrors().times(1), UnsafeCutOffs: log.unsafeCutOffs().times(1),
	}
	if log.kelvin() != 0 {
		t := int64(log.kelvin()) - kelvin0
		c.Temperature = &t
	}
	var j judgement
	for bit, say := range []func(){
		func() { j.fail("spare blocks: %d %%, below its threshold of %d %%", log.spare(), log.spareLimit()) },
		func() { j.warn("temperature beyond its limits: %d °C", int64(log.kelvin())-kelvin0) },
		func() { j.fail("it says that it is no longer reliable") },
		func() { j.fail("it has become read-only") },
		func() { j.fail("the backup of its volatile memory has failed") },
		func() { j.warn("its persistent memory region has become read-only") },
	} {
		if log.warnings()>>bit&1 != 0 {
			say()
		}
	}
	if rest := log.warnings() >> 6; rest != 0 {
		j.warn("it warns of something unknown: bits %#x", rest<<6)
	}
	j.wear(c.Used)
	j.count("media errors", c.MediaErrors)
	return j.report(NVMe, c), nil
}
