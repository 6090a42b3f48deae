package layout

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// quantity is a place or a length as sgdisk(8) writes it: "+512M", "-1G",
// "2048", "34s", "0".
type quantity struct {
	sign  byte // '+', '-' or 0
	n     uint64
	shift uint // of the unit in bytes; sectors when inSectors
	// inSectors: no unit was given.
	inSectors bool
}

func parseQuantity(s string) (quantity, error) {
	q, rest := quantity{}, s
	if strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, "-") {
		q.sign, rest = rest[0], rest[1:]
	}
	digits := strings.TrimRight(rest, "KMGTPSkmgtpsiB")
	unit := strings.ToUpper(rest[len(digits):])
	if len(unit) == 3 && unit[1:] == "IB" {
		unit = unit[:1] // sgdisk's K is KiB
	}
	switch unit {
	case "", "S":
		q.inSectors = true
	case "K", "M", "G", "T", "P":
		q.shift = 10 * uint(1+strings.Index("KMGTP", unit))
	default:
		return q, badQuantity(s)
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n > math.MaxInt64>>q.shift {
		return q, badQuantity(s)
	}
	q.n = n
	return q, nil
}

func badQuantity(s string) error {
	return fmt.Errorf("read size %.40q: expected a number of sectors, or of K, M, G, T or P, such as 512M", s)
}

// sectors is the quantity in sectors, rounded down.
func (q quantity) sectors(sectorSize int) uint64 {
	if q.inSectors {
		return q.n
	}
	return q.n << q.shift / uint64(sectorSize)
}

// span returns where a partition starts and ends, with disko's defaults.
func (p Partition) span() (start, end quantity, err error) {
	if start, err = parseQuantity(or(p.Start, "0")); err != nil {
		return start, end, err
	}
	end, err = parseQuantity(or(p.End, p.sizeEnd()))
	return start, end, err
}

// sizeEnd is the end that a size stands for.
func (p Partition) sizeEnd() string {
	if p.Size == "100%" {
		return "-0"
	}
	return "+" + or(p.Size, "0")
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// bytesString renders a size for errors: "512 MiB", "7.5 GiB".
func bytesString(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) + " " + units[i]
}

// ParseSize reads a size in bytes: "10G", "1.5GiB", "512". Units are powers of
// 1024, as lvcreate(8), zfs(8) and btrfs(8) have them.
func ParseSize(s string) (int64, error) {
	number := strings.TrimRight(s, "bBkKmMgGtTpPeEiI")
	unit := strings.ToUpper(s[len(number):])
	if len(unit) > 1 {
		unit = strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "I")
	}
	power := strings.Index("BKMGTPE", or(unit, "B"))
	if power < 0 || len(unit) > 1 || number == "" || strings.Trim(number, "0123456789.") != "" {
		return 0, fmt.Errorf("read size %.40q: expected a number with K, M, G, T or P, such as 10G", s)
	}
	if n, err := strconv.ParseInt(number, 10, 64); err == nil {
		if n > math.MaxInt64>>(10*power) {
			return 0, fmt.Errorf("read size %.40q: it is too large", s)
		}
		return n << (10 * power), nil
	}
	f, err := strconv.ParseFloat(number, 64)
	if f *= math.Pow(1024, float64(power)); err != nil || f >= math.MaxInt64 {
		return 0, fmt.Errorf("read size %.40q: expected a number with K, M, G, T or P, such as 10G", s)
	}
	return int64(f), nil
}
