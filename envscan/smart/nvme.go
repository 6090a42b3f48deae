package smart

import (
	"bytes"
	"encoding/binary"
	"fmt"

	library "github.com/anatol/smart.go"
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
	var log library.NvmeSMARTLog
	if err := binary.Read(bytes.NewReader(page), binary.LittleEndian, &log); err != nil {
		return Report{}, fmt.Errorf("decode health log of %d bytes: %w", len(page), err)
	}
	c := Counters{
		PowerOnHours: wide(log.PowerOnHours, 1), PowerCycles: wide(log.PowerCycles, 1), Used: number(uint64(log.PercentUsed)),
		// In thousands of 512 bytes, whatever the sector size.
		Written: wide(log.DataUnitsWritten, 512000), Read: wide(log.DataUnitsRead, 512000),
		MediaErrors: wide(log.MediaErrors, 1), UnsafeCutOffs: wide(log.UnsafeShutdowns, 1),
	}
	if log.Temperature != 0 {
		t := int64(log.Temperature) - kelvin0
		c.Temperature = &t
	}
	var j judgement
	for bit, say := range []func(){
		func() { j.fail("spare blocks: %d %%, below its threshold of %d %%", log.AvailSpare, log.SpareThresh) },
		func() { j.warn("temperature beyond its limits: %d °C", int64(log.Temperature)-kelvin0) },
		func() { j.fail("it says that it is no longer reliable") },
		func() { j.fail("it has become read-only") },
		func() { j.fail("the backup of its volatile memory has failed") },
		func() { j.warn("its persistent memory region has become read-only") },
	} {
		if log.CritWarning>>bit&1 != 0 {
			say()
		}
	}
	if rest := log.CritWarning >> 6; rest != 0 {
		j.warn("it warns of something unknown: bits %#x", rest<<6)
	}
	j.wear(c.Used)
	j.count("media errors", c.MediaErrors)
	return j.report(NVMe, c), nil
}

// wide is a counter of 128 bits.
func wide(n library.Uint128, factor uint64) *int64 {
	if n.Val[1] != 0 {
		return times(1<<63, factor)
	}
	return times(n.Val[0], factor)
}
