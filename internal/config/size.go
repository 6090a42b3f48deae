package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ParseSize reads a number of bytes: 4096, 512K, 8G, 1T (powers of 1024, also
// written KiB, MiB, ...). Decimal units (MB) are refused, not guessed at.
func ParseSize(s string) (int64, error) {
	digits := strings.TrimRight(s, "KMGTiB")
	shift, ok := map[string]int{
		"": 0, "B": 0, "K": 10, "KiB": 10, "M": 20, "MiB": 20, "G": 30, "GiB": 30, "T": 40, "TiB": 40,
	}[s[len(digits):]]
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || !ok || n > math.MaxInt64>>shift {
		return 0, fmt.Errorf("read size %.40q: expected a number of bytes such as 4096, 512M or 8G", s)
	}
	return int64(n) << shift, nil
}

// FormatSize writes a size in the largest unit that keeps it exact.
func FormatSize(n int64) string {
	for _, u := range []struct {
		shift int
		name  string
	}{{40, "T"}, {30, "G"}, {20, "M"}, {10, "K"}} {
		if n != 0 && n%(1<<u.shift) == 0 {
			return strconv.FormatInt(n>>u.shift, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}
