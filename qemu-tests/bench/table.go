package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Row is one line of the table.
type Row struct {
	What     string
	Measured float64
	Limit    float64 // 0: there is no target
	Unit     string  // "MB", "s", or "x" for a ratio
	How      string
}

// Met says whether the target is met.
func (r Row) Met() bool { return r.Limit == 0 || r.Measured <= r.Limit }

func (r Row) cells() []string {
	target, met := "", ""
	if r.Limit > 0 {
		target, met = "at most "+quantity(r.Limit, r.Unit), "yes"
		if !r.Met() {
			met = "**no**"
		}
	}
	return []string{r.What, quantity(r.Measured, r.Unit), target, met, r.How}
}

func quantity(v float64, unit string) string {
	switch unit {
	case "x":
		return fmt.Sprintf("%.2f times", v)
	case "MB":
		return fmt.Sprintf("%.1f MB", v)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

// WriteTable writes rows as a Markdown table.
func WriteTable(w io.Writer, rows []Row) error {
	lines := [][]string{{"what", "measured", "target", "met", "how"}, {"---", "---:", "---:", "---", "---"}}
	for _, r := range rows {
		lines = append(lines, r.cells())
	}
	for _, l := range lines {
		if _, err := fmt.Fprintf(w, "| %s |\n", strings.Join(l, " | ")); err != nil {
			return err
		}
	}
	return nil
}

// Median is the middle of values, or the mean of the two in the middle.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
