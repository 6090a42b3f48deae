package layout

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

var update = flag.Bool("update", false, "rewrite golden files")

// examples are what the documentation shows, one for each kind of layout.
func examples(t testing.TB) map[string]Layout {
	t.Helper()
	files, err := filepath.Glob("testdata/examples/*.yaml")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d examples: %v", len(files), err)
	}
	all := map[string]Layout{}
	for _, f := range files {
		l, err := Load(t.Context(), tool.Exec{}, f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".yaml")] = l
	}
	return all
}

// windows is the disk that the examples keep.yaml and resize.yaml are for.
func windows(sectorSize int) *Table {
	sector := func(mib uint64) uint64 { return mib * mebibyte / uint64(sectorSize) }
	entry := func(n int, label, typ, id string, from, to uint64) Entry {
		return Entry{Number: n, Label: label, Type: uuid.MustParse(codes[typ]), GUID: uuid.MustParse(id), FirstLBA: sector(from), LastLBA: sector(to) - 1, Attributes: 1 << 63}
	}
	return &Table{Kind: KindGPT, GUID: uuid.MustParse("5d3c2a10-8f4e-4a51-9c43-000000000001"), SectorSize: sectorSize, Size: 8 << 30, Entries: []Entry{
		entry(1, "EFI system partition", "EF00", "5d3c2a10-8f4e-4a51-9c43-000000000002", 1, 101),
		entry(2, "Microsoft reserved partition", "0C01", "5d3c2a10-8f4e-4a51-9c43-000000000003", 101, 117),
		entry(3, "Basic data partition", "0700", "3f5a2f0e-6a3c-4b8e-9d56-0c1f6f1f2a11", 117, 7500),
		entry(4, "", "2700", "5d3c2a10-8f4e-4a51-9c43-000000000005", 7500, 8191),
	}}
}

func geometries(l Layout, name string, sectorSize int) map[string]Geometry {
	g := map[string]Geometry{}
	for disk := range l.Disk {
		g[disk] = Geometry{Size: 8 << 30, SectorSize: sectorSize}
	}
	if name == "keep" || name == "resize" {
		g["main"] = Geometry{Size: 8 << 30, SectorSize: sectorSize, Now: windows(sectorSize)}
	}
	return g
}

func TestExamples(t *testing.T) {
	var golden strings.Builder
	all := examples(t)
	for _, name := range sortedKeys(all) {
		l := all[name]
		if err := l.ValidateSystem(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		order, err := l.Order()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		fmt.Fprintf(&golden, "%s: %v\n", name, order)
		for _, sectorSize := range []int{512, 4096} {
			tables, err := Resolve(l, geometries(l, name, sectorSize), seed)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for key, a := range l.MDADM {
				if isTable(a.Content) {
					table, err := ResolveArrayTable(key, a, Geometry{Size: 16 << 30, SectorSize: sectorSize}, seed)
					if err != nil {
						t.Errorf("%s: %v", name, err)
					}
					tables = append(tables, table)
				}
			}
			for _, table := range tables {
				sound(t, table)
				if sectorSize == 512 {
					golden.WriteString(describeTable(table))
				}
			}
		}
		roundTrip(t, name, l)
	}
	file := "testdata/examples.golden"
	if *update {
		if err := os.WriteFile(file, []byte(golden.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), golden.String()); diff != "" {
		t.Error(diff)
	}
}

func describeTable(t Table) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s %s %s\n", t.Disk, t.Kind, t.GUID)
	for _, e := range t.Entries {
		fmt.Fprintf(&b, "    %d %s %q %d-%d", e.Number, e.Name, e.Label, e.FirstLBA, e.LastLBA)
		if t.Kind == KindGPT {
			fmt.Fprintf(&b, " %s %s", e.Type, e.GUID)
		}
		if e.Attributes != 0 {
			fmt.Fprintf(&b, " attributes %#x", e.Attributes)
		}
		if e.MBR != nil {
			fmt.Fprintf(&b, " mbr %#02x %s boot %v", e.MBR.Type, e.MBR.Part, e.MBR.Bootable)
		}
		if e.Kept {
			fmt.Fprintf(&b, " kept, ended at %d", e.OldLast)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// sound: no partition overlaps another or what the table itself takes.
func sound(t testing.TB, table Table) {
	t.Helper()
	first, last := uint64(1), uint64(table.Size)/uint64(table.SectorSize)-1
	if table.Kind == KindGPT {
		first, last, _ = Usable(Geometry{Size: table.Size, SectorSize: table.SectorSize})
	}
	numbers := map[int]bool{}
	for i, e := range table.Entries {
		if e.FirstLBA < first || e.FirstLBA > e.LastLBA || e.LastLBA > last {
			t.Errorf("%s: entry %+v is outside of %d to %d", table.Disk, e, first, last)
		}
		if numbers[e.Number] || e.Number < 1 || e.GUID == uuid.Nil || table.Kind == KindGPT && e.Number > maxEntries {
			t.Errorf("%s: number or GUID of %+v", table.Disk, e)
		}
		numbers[e.Number] = true
		for _, o := range table.Entries[:i] {
			inside := o.MBR != nil && e.MBR != nil && o.MBR.Part == "extended" && e.MBR.Part == "logical"
			switch {
			case inside && (e.FirstLBA <= o.FirstLBA || e.LastLBA > o.LastLBA):
				t.Errorf("%s: logical %+v is not in %+v", table.Disk, e, o)
			case !inside && e.FirstLBA <= o.LastLBA && o.FirstLBA <= e.LastLBA:
				t.Errorf("%s: %+v overlaps %+v", table.Disk, e, o)
			}
		}
	}
}

// roundTrip: a layout is the same after a journey as JSON, by both readers.
func roundTrip(t *testing.T, name string, l Layout) {
	t.Helper()
	data, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	var again Layout
	if err := json.Unmarshal(data, &again); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	if diff := cmp.Diff(l, again, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
	parsed, err := Parse(name, data)
	if diff := cmp.Diff(l, parsed, cmpopts.EquateEmpty()); diff != "" || err != nil {
		t.Errorf("%s: %v %s", name, err, diff)
	}
}

// TestPlanningTime: reading, checking and resolving the largest layout that a
// table has room for is a small part of the 50 ms that planning may take. It
// counts the thread's time, so that a busy machine does not matter.
func TestPlanningTime(t *testing.T) {
	data, g := largest()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	best := time.Hour
	for range 5 {
		start := threadTime(t)
		l, err := Parse("largest.json", data)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Resolve(l, g, seed); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Order(); err != nil {
			t.Fatal(err)
		}
		best = min(best, threadTime(t)-start)
	}
	t.Logf("%d bytes in %v", len(data), best)
	if best > 30*time.Millisecond {
		t.Errorf("took %v", best)
	}
}

func threadTime(t *testing.T) time.Duration {
	const thread = 1 // RUSAGE_THREAD, getrusage(2)
	var u syscall.Rusage
	if err := syscall.Getrusage(thread, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// largest has 128 partitions, 100 logical volumes and 100 subvolumes.
func largest() ([]byte, map[string]Geometry) {
	gpt, lvs, subvolumes := map[string]Partition{}, map[string]LogicalVolume{}, map[string]Subvolume{}
	for i := range 126 {
		gpt[fmt.Sprintf("p%d", i)] = Partition{Size: "10M", Content: &Content{&Filesystem{Format: "ext4", Mountpoint: fmt.Sprintf("/p/%d", i)}}}
	}
	for i := range 100 {
		lvs[fmt.Sprintf("lv%d", i)] = LogicalVolume{Size: "1G", Content: &Content{&Filesystem{Format: "ext4", Mountpoint: fmt.Sprintf("/lv/%d", i)}}}
		subvolumes[fmt.Sprintf("/s%d", i)] = Subvolume{Mountpoint: fmt.Sprintf("/s/%d", i)}
	}
	gpt["pv"] = Partition{Size: "110G", Content: &Content{&LVMPV{VG: "vg"}}}
	gpt["root"] = Partition{Size: "100%", Content: &Content{&Btrfs{Mountpoint: "/", Subvolumes: subvolumes}}}
	data, err := json.Marshal(Layout{
		Disk:  map[string]Disk{"main": {Type: "disk", Device: "/dev/sda", Content: &Content{&GPT{Partitions: gpt}}}},
		LVMVG: map[string]VolumeGroup{"vg": {Type: "lvm_vg", LVs: lvs}},
	})
	if err != nil {
		panic(err)
	}
	return data, map[string]Geometry{"main": {Size: 1 << 40, SectorSize: 512}}
}

func BenchmarkLargest(b *testing.B) {
	data, g := largest()
	for b.Loop() {
		l, err := Parse("largest.json", data)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := Resolve(l, g, seed); err != nil {
			b.Fatal(err)
		}
	}
}

// TestExamplesInNix: what the examples say can be said in Nix as well.
func TestExamplesInNix(t *testing.T) {
	run := tooltest.Need(t, "nix-instantiate")
	all := examples(t)
	for _, name := range []string{"btrfs-swap", "keep", "luks-mdadm", "zfs"} {
		t.Run(name, func(t *testing.T) {
			l := all[name]
			data, err := json.Marshal(l)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			nix := filepath.Join(dir, "disks.nix")
			text := `{ disko.devices = builtins.fromJSON (builtins.readFile ./disks.json); }`
			if err := os.WriteFile(filepath.Join(dir, "disks.json"), data, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(nix, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Load(t.Context(), run, nix)
			if diff := cmp.Diff(l, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}
