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
	digits := strings.TrimRight(rest, "KMGTPSkmgtps")
	switch unit := strings.ToUpper(rest[len(digits):]); unit {
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
	last := p.End
	switch {
	case last != "":
	case p.Size == "100%":
		last = "-0"
	default:
		last = "+" + or(p.Size, "0")
	}
	end, err = parseQuantity(last)
	return start, end, err
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
