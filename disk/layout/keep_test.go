package layout

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// keeping resolves partitions for a disk of 100 MiB that has
//
//	1 a 1 MiB to 20 MiB, 3 c 30 MiB to 50 MiB, 2 b 60 MiB to 80 MiB
func keeping(t *testing.T, partitions string, change func(*Geometry)) (Table, error) {
	t.Helper()
	now := &Table{Kind: KindGPT, GUID: uuid.UUID{9}, SectorSize: 512, Size: 100 << 20}
	for _, p := range []struct {
		number   int
		label    string
		from, to uint64
	}{{1, "a", 1, 20}, {3, "c", 30, 50}, {2, "b", 60, 80}} {
		now.Entries = append(now.Entries, Entry{Number: p.number, Label: p.label, Type: TypeESP, GUID: uuid.UUID{byte(p.number)}, FirstLBA: p.from * 2048, LastLBA: p.to*2048 - 1})
	}
	l := mustParse(t, disk(partitions, ""))
	g := Geometry{Size: 100 << 20, SectorSize: 512, Now: now}
	if change != nil {
		change(&g)
	}
	table, err := ResolveTable("a", l.Disk["a"], g, seed)
	if err == nil {
		sound(t, table)
	}
	return table, err
}

// summary is "NUMBER KEY FIRST-LAST" in MiB, with ! where it is kept.
func summary(table Table) string {
	var list []string
	for _, e := range table.Entries {
		s := fmt.Sprintf("%d %s %d-%d", e.Number, e.Name, e.FirstLBA/2048, (e.LastLBA+1)/2048)
		if e.Kept {
			s += "!"
		}
		if e.Kept && e.OldLast != e.LastLBA {
			s += fmt.Sprintf(" was %d", (e.OldLast+1)/2048)
		}
		list = append(list, s)
	}
	return strings.Join(list, ", ")
}

func TestKeep(t *testing.T) {
	for _, tt := range []struct{ partitions, want string }{
		{`"b": {"keep": true}`, "2 b 60-80!"},
		{`"c": {"keep": true}, "b": {"keep": true}, "n": {"size": "5M"}, "m": {"size": "100%"}`, "1 n 1-6, 2 b 60-80!, 3 c 30-50!, 4 m 6-30"},
		{`"x": {"keep": true, "uuid": "01000000-0000-0000-0000-000000000000", "label": "new"}`, "1 x 1-20!"},
		{`"x": {"keep": true, "label": "c"}, "n": {"start": "55M", "size": "5M"}`, "1 n 55-60, 3 x 30-50!"},
		{`"a": {"keep": true, "size": "19M"}`, "1 a 1-20!"},
		{`"a": {"keep": true, "size": "100%"}`, "1 a 1-20!"},
		{`"a": {"keep": true, "resize": "10M"}, "n": {"size": "100%"}`, "1 a 1-11! was 20, 2 n 11-99"},
		{`"a": {"keep": true, "resize": "25M"}`, "1 a 1-26! was 20"},
		{`"a": {"keep": true, "resize": "100%"}, "c": {"keep": true, "resize": "100%"}, "b": {"keep": true, "resize": "100%"}`, "1 a 1-30! was 20, 2 b 60-99! was 80, 3 c 30-60! was 50"},
		{`"b": {"keep": true, "resize": "100%"}, "n": {"size": "100%"}`, "1 n 1-60, 2 b 60-99! was 80"},
	} {
		table, err := keeping(t, tt.partitions, nil)
		if got := summary(table); err != nil || got != tt.want {
			t.Errorf("%s: got %s %v, want %s", tt.partitions, got, err, tt.want)
		}
	}
}

// TestKeptStaysAsItIs: GUIDs, types, labels and attributes, unless the layout
// gives them.
func TestKeptStaysAsItIs(t *testing.T) {
	mark := func(g *Geometry) { g.Now.Entries[0].Attributes = 1 << 63 }
	table, err := keeping(t, `"a": {"keep": true}, "n": {"size": "1M"}`, mark)
	if err != nil {
		t.Fatal(err)
	}
	e := table.Entries[0]
	if table.GUID != (uuid.UUID{9}) || e.GUID != (uuid.UUID{1}) || e.Type != TypeESP || e.Label != "a" || e.Attributes != 1<<63 || e.OldLast != e.LastLBA {
		t.Errorf("got %+v", table)
	}
	table, err = keeping(t, `"x": {"keep": true, "uuid": "01000000-0000-0000-0000-000000000000", "type": "8300", "label": "y", "attributes": [2]}`, mark)
	if e := table.Entries[0]; err != nil || e.Type != TypeLinux || e.Label != "y" || e.Attributes != 4 {
		t.Errorf("got %+v %v", e, err)
	}
}

func TestKeepErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		partitions string
		change     func(*Geometry)
		want       []string
	}{
		"missing":      {`"d": {"keep": true}, "x": {"keep": true, "uuid": "01020000-0000-0000-0000-000000000000"}, "y": {"keep": true, "label": "z"}`, nil, []string{`keep partition d: no partition is labelled "disk-a-d" or "d"; there are: 1 "a" 19 MiB (01000000-0000-0000-0000-000000000000), 3 "c" 20 MiB`, `keep partition x: no partition has the UUID`, `keep partition y: no partition is labelled "z"`}},
		"too small":    {`"a": {"keep": true, "size": "20M"}`, nil, []string{`keep partition a: it is too small: 19 MiB, the layout wants 20M`}},
		"no table":     {`"a": {"keep": true}`, func(g *Geometry) { g.Now = nil }, []string{`the device has no partition table`}},
		"msdos":        {`"a": {"keep": true}`, func(g *Geometry) { g.Now.Kind = KindMBR }, []string{`has a table of type msdos`}},
		"lost":         {`"a": {"keep": true}, "n": {"size": "1M"}`, func(g *Geometry) { g.Now.Lost = "neither copy is valid" }, []string{`keep partition a: the partition table of the device is damaged, and partitions may be missing from it: neither copy is valid; repair it first`}},
		"empty":        {`"a": {"keep": true}`, func(g *Geometry) { g.Now.Entries = nil }, []string{`there are no partitions`}},
		"same":         {`"a": {"keep": true}, "b": {"keep": true, "label": "a2", "uuid": "01000000-0000-0000-0000-000000000000"}`, nil, []string{`keep partition b: is the same partition as a`}},
		"twice":        {`"a": {"keep": true}`, func(g *Geometry) { g.Now.Entries[1].Label = "a" }, []string{`2 partitions are labelled "a": give its uuid`}},
		"overlap":      {`"c": {"keep": true}, "n": {"start": "40M", "size": "5M"}`, nil, []string{`partition n: its start and end are not within one free range; kept: c (30 MiB to 50 MiB)`}},
		"into":         {`"c": {"keep": true}, "n": {"start": "20M", "size": "15M"}`, nil, []string{`partition n: its start and end are not within one free range`}},
		"resize":       {`"a": {"keep": true, "resize": "30M"}, "c": {"keep": true}`, nil, []string{`keep partition a: resize it to 30M: there is room for 29 MiB`}},
		"resize 0":     {`"a": {"keep": true, "resize": "0"}`, nil, []string{`resize it to 0`}},
		"in the table": {`"a": {"keep": true}`, func(g *Geometry) { g.Now.Entries[0].FirstLBA = 20 }, []string{`sectors 20 to 40959 are not free`}},
		"at sector 0":  {`"a": {"keep": true, "resize": "100%"}`, func(g *Geometry) { g.Now.Entries[0].FirstLBA = 0 }, []string{`are not free`}},
		"backwards":    {`"a": {"keep": true}`, func(g *Geometry) { g.Now.Entries[0].LastLBA = 2000 }, []string{`are not free`}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := keeping(t, tt.partitions, tt.change)
			for _, w := range tt.want {
				if err == nil || !strings.Contains(err.Error(), w) {
					t.Errorf("got %v, want %s", err, w)
				}
			}
		})
	}
}

// TestKeptDiskTooSmall: a larger disk would do.
func TestKeptDiskTooSmall(t *testing.T) {
	_, err := keeping(t, `"a": {"keep": true}, "b": {"keep": true}, "n": {"size": "50M"}`, nil)
	if !errors.Is(err, ErrTooSmall) || err.Error() != "device is 100 MiB, layout needs 131 MiB" {
		t.Errorf("got %v", err)
	}
}
