package storage

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
)

// Of a whole disk zpool makes a table. A disk with that is what the layout wants, if
// the pool is the layout's.
func TestWholeDiskOfAPool(t *testing.T) {
	const text = `
disk:
  one: {device: /dev/sda, content: {type: zfs, pool: tank}}
zpool: {tank: {type: zpool, name: data, datasets: {srv: {type: zfs_fs, mountpoint: /}}}}
`
	zfs, reserved := uuid.MustParse("6a898cc3-1dd2-11b2-99a6-080020736631"), uuid.MustParse("6a945a3b-1dd2-11b2-99a6-080020736631")
	table := func(types ...uuid.UUID) *layout.Table {
		l := &layout.Table{Kind: layout.KindGPT, SectorSize: 512, Size: 8 << 30}
		for i, typ := range types {
			l.Entries = append(l.Entries, layout.Entry{Number: []int{1, 9, 10}[i], Type: typ, FirstLBA: uint64(i+1) << 11, LastLBA: uint64(i+2)<<11 - 1})
		}
		return l
	}
	for name, tt := range map[string]struct {
		table *layout.Table
		found []Found
		wiped bool
	}{
		"blank":                    {nil, nil, true},
		"of the pool":              {table(zfs, reserved), []Found{{Partition: 1, Type: "zfs_member", Label: "data"}}, false},
		"a cache, which has none":  {table(zfs, reserved), []Found{{Partition: 1, Type: "zfs_member"}}, false},
		"of another pool":          {table(zfs, reserved), []Found{{Partition: 1, Type: "zfs_member", Label: "tank"}}, true},
		"a partition more":         {table(zfs, reserved, zfs), []Found{{Partition: 1, Type: "zfs_member", Label: "data"}}, true},
		"a table of somebody else": {table(zfs, zfs), []Found{{Partition: 1, Type: "zfs_member", Label: "data"}}, true},
		"without a table":          {nil, []Found{{Type: "zfs_member", Label: "data"}}, false},
	} {
		l := mustParse(t, text)
		disks := blank(l)
		s := disks["one"]
		s.Table, s.Found = tt.table, tt.found
		disks["one"] = s
		p, err := New(Config{Layout: l, Disks: disks, Seed: seed})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		makes := func(kind string) bool {
			return slices.ContainsFunc(p.Create, func(s Step) bool { return s.Action.Kind() == kind })
		}
		if makes("wipe") != tt.wiped || makes("create-pool") != tt.wiped || !makes("import-pool") {
			t.Errorf("%s: %v", name, p.Create)
		}
	}
}
