package probe

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/disk/layout"
)

// sfdiskDoc is what sfdisk --json prints.
type sfdiskDoc struct {
	Table struct {
		Label, ID  string
		Sectorsize int
		Partitions []struct {
			Node, Type, UUID, Name, Attrs string
			Start, Size                   uint64
			Bootable                      bool
		}
	} `json:"partitiontable"`
}

// bySfdisk is a table as sfdisk reads it.
func bySfdisk(t *testing.T, img string) (id string, entries []layout.Entry) {
	t.Helper()
	var doc sfdiskDoc
	if err := json.Unmarshal([]byte(run(t, "", "sfdisk", "--json", img)), &doc); err != nil {
		t.Fatal(err)
	}
	for _, p := range doc.Table.Partitions {
		number, err := strconv.Atoi(strings.TrimPrefix(p.Node, img))
		if err != nil {
			t.Fatal(err)
		}
		e := layout.Entry{Number: number, Label: p.Name, Name: p.Name, FirstLBA: p.Start, LastLBA: p.Start + p.Size - 1}
		if doc.Table.Label == "gpt" {
			if err := e.Type.UnmarshalText([]byte(p.Type)); err != nil {
				t.Fatal(err)
			}
			if err := e.GUID.UnmarshalText([]byte(p.UUID)); err != nil {
				t.Fatal(err)
			}
			for _, a := range strings.Fields(p.Attrs) {
				bit, err := strconv.Atoi(strings.TrimPrefix(a, "GUID:"))
				if err != nil {
					bit = map[string]int{"RequiredPartition": 0, "LegacyBIOSBootable": 2}[a]
				}
				e.Attributes |= 1 << bit
			}
		} else {
			typ, err := strconv.ParseUint(p.Type, 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			e.MBR = &layout.MBREntry{Type: byte(typ), Bootable: p.Bootable, Part: "primary"}
			if number > 4 {
				e.MBR.Part = "logical"
			} else if typ == 5 || typ == 0xf {
				e.MBR.Part = "extended"
			}
		}
		entries = append(entries, e)
	}
	return strings.ToLower(doc.Table.ID), entries
}

func openImage(t testing.TB, path string) (*os.File, int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return f, st.Size()
}

func readTable(t testing.TB, path string) *Table {
	t.Helper()
	f, size := openImage(t, path)
	table, err := ReadTable(f, size, 512)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func newImage(t testing.TB, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "img")
	sparse(t, path, size)
	return path
}

func TestTablesLikeSfdisk(t *testing.T) {
	for name, script := range map[string]string{
		"gpt": "label: gpt\nlabel-id: 0B7D0F5C-1A3E-4C58-9D2F-7E6A5B4C3D2E\n" +
			`size=1M, type=21686148-6449-6E6F-744E-656564454649, name="BIOS boot é", attrs="RequiredPartition LegacyBIOSBootable GUID:63"` + "\n" +
			"size=20M, type=U\nstart=100000, size=30M\n",
		"gpt-gap":   "label: gpt\ntable-length: 32\n7 : size=5M\n3 : size=6M\n",
		"gpt-empty": "label: gpt\n",
		"dos":       "label: dos\nlabel-id: 0x1a2b3c4d\nsize=10M, type=c, bootable\nsize=5M\n",
		"dos-logical": "label: dos\n1 : size=10M, type=83\n2 : size=40M, type=f\n5 : size=5M, type=82\n6 : size=6M, type=83\n" +
			"7 : size=7M, type=fd, bootable\n4 : size=2M, type=ef\n",
		"dos-extended-alone": "label: dos\n1 : size=40M, type=5\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // sfdisk waits
			img := newImage(t, 64*mib)
			run(t, script, "sfdisk", "-q", img)
			table := readTable(t, img)
			if table == nil || len(table.Damage) > 0 {
				t.Fatalf("%+v", table)
			}
			id, want := bySfdisk(t, img)
			if diff := cmp.Diff(want, table.Entries, cmp.Transformer("empty", func(l []layout.Entry) []layout.Entry {
				if len(l) == 0 {
					return nil
				}
				return slices.Clone(l)
			})); diff != "" {
				t.Errorf("- sfdisk, + vic\n%s", diff)
			}
			got := table.GUID.String()
			if table.Kind == layout.KindMBR {
				got = "0x" + got[:8]
			}
			if got != id || table.Size != 64*mib || table.SectorSize != 512 {
				t.Errorf("%s, want %s; %+v", got, id, table)
			}
		})
	}
}

// damage spoils a table; want is the beginning of what is said of it, and how
// many partitions are still known.
func TestDamagedTables(t *testing.T) {
	const size = 64 * mib
	gpt := "label: gpt\nsize=10M\nsize=20M\n"
	for name, tt := range map[string]struct {
		script  string
		spoil   func(write func(at int64, b ...byte))
		kind    string
		entries int
		damage  string
		lost    bool
	}{
		"first header":    {gpt, func(w func(int64, ...byte)) { w(512+40, 9) }, "gpt", 2, "the first copy of the GPT is not valid; the backup is", false},
		"first entries":   {gpt, func(w func(int64, ...byte)) { w(1024+32, 9) }, "gpt", 2, "the first copy", false},
		"backup":          {gpt, func(w func(int64, ...byte)) { w(size-512+72, 9) }, "gpt", 2, "the backup of the GPT is not valid", false},
		"both":            {gpt, func(w func(int64, ...byte)) { w(512+16, 9); w(size-512+16, 9) }, "gpt", 0, "neither copy", true},
		"all entries":     {gpt, func(w func(int64, ...byte)) { w(1024+32, 9); w(size-33*512+32, 9) }, "gpt", 0, "neither copy", true},
		"no MBR":          {gpt, func(w func(int64, ...byte)) { w(510, 0, 0) }, "gpt", 2, "there is no protective MBR", false},
		"MBR over it":     {gpt, func(w func(int64, ...byte)) { w(446, 0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0) }, "msdos", 1, "an old GPT is still there", false},
		"overlap":         {"label: dos\nsize=10M\nsize=10M\n", func(w func(int64, ...byte)) { w(446+16+8, 0, 9, 0, 0) }, "msdos", 2, "partitions 1 and 2 overlap", false},
		"beyond the end":  {"label: dos\nsize=10M\n", func(w func(int64, ...byte)) { w(446+12, 0, 0, 0, 9) }, "msdos", 0, "partition 1: sectors 2048 to 150996991 are not on the disk", true},
		"chain ends":      {"label: dos\n2 : size=40M, type=5\n5 : size=5M\n6 : size=6M\n", func(w func(int64, ...byte)) { w(1*mib+446+16+8, 0, 2) }, "msdos", 2, "the chain of logical partitions is broken at sector", true},
		"chain is a ring": {"label: dos\n2 : size=40M, type=5\n5 : size=5M\n6 : size=6M\n", func(w func(int64, ...byte)) { w(1*mib+446+16+8, 0, 0, 0, 0) }, "msdos", 129, "the chain of logical partitions has no end", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img := newImage(t, size)
			run(t, tt.script, "sfdisk", "-q", img)
			f, _ := openImage(t, img)
			tt.spoil(func(at int64, b ...byte) {
				if _, err := f.WriteAt(b, at); err != nil {
					t.Fatal(err)
				}
			})
			table := readTable(t, img)
			if table == nil || table.Kind != tt.kind || len(table.Entries) != tt.entries || len(table.Damage) == 0 || !strings.HasPrefix(table.Damage[0], tt.damage) || (table.Lost != "") != tt.lost {
				t.Errorf("%+v", table)
			}
		})
	}
}

func TestHybrid(t *testing.T) {
	t.Parallel()
	img := newImage(t, 64*mib)
	run(t, "", "sgdisk", "-n", "1:2048:+1M", "-t", "1:EF02", "-n", "2:0:+20M", "-t", "2:0700", "-h", "2:EE", img)
	table := readTable(t, img)
	if table == nil || table.Kind != "gpt" || table.Entries[0].MBR != nil || table.Entries[1].MBR == nil || table.Entries[1].MBR.Type != 7 || len(table.Damage) != 0 {
		t.Fatalf("%+v", table)
	}
	f, size := openImage(t, img)
	if s := SectorSize(f, size); s != 512 {
		t.Error(s)
	}
}

func TestLargeSectors(t *testing.T) {
	large := newImage(t, 64*mib)
	dev := loop(t, large, "--sector-size", "4096")
	run(t, "label: gpt\nsize=20M, name=big\n", "sfdisk", "-q", "--no-reread", "--no-tell-kernel", dev)
	f, size := openImage(t, large)
	if s := SectorSize(f, size); s != 4096 {
		t.Fatal(s)
	}
	table, err := ReadTable(f, size, 4096)
	if err != nil || table == nil || len(table.Entries) != 1 || table.Entries[0].FirstLBA != 256 || len(table.Damage) != 0 {
		t.Errorf("%+v %v", table, err)
	}
	if table, err := ReadTable(f, size, 512); err != nil || table == nil || len(table.Entries) != 0 || table.Lost == "" {
		t.Errorf("read with the wrong sector size: %+v %v", table, err)
	}
}

// A file system without a table is no table, though its first sector ends like
// one.
func TestNoTable(t *testing.T) {
	for _, name := range []string{"fat16", "fat32", "exfat", "ntfs", "ext4"} {
		if table := readTable(t, contents[name].image(t)); table != nil {
			t.Errorf("%s: %+v", name, table)
		}
	}
	if table := readTable(t, newImage(t, 64*mib)); table != nil {
		t.Errorf("zeros: %+v", table)
	}
	for _, size := range []int64{0, 1, 511, 512, 1024, 4096} {
		if table := readTable(t, newImage(t, size)); table != nil {
			t.Errorf("%d bytes: %+v", size, table)
		}
	}
}

// What lies in a partition is the partition's, also where it ends with the
// disk, and two things in one place are both told.
func TestReadDisk(t *testing.T) {
	const size = 64 * mib
	img := newImage(t, size)
	run(t, fmt.Sprintf("label: dos\nstart=2048, size=20480, type=83\nstart=22528, size=%d, type=fd\n", size/512-22528), "sfdisk", "-q", img)
	f, _ := openImage(t, img)
	ext := contents["ext4-nojrnl"]
	ext.size = 10 * mib
	body, err := os.ReadFile(ext.image(t))
	if err != nil {
		t.Fatal(err)
	}
	write := func(at int64, b []byte) {
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	write(2048*512, body)
	write(size-65536, md090())
	write(22528*512, []byte("XFSBLUKS")) // not whole
	d, err := ReadDisk(f, size, 512, nil)
	if err != nil || d.Table == nil || len(d.Content) != 0 || len(d.Partitions) != 2 {
		t.Fatalf("%+v %v", d, err)
	}
	types := func(list []Result) (s []string) {
		for _, r := range list {
			s = append(s, r.Type)
		}
		return s
	}
	if got := types(d.Partitions[0].Content); !slices.Equal(got, []string{"ext4"}) {
		t.Errorf("%v", got)
	}
	if got := types(d.Partitions[1].Content); !slices.Equal(got, []string{"linux_raid_member"}) {
		t.Errorf("%v", got)
	}
	swap, err := os.ReadFile(contents["swap"].image(t))
	if err != nil {
		t.Fatal(err)
	}
	write(22528*512, swap[:4096])
	if d, err = ReadDisk(f, size, 512, nil); err != nil || !slices.Equal(types(d.Partitions[1].Content), []string{"swap", "linux_raid_member"}) {
		t.Errorf("%+v %v", d, err)
	}
}

// A bad sector is an error, and hides nothing else.
func TestBadSector(t *testing.T) {
	m := handmade()["md-1.0"]
	m.bad = map[int64]bool{1024 + 7: true}
	list, err := Probe(&m.sparseDisk, m.size)
	if err == nil || !strings.Contains(err.Error(), "probe: bad sector") || len(list) != 1 || list[0].Type != "linux_raid_member" {
		t.Errorf("%+v %v", list, err)
	}
	m.bad = map[int64]bool{512: true}
	if d, err := ReadDisk(&m.sparseDisk, m.size, 512, nil); err == nil || len(d.Content) != 1 {
		t.Errorf("%+v %v", d, err)
	}
}
