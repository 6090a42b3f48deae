package layout

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// place is where a partition of a table starts or ends, as parted(8) reads it.
type place struct {
	at       uint64 // sector
	radius   uint64 // sectors by which it may be moved
	sectors  uint64 // of the device
	negative bool
	// binary: given in KiB, MiB, ...: exact, and an end is the sector before.
	binary bool
}

func (p place) low() uint64 {
	if p.radius > p.at {
		return 0
	}
	return p.at - p.radius
}

func (p place) high() uint64 { return min(p.at+p.radius, p.sectors-1) }

// parsePlace reads "0%", "33%", "1MiB", "500M" (of 10^6 bytes), "-1GB" (from the end),
// "2048s"; a number alone is in MB. What is given in powers of 10, or percent,
// may be moved by half of its unit.
func parsePlace(s string, g Geometry) (place, error) {
	text, minus := strings.CutPrefix(strings.TrimSpace(s), "-")
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ% ")
	unit := strings.ToLower(strings.TrimSpace(text[len(number):]))
	n, err := strconv.ParseFloat(number, 64)
	if unit == "%" && (minus || strings.Contains(number, ".")) {
		return place{}, badPlace(s) // parted reads no such percentage
	}
	if err != nil || n < 0 || math.IsInf(n, 0) || math.IsNaN(n) || strings.ContainsAny(number, "xXpPeE_") {
		return place{}, badPlace(s)
	}
	size, binary, ok := placeUnit(unit, g)
	if !ok {
		return place{}, badPlace(s)
	}
	if unit != "%" && n > 0 && n < 1 {
		return place{}, fmt.Errorf("read place %.40q: use a smaller unit in place of a value below 1", s)
	}
	sectors := uint64(g.Size) / uint64(g.SectorSize)
	at := n * size / float64(g.SectorSize)
	if minus {
		at = float64(sectors) - math.Trunc(at)
	}
	p := place{sectors: sectors, binary: binary, negative: minus}
	if !binary {
		p.radius = uint64(max(0, math.Floor(math.Ceil(size/float64(g.SectorSize))/2)-1))
	}
	if at < 0 || at-float64(p.radius) > float64(sectors)-1 {
		return place{}, fmt.Errorf("%s is outside of the device of %s", s, bytesString(g.Size))
	}
	p.at = min(uint64(at), max(sectors, 1)-1)
	return p, nil
}

func badPlace(s string) error {
	return fmt.Errorf("read place %.40q: expected a percentage, or a number with s, B, kB, MB, GB, TB, KiB, MiB, GiB or TiB", s)
}

// placeUnit is the size of a unit in bytes.
func placeUnit(unit string, g Geometry) (size float64, binary, ok bool) {
	switch unit {
	case "%":
		return math.Max(1, math.Trunc(float64(g.Size)/100)), false, true
	case "s":
		return float64(g.SectorSize), false, true
	case "b":
		return 1, false, true
	case "":
		unit = "m"
	}
	power := strings.IndexByte("kmgtp", unit[0]) + 1
	switch rest := unit[1:]; {
	case power == 0:
		return 0, false, false
	case rest == "" || rest == "b":
		return math.Pow(1000, float64(power)), false, true
	case rest == "i" || rest == "ib":
		return math.Pow(1024, float64(power)), true, true
	}
	return 0, false, false
}
