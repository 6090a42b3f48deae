package layout

import (
	"fmt"

	"github.com/google/uuid"
)

// ResolveTable settles the table of one disk, or of anything else that holds
// one: d.Content is a *GPT or *MBR. See Resolve.
func ResolveTable(name string, d Disk, g Geometry, seed uuid.UUID) (Table, error) {
	return resolve(name, d, g, seed)
}

// ParseSize reads a size in bytes, with a unit of 1024 or without one: "10G",
// "512M", "4096".
func ParseSize(s string) (int64, error) {
	q, err := parseQuantity(s)
	if err != nil || q.sign != 0 {
		return 0, fmt.Errorf("read size %.40q: expected a number with K, M, G, T or P, such as 512M", s)
	}
	return int64(q.n << q.shift), nil
}
