// Package smart asks a disk for its own view of its health: SMART of ATA, the
// health log of NVMe, the log pages of SCSI. It judges what comes back.
//
//	Open ──> Asleep ──no──> Report: counters + verdict + reasons
//
// The tests compare what is read with what github.com/anatol/smart.go reads. It is
// not used itself: it opens disks for writing (udev then takes them for changed),
// cannot say whether one sleeps, does not ask an ATA disk for its verdict, takes the
// status that an NVMe disk refuses a command with for success, and brings a table of
// all disks that are known, which is built at each start of a program.
//
// Everything that a disk answers is decoded by functions without effects, which
// do not trust it.
package smart

import (
	"errors"
	"fmt"
	"math"
)

// Protocol is what a disk is asked in.
type Protocol string

const (
	ATA  Protocol = "ata"  // also behind SCSI, by SAT
	NVMe Protocol = "nvme" //
	SCSI Protocol = "scsi" //
	MMC  Protocol = "mmc"  // eMMC: see Wear
)

// Verdicts.
const (
	OK      = "ok"
	Warning = "warning" // it counts errors, is worn, or too hot
	Failing = "failing" // it says so itself
)

// ErrUnsupported says that a disk has no such thing. Virtual ones mostly have
// not.
var ErrUnsupported = errors.New("the disk does not support it")

// Report is what a disk says.
type Report struct {
	Protocol Protocol
	Verdict  string
	Reasons  []string // for people, of Warning and Failing
	Counters Counters
}

// Counters are what a disk counts of itself; nil is what it does not.
type Counters struct {
	Temperature   *int64 // °C
	PowerOnHours  *int64
	PowerCycles   *int64
	Used          *int64 // % of its life
	Written       *int64 // bytes
	Read          *int64 // bytes
	MediaErrors   *int64
	Reallocated   *int64 // sectors
	Pending       *int64 // sectors
	UnsafeCutOffs *int64
}

// judgement collects reasons; the worst one is the verdict.
type judgement struct {
	failing bool
	reasons []string
}

func (j *judgement) fail(format string, args ...any) {
	j.failing = true
	j.reasons = append(j.reasons, fmt.Sprintf(format, args...))
}

func (j *judgement) warn(format string, args ...any) {
	j.reasons = append(j.reasons, fmt.Sprintf(format, args...))
}

// count warns of a counter that should be 0.
func (j *judgement) count(what string, n *int64) {
	if n != nil && *n > 0 {
		j.warn("%s: %d", what, *n)
	}
}

// wear warns of a flash disk beyond the life that it was made for.
func (j *judgement) wear(used *int64) {
	if used != nil && *used >= 100 {
		j.warn("worn: %d %% of the life that it was made for", *used)
	}
}

func (j *judgement) report(p Protocol, c Counters) Report {
	r := Report{Protocol: p, Verdict: OK, Reasons: j.reasons, Counters: c}
	switch {
	case j.failing:
		r.Verdict = Failing
	case len(j.reasons) > 0:
		r.Verdict = Warning
	}
	return r
}

// number is n as a counter; what is too large for one is as much as fits.
func number(n uint64) *int64 {
	v := int64(min(n, math.MaxInt64))
	return &v
}

// times is the product, as much of it as fits.
func times(n, factor uint64) *int64 {
	if factor != 0 && n > math.MaxInt64/factor {
		return number(math.MaxInt64)
	}
	return number(n * factor)
}

// Wear is the report of an eMMC, of which the kernel shows two registers:
// life_time, the used tenths of two kinds of memory, and pre_eol_info, the used
// reserve (JESD84-B51 §7.4.39, §7.4.40). 0 is unknown.
func Wear(lifeA, lifeB, reserve uint8) (Report, bool) {
	if lifeA == 0 && lifeB == 0 && reserve == 0 {
		return Report{}, false
	}
	var j judgement
	var c Counters
	if life := max(lifeA, lifeB); life > 0 {
		c.Used = number(uint64(life) * 10) // 1 is up to 10 %, 11 beyond 100 %
		if life > 10 {
			j.warn("worn: beyond the life that it was made for")
		}
	}
	switch reserve {
	case 2:
		j.warn("80 %% of its reserve of blocks is used up")
	case 3:
		j.fail("90 %% of its reserve of blocks is used up")
	}
	return j.report(MMC, c), true
}
