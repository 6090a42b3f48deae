package layout

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Properties are what a Match looks at, of one disk of a machine.
type Properties struct {
	Serial     string
	WWN        string // with or without "0x", "naa.", "eui."
	Model      string
	Size       int64 // bytes
	Transport  string
	Rotational bool
	Removable  bool
	Table      string // GUID of the GPT on it; "" when it has none
}

var transports = []string{"nvme", "sata", "usb", "mmc", "virtio", "scsi", "xen"}

// Matches says whether a disk is what the layout asks for. A Match in which
// nothing is set matches no disk.
func (m Match) Matches(p Properties) bool {
	if m == (Match{}) {
		return false
	}
	size, err := parseSizeRange(m.Size)
	return err == nil && size.holds(p.Size) &&
		equal(m.Serial, p.Serial) &&
		equal(bareWWN(m.WWN), bareWWN(p.WWN)) &&
		(m.Model == "" || glob(strings.TrimSpace(m.Model), strings.TrimSpace(p.Model))) &&
		equal(m.Transport, p.Transport) &&
		(m.Rotational == nil || *m.Rotational == p.Rotational) &&
		(m.Removable == nil || *m.Removable == p.Removable) &&
		equal(strings.ToLower(m.Table), strings.ToLower(p.Table))
}

// String lists what is asked for.
func (m Match) String() string {
	var list []string
	for _, f := range []struct{ key, value string }{
		{"serial", m.Serial}, {"wwn", m.WWN}, {"model", m.Model}, {"size", m.Size}, {"transport", m.Transport}, {"table", m.Table},
	} {
		if f.value != "" {
			list = append(list, f.key+" "+f.value)
		}
	}
	if m.Rotational != nil {
		list = append(list, "rotational "+strconv.FormatBool(*m.Rotational))
	}
	if m.Removable != nil {
		list = append(list, "removable "+strconv.FormatBool(*m.Removable))
	}
	return strings.Join(list, ", ")
}

func equal(want, got string) bool {
	return want == "" || strings.TrimSpace(want) == strings.TrimSpace(got)
}

func bareWWN(s string) string {
	s = strings.ToLower(strings.TrimSpace(s))
	for _, prefix := range []string{"wwn-", "naa.", "eui.", "nvme.", "0x"} {
		s = strings.TrimPrefix(s, prefix)
	}
	return s
}

// glob knows * and ?.
func glob(pattern, s string) bool {
	star, mark, i, j := -1, 0, 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, mark = i, j
			i++
		case i < len(pattern) && (pattern[i] == '?' || pattern[i] == s[j]):
			i, j = i+1, j+1
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

// sizeRange is inclusive, in bytes.
type sizeRange struct{ low, high int64 }

func (r sizeRange) holds(n int64) bool { return r.low <= n && n <= r.high }

// parseSizeRange reads "500G" (within 1 %), ">=100G", "<2T", "100G..600G".
func parseSizeRange(s string) (sizeRange, error) {
	text := strings.ReplaceAll(s, " ", "")
	all := sizeRange{0, math.MaxInt64}
	if text == "" {
		return all, nil
	}
	if low, high, ok := strings.Cut(text, ".."); ok {
		return between(low, high, s)
	}
	for _, op := range []string{">=", "<=", ">", "<"} {
		rest, ok := strings.CutPrefix(text, op)
		if !ok {
			continue
		}
		n, err := diskSize(rest)
		if err != nil {
			return all, badRange(s)
		}
		switch op {
		case ">=":
			all.low = n
		case ">":
			all.low = n + 1
		case "<=":
			all.high = n
		case "<":
			all.high = n - 1
		}
		return all, nil
	}
	n, err := diskSize(text)
	if err != nil {
		return all, badRange(s)
	}
	return sizeRange{n - n/100, n + n/100}, nil
}

func between(low, high, whole string) (sizeRange, error) {
	a, err1 := diskSize(low)
	b, err2 := diskSize(high)
	if err := errors.Join(err1, err2); err != nil {
		return sizeRange{}, badRange(whole)
	}
	if a > b {
		return sizeRange{}, fmt.Errorf("read size range %q: it ends before it begins", whole)
	}
	return sizeRange{a, b}, nil
}

// diskSize reads a size as it is printed on disks: units of 1000; of 1024 only
// when it says so (GiB).
func diskSize(s string) (int64, error) {
	if strings.HasPrefix(s, "-") || s == "" {
		return 0, badRange(s)
	}
	number := strings.TrimRight(s, "kKMGTPiB")
	unit := strings.ToLower(s[len(number):])
	base := 1000.0
	if strings.HasSuffix(unit, "ib") {
		base, unit = 1024, strings.TrimSuffix(unit, "ib")
	}
	unit = strings.TrimSuffix(unit, "b")
	power := strings.Index(" kmgtp", or(unit, " "))
	n, err := strconv.ParseFloat(number, 64)
	if n *= math.Pow(base, float64(power)); err != nil || power < 0 || len(unit) > 1 || !(n > 0 && n < 1<<62) {
		return 0, badRange(s)
	}
	return int64(n), nil
}

func badRange(s string) error {
	return fmt.Errorf("read size range %.40q: expected a size such as 500G, >=100G, <2T or 100G..600G", s)
}

func (c *check) match(at string, m Match) {
	if m == (Match{}) {
		c.fail(at, "says nothing that a disk could be chosen by")
	}
	c.oneOf(at+".transport", "transport", m.Transport, transports...)
	if _, err := parseSizeRange(m.Size); err != nil {
		c.fail(at+".size", "%v", err)
	}
	if m.Table != "" && !guidPattern.MatchString(m.Table) {
		c.fail(at+".table", "expected a GUID, got %q", m.Table)
	}
	if slices.Contains([]string{"*", "?*"}, m.Model) {
		c.fail(at+".model", "%q is every model", m.Model)
	}
}
