package storage

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/victorinix/vic/disk/layout"
)

// String names the disk for people: "/dev/vda (serial QM0001, 8.0 GiB)".
func (d Disk) String() string {
	id := "bus path " + d.Path
	switch {
	case d.Path == "" && d.Serial == "" && d.WWN == "":
		return fmt.Sprintf("%s (%s)", d.Device, Bytes(d.Size))
	case d.Serial != "":
		id = "serial " + d.Serial
	case d.WWN != "":
		id = "WWN " + d.WWN
	}
	return fmt.Sprintf("%s (%s, %s)", d.Device, id, Bytes(d.Size))
}

// describe is the disk before and after.
func (d diskWork) describe(anew bool) DiskPlan {
	p := DiskPlan{Name: d.name, Disk: d.state.Disk, Before: d.state.Table, Found: d.state.Found, After: d.table}
	if d.table == nil && d.spec.Content != nil {
		p.Whole = signature(*d.spec.Content)
	}
	if !d.untouched(anew) {
		p.Lost = d.lost()
	}
	return p
}

// lost is what is on the disk and will not be there any more.
func (d diskWork) lost() []string {
	var list []string
	for _, f := range d.state.Found {
		if f.Partition == 0 {
			list = append(list, "on the whole disk: "+f.String())
		}
	}
	if d.state.Table == nil {
		return list
	}
	if why := d.state.Table.Lost; why != "" {
		list = append(list, "what a damaged partition table does not show: "+why)
	}
	for _, e := range d.state.Table.Entries {
		if d.keeps(e) {
			continue
		}
		what := "nothing known"
		if f := d.found(e.Number); f != nil {
			what = f.String()
		}
		list = append(list, fmt.Sprintf("partition %d %q, %s: %s", e.Number, e.Label, Bytes(e.Size(d.state.Table.SectorSize)), what))
	}
	return list
}

func (d diskWork) keeps(e layout.Entry) bool {
	return d.table != nil && slices.ContainsFunc(d.table.Entries, func(n layout.Entry) bool { return n.Kept && n.Number == e.Number })
}

// String is "ext4 "home"".
func (f Found) String() string {
	if name := cmp.Or(f.Label, f.UUID); name != "" {
		return fmt.Sprintf("%s %q", f.Type, name)
	}
	return f.Type
}
