package disk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
)

// part is an entry of an MBR.
func part(number int, first, last uint64, typ byte, kind string) layout.Entry {
	return layout.Entry{Number: number, FirstLBA: first, LastLBA: last, MBR: &layout.MBREntry{Type: typ, Part: kind}}
}

// mbrTable has two primaries, and three logicals in an extended partition.
func mbrTable(size int64, sectorSize int) layout.Table {
	boot := part(1, 2048, 10239, 0x0c, partPrimary)
	boot.MBR.Bootable = true
	return layout.Table{
		Kind: layout.KindMBR, GUID: uuid.MustParse("c0ffee12-0000-0000-0000-000000000000"), Size: size, SectorSize: sectorSize,
		Entries: []layout.Entry{
			boot, part(3, 63488, 65535, 0x83, partPrimary), part(4, 10240, 61439, 0x0f, partExtended),
			part(5, 12288, 14335, 0x82, partLogical), part(6, 16384, 30719, 0x83, partLogical), part(7, 30721, 61439, 0x8e, partLogical),
		},
	}
}

// sfdiskTable is what sfdisk -J says.
type sfdiskTable struct {
	Table struct {
		Label, ID  string
		Sectorsize int
		Partitions []struct {
			Node        string
			Start, Size uint64
			Type        string
			Bootable    bool
		}
	} `json:"partitiontable"`
}

func sfdisk(t *testing.T, dev string) sfdiskTable {
	t.Helper()
	var s sfdiskTable
	if err := json.Unmarshal([]byte(run(t, "sfdisk", "-J", dev)), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestWriteMBR(t *testing.T) {
	for _, sectorSize := range []int{512, 4096} {
		size := int64(65536 * sectorSize)
		dev := loop(t, size, sectorSize)
		d := openRW(t, dev)
		code := bytes.Repeat([]byte("boot"), 110)
		if _, err := d.WriteAt(code, 0); err != nil {
			t.Fatal(err)
		}
		table := mbrTable(size, sectorSize)
		if err := WriteMBR(t.Context(), d, table); err != nil {
			t.Fatal(err)
		}
		got, err := ReadTable(d)
		if diff := cmp.Diff(table, got); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
		s := sfdisk(t, dev).Table
		if s.Label != "dos" || s.ID != "0xc0ffee12" || len(s.Partitions) != len(table.Entries) {
			t.Fatalf("sfdisk -J: %+v", s)
		}
		for i, p := range s.Partitions {
			e := table.Entries[i]
			if p.Node != PartitionPath(dev, e.Number) || p.Start != e.FirstLBA || p.Size != e.LastLBA-e.FirstLBA+1 ||
				p.Type != fmt.Sprintf("%x", e.MBR.Type) || p.Bootable != e.MBR.Bootable {
				t.Errorf("sfdisk sees %+v instead of %+v", p, e)
			}
		}
		if out := run(t, "sfdisk", "--verify", dev); !strings.Contains(out, "No errors detected") {
			t.Errorf("sfdisk --verify: %s", out)
		}
		back := make([]byte, len(code))
		if _, err := d.ReadAt(back, 0); err != nil || !bytes.Equal(back, code) {
			t.Errorf("the boot code changed: %v", err)
		}
	}
}

// TestReadMBR reads what sfdisk writes.
func TestReadMBR(t *testing.T) {
	for _, sectorSize := range []int{512, 4096} {
		dev := loop(t, int64(200000*sectorSize), sectorSize)
		script := "label: dos\nlabel-id: 0x1234abcd\n2048,4096,83,*\n8192,100000,5\n10240,4096,82\n20480,8192,83\n40960,,8e\n"
		run(t, "sh", "-c", "printf '"+strings.ReplaceAll(script, "\n", `\n`)+"' | sfdisk -q --no-reread --no-tell-kernel "+dev)
		got, err := ReadTable(openRW(t, dev))
		if err != nil {
			t.Fatal(err)
		}
		if got.GUID.String()[:8] != "1234abcd" {
			t.Errorf("signature %s", got.GUID)
		}
		for i, p := range sfdisk(t, dev).Table.Partitions {
			e := got.Entries[i]
			if p.Node != PartitionPath(dev, e.Number) || p.Start != e.FirstLBA || p.Size != e.LastLBA-e.FirstLBA+1 || p.Bootable != e.MBR.Bootable {
				t.Errorf("sfdisk: %+v, ReadMBR: %+v", p, e)
			}
		}
		if len(got.Entries) != 5 || got.Entries[4].Number != 7 || got.Entries[1].MBR.Part != partExtended {
			t.Errorf("%+v", got.Entries)
		}
	}
}

func TestNoTable(t *testing.T) {
	fat := newMemory(smallSize, 512)
	copy(fat.data[0x52:], "FAT32   ")
	copy(fat.data[510:], "\x55\xaa")
	code := newMemory(smallSize, 512)
	copy(code.data, bytes.Repeat([]byte{0x33}, 510))
	copy(code.data[510:], "\x55\xaa")
	protective := newMemory(smallSize, 512)
	if err := WriteGPT(t.Context(), protective, smallTable(t)); err != nil {
		t.Fatal(err)
	}
	clear(protective.data[512:1024])
	clear(protective.data[smallSize-512:])
	for name, m := range map[string]*memory{"blank": newMemory(smallSize, 512), "tiny": newMemory(100, 512), "fat": fat, "code": code, "protective": protective} {
		if got, err := ReadTable(m); !errors.Is(err, ErrNoTable) {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}

func TestWriteMBRRefuses(t *testing.T) {
	const size = 65536 * 512
	tests := map[string]struct {
		edit func(*layout.Table)
		want string
	}{
		"size":      {func(t *layout.Table) { t.Size -= 512 }, "the device has"},
		"signature": {func(t *layout.Table) { t.GUID[0], t.GUID[1], t.GUID[2], t.GUID[3] = 0, 0, 0, 0 }, "signature is zero"},
		"type":      {func(t *layout.Table) { t.Entries[0].MBR = nil }, "it has no type"},
		"end":       {func(t *layout.Table) { t.Entries[1].LastLBA = 65536 }, "not within 1 to 65535"},
		"number":    {func(t *layout.Table) { t.Entries[1].Number = 1 }, "taken"},
		"overlap":   {func(t *layout.Table) { t.Entries[0].LastLBA = 10240 }, "1 and 4 overlap"},
		"outside":   {func(t *layout.Table) { t.Entries[5].LastLBA = 61440 }, "not within the extended"},
		"no record": {func(t *layout.Table) { t.Entries[4].FirstLBA = 14336 }, "no sector is free"},
		"gap":       {func(t *layout.Table) { t.Entries[5].Number = 8 }, "have a gap"},
		"orphans":   {func(t *layout.Table) { t.Entries[2].MBR.Part = partPrimary }, "without an extended"},
	}
	for name, tt := range tests {
		m := newMemory(size, 512)
		table := mbrTable(size, 512)
		tt.edit(&table)
		if err := WriteTable(t.Context(), m, table, false); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(m.data, make([]byte, size)) {
			t.Errorf("%s: the device was written to", name)
		}
	}
}

// TestWriteMBRInterrupted goes from one table to another, cuts the power at
// every write, and looks for a valid table that has what both have.
func TestWriteMBRInterrupted(t *testing.T) {
	const size = 65536 * 512
	edit := func(f func(*layout.Table)) layout.Table {
		table := mbrTable(size, 512)
		f(&table)
		return table
	}
	tables := []layout.Table{
		mbrTable(size, 512),
		edit(func(t *layout.Table) { t.Entries = t.Entries[:4] }),
		edit(func(t *layout.Table) { t.Entries[2].LastLBA, t.Entries = 20000, t.Entries[:4] }),
		edit(func(t *layout.Table) { t.Entries[4].LastLBA, t.Entries[5].FirstLBA = 20000, 25000 }),
		edit(func(t *layout.Table) { // in the gap of one sector, another record
			t.Entries[5].LastLBA = 50000
			t.Entries = append(t.Entries, part(8, 50002, 61439, 0x83, partLogical))
		}),
		edit(func(t *layout.Table) { t.Entries[0].LastLBA, t.Entries[2].FirstLBA = 10000, 10001 }),
	}
	for i, before := range tables {
		for j, after := range tables {
			if i != j {
				interruptMBR(t, fmt.Sprintf("%d to %d", i, j), before, after)
			}
		}
	}
}

func interruptMBR(t *testing.T, name string, before, after layout.Table) {
	t.Helper()
	for n := 0; ; n++ {
		m := newMemory(int(before.Size), 512)
		m.whole = true // a sector is written as a whole, or not at all
		if err := WriteMBR(t.Context(), m, before); err != nil {
			t.Fatal(err)
		}
		m.left = n
		err := WriteMBR(t.Context(), m, after)
		if err == nil {
			if got, err := ReadMBR(m); err != nil || cmp.Diff(after, got) != "" {
				t.Errorf("%s: %v %s", name, err, cmp.Diff(after, got))
			}
			return
		}
		if !errors.Is(err, errPulled) {
			t.Fatal(err)
		}
		got, err := ReadMBR(m)
		if err != nil {
			t.Errorf("%s, cut at write %d: %v", name, n, err)
			continue
		}
		for _, e := range before.Entries {
			if has(after, e) && !has(got, e) {
				t.Errorf("%s, cut at write %d: partition %d is gone: %+v", name, n, e.Number, got.Entries)
			}
		}
	}
}

func has(t layout.Table, e layout.Entry) bool {
	for _, x := range t.Entries {
		if cmp.Equal(x, e) {
			return true
		}
	}
	return false
}

// TestMBROverGPT: nothing of the GPT counts any more.
func TestMBROverGPT(t *testing.T) {
	m := newMemory(smallSize, 512)
	if err := WriteGPT(t.Context(), m, smallTable(t)); err != nil {
		t.Fatal(err)
	}
	table := mbrTable(smallSize, 512)
	if err := WriteMBR(t.Context(), m, table); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadTable(m); err != nil || cmp.Diff(table, got) != "" {
		t.Errorf("%v %s", err, cmp.Diff(table, got))
	}
	if bytes.Contains(m.data, []byte("EFI PART")) {
		t.Error("a header of the GPT is left")
	}
}

func TestHybridMBR(t *testing.T) {
	for _, last := range []bool{false, true} {
		dev := loop(t, testSize, 512)
		d := openRW(t, dev)
		table := testTable(t, testLayout, testSize, 512)
		table.Entries[1].MBR = &layout.MBREntry{Type: 0x0c, Bootable: true}
		if err := WriteTable(t.Context(), d, table, last); err != nil {
			t.Fatal(err)
		}
		got, err := ReadTable(d)
		if err != nil || same(table, got) != "" {
			t.Errorf("%v %s", err, same(table, got))
		}
		if out := run(t, "sgdisk", "-v", dev); !strings.Contains(out, "No problems found") {
			t.Errorf("sgdisk -v: %s", out)
		}
		out := run(t, "sgdisk", "-p", dev)
		if sgdisk := run(t, "sh", "-c", "sgdisk -O "+dev+" | tail -n 4"); !strings.Contains(sgdisk, "0x0C") || !strings.Contains(sgdisk, "0xEE") {
			t.Errorf("sgdisk -O: %s\n%s", sgdisk, out)
		}
		b := make([]byte, 66)
		if _, err := d.ReadAt(b, 446); err != nil {
			t.Fatal(err)
		}
		first := byte(0xee)
		if last {
			first = 0x0c
		}
		if b[4] != first {
			t.Errorf("the first entry has type %#x", b[4])
		}
	}
}

func FuzzReadMBR(f *testing.F) {
	const sectors, extended = 128, 64
	m := newMemory(sectors*512, 512)
	table := mbrTable(m.Size(), 512)
	table.Entries = []layout.Entry{
		part(1, 8, 15, 0x83, partPrimary), part(2, extended, 127, 0x05, partExtended),
		part(5, 66, 70, 0x83, partLogical), part(6, 80, 90, 0x83, partLogical),
	}
	if err := WriteMBR(f.Context(), m, table); err != nil {
		f.Fatal(err)
	}
	f.Add(m.data[:512], m.data[extended*512:])
	f.Fuzz(func(t *testing.T, head, rest []byte) {
		m := newMemory(sectors*512, 512)
		copy(m.data, head)
		copy(m.data[extended*512:], rest)
		table, err := ReadMBR(m)
		if err != nil {
			return
		}
		for _, e := range table.Entries {
			if e.FirstLBA == 0 || e.FirstLBA > e.LastLBA || e.LastLBA >= sectors || e.MBR == nil {
				t.Errorf("%+v", e)
			}
		}
		if len(table.Entries) > maxLogical+4 {
			t.Errorf("%d partitions", len(table.Entries))
		}
	})
}
