package layout

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// addExamples seeds a fuzz target with all examples, in YAML and as JSON.
func addExamples(f *testing.F) {
	files, err := filepath.Glob("testdata/examples/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal("no examples", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		l, err := Parse(file, data)
		if err != nil {
			f.Fatal(err)
		}
		if data, err = json.Marshal(l); err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
}

// FuzzParse: what is accepted can be settled without overlaps, or is refused
// with an error, and is the same after a journey as JSON.
func FuzzParse(f *testing.F) {
	addExamples(f)
	f.Add([]byte(standard))
	f.Add([]byte(`{"disk":{"a":{"content":{"type":"gpt","partitions":{"r":{"start":"-9223372036854775807","end":"+9223372036854775807s","content":{"type":"filesystem","format":"ext4","mountpoint":"/"}}}}}}}`))
	f.Add([]byte(table("msdos", `{"part-type": "extended", "start": "10%"}, {"part-type": "logical", "start": "0%", "end": "1s"}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse("f", data)
		if err != nil {
			if strings.TrimSpace(err.Error()) == "" {
				t.Error("an error that says nothing")
			}
			return
		}
		if _, err := l.Order(); err != nil {
			t.Error(err)
		}
		l.Needs()
		for name := range l.Disk {
			for _, sectorSize := range []int{512, 4096} {
				if !l.Disk[name].HasTable() {
					continue
				}
				table, err := ResolveTable(name, l.Disk[name], Geometry{Size: 1 << 30, SectorSize: sectorSize, Now: windows(sectorSize)}, seed)
				if err == nil {
					sound(t, table)
				}
			}
		}
		text, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse("g", text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	})
}

// FuzzKeep: whatever table is on a disk, what is kept stays where it is, and
// nothing is put over it.
func FuzzKeep(f *testing.F) {
	f.Add(uint64(2048), uint64(4095), uint64(8192), uint64(10000), "3M", "100%")
	f.Add(uint64(0), uint64(1)<<63, uint64(34), uint64(34), "100%", "1")
	f.Add(uint64(100), uint64(50), uint64(1<<21), uint64(1<<22), "0", "9P")
	f.Fuzz(func(t *testing.T, aFirst, aLast, bFirst, bLast uint64, resize, size string) {
		now := &Table{Kind: KindGPT, Entries: []Entry{
			{Number: 1, Label: "a", GUID: uuid.UUID{1}, FirstLBA: aFirst, LastLBA: aLast},
			{Number: 2, Label: "b", GUID: uuid.UUID{2}, FirstLBA: bFirst, LastLBA: bLast},
		}}
		l := Layout{Disk: map[string]Disk{"d": {Device: "/dev/d", Content: &Content{&GPT{Partitions: map[string]Partition{
			"a": {Keep: true, Resize: resize}, "b": {Keep: true}, "n": {Size: size}, "m": {Size: "1M"},
		}}}}}}
		tables, err := Resolve(l, map[string]Geometry{"d": {Size: 1 << 30, SectorSize: 512, Now: now}}, seed)
		if err != nil {
			return
		}
		sound(t, tables[0])
		for _, e := range tables[0].Entries {
			if e.Name == "a" && (e.FirstLBA != aFirst || e.OldLast != aLast || !e.Kept) || e.Name == "b" && (e.FirstLBA != bFirst || e.LastLBA != bLast) {
				t.Errorf("kept partition is %+v", e)
			}
		}
	})
}
