package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/victorinix/vic/disk/layout"
)

// same compares what a GPT can hold.
func same(a, b layout.Table) string {
	return cmp.Diff(a, b, cmpopts.IgnoreFields(layout.Table{}, "Disk"), cmpopts.IgnoreFields(layout.Entry{}, "Name", "Content"))
}

func TestWriteGPT(t *testing.T) {
	for _, sectorSize := range []int{512, 4096} {
		dev := loop(t, testSize, sectorSize)
		d := openRW(t, dev)
		if d.Size() != testSize || d.SectorSize() != sectorSize {
			t.Fatalf("%s has %d bytes in sectors of %d", dev, d.Size(), d.SectorSize())
		}
		table := testTable(t, testLayout, testSize, sectorSize)
		if err := WriteGPT(t.Context(), d, table); err != nil {
			t.Fatal(err)
		}
		got, err := ReadGPT(d)
		if err != nil || same(table, got) != "" {
			t.Errorf("read back: %v %s", err, same(table, got))
		}
		if out := run(t, "sgdisk", "-v", dev); !strings.Contains(out, "No problems found") {
			t.Errorf("sector size %d: sgdisk -v: %s", sectorSize, out)
		}
		if out := run(t, "sfdisk", "--verify", dev); !strings.Contains(out, "No errors detected") {
			t.Errorf("sector size %d: sfdisk --verify: %s", sectorSize, out)
		}
		if out := run(t, "blkid", "-p", "-o", "export", dev); !strings.Contains(out, "PTTYPE=gpt") || !strings.Contains(out, "PTUUID="+table.GUID.String()) {
			t.Errorf("blkid: %s", out)
		}
	}
}

const smallSize = 64 << 20

// smallTable is quick to write into memory.
func smallTable(t testing.TB) layout.Table {
	t.Helper()
	return testTable(t, strings.ReplaceAll(testLayout, "300M", "8M"), smallSize, 512)
}

func TestWriteGPTIsReproducible(t *testing.T) {
	var images [2]*memory
	for i := range images {
		images[i] = newMemory(smallSize, 512)
		if err := WriteGPT(t.Context(), images[i], smallTable(t)); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(images[0].data, images[1].data) {
		t.Error("two runs differ")
	}
}

func TestWriteGPTRefuses(t *testing.T) {
	table := smallTable(t)
	outside := table
	outside.Entries = append([]layout.Entry{}, table.Entries...)
	outside.Entries[0].FirstLBA = 33
	long := table
	long.Entries = append([]layout.Entry{}, table.Entries...)
	long.Entries[0].Label = strings.Repeat("\U0001F4BE", 19)
	tests := map[string]struct {
		d     *memory
		table layout.Table
		want  string
	}{
		"other size":   {newMemory(1<<20, 512), table, "the table is for 67108864 bytes in sectors of 512, the device has 1048576"},
		"other sector": {newMemory(smallSize, 4096), table, "in sectors of 4096"},
		"outside":      {newMemory(smallSize, 512), outside, "sectors 33 to 4095 are not within 34 to"},
		"label":        {newMemory(smallSize, 512), long, "too long"},
	}
	for name, tt := range tests {
		err := WriteGPT(t.Context(), tt.d, tt.table)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.Equal(tt.d.data, make([]byte, tt.d.Size())) {
			t.Errorf("%s: the device was written to", name)
		}
	}
}

// TestWriteGPTInterrupted cuts the power at every write, and looks for a table
// that is whole.
func TestWriteGPTInterrupted(t *testing.T) {
	const size = 64 << 20
	small := func(s string) string { return strings.ReplaceAll(testLayout, "300M", s) }
	before, after := testTable(t, small("8M"), size, 512), testTable(t, small("16M"), size, 512)
	gpt := func(damage func(*memory)) func() *memory {
		return func() *memory {
			m := newMemory(size, 512)
			if err := WriteGPT(t.Context(), m, before); err != nil {
				t.Fatal(err)
			}
			damage(m)
			return m
		}
	}
	starts := map[string]func() *memory{
		"both copies":    gpt(func(*memory) {}),
		"primary only":   gpt(func(m *memory) { clear(m.data[size-512:]) }),
		"backup only":    gpt(func(m *memory) { clear(m.data[512:1024]) }),
		"broken entries": gpt(func(m *memory) { m.data[1024] ^= 1 }),
		"dos":            func() *memory { return dosDisk(size) },
	}
	for name, start := range starts {
		writes := 0
		for n := 0; ; n++ {
			m := start()
			m.left = n
			err := WriteGPT(t.Context(), m, after)
			if err == nil {
				writes = n
				break
			}
			if !errors.Is(err, errPulled) {
				t.Fatal(err)
			}
			if name == "dos" && m.data[450] == 0x83 && m.data[510] == 0x55 {
				continue // the old table
			}
			got, err := ReadGPT(m)
			if err != nil {
				t.Errorf("%s, cut at write %d: %v", name, n, err)
			} else if same(got, before) != "" && same(got, after) != "" {
				t.Errorf("%s, cut at write %d: neither the old table nor the new: %+v", name, n, got)
			}
		}
		if writes != 5 {
			t.Errorf("%s: %d writes", name, writes)
		}
	}
}

func dosDisk(size int) *memory {
	m := newMemory(size, 512)
	m.data[450] = 0x83
	binary.LittleEndian.PutUint32(m.data[454:], 2048)
	binary.LittleEndian.PutUint32(m.data[458:], 4096)
	copy(m.data[510:], "\x55\xaa")
	return m
}

func TestReadGPTWithoutOne(t *testing.T) {
	for _, m := range []*memory{newMemory(0, 512), newMemory(512, 512), newMemory(1<<20, 4096), dosDisk(1 << 20)} {
		if _, err := ReadGPT(m); !errors.Is(err, ErrNoGPT) {
			t.Errorf("%d bytes: %v", m.Size(), err)
		}
	}
}

// reseal makes the checksums of a header right again.
func reseal(m *memory, lba int64) {
	b := m.data[lba*512 : lba*512+92]
	clear(b[16:20])
	binary.LittleEndian.PutUint32(b[16:], crc32.ChecksumIEEE(b))
}

// TestReadGPTHostile has headers with right checksums and impossible claims.
func TestReadGPTHostile(t *testing.T) {
	tests := map[string]func(b []byte){
		"entry size 0":    func(b []byte) { binary.LittleEndian.PutUint32(b[84:], 0) },
		"entry size huge": func(b []byte) { binary.LittleEndian.PutUint32(b[84:], 1<<31) },
		"many entries":    func(b []byte) { binary.LittleEndian.PutUint32(b[80:], 1<<32-1) },
		"entries outside": func(b []byte) { binary.LittleEndian.PutUint64(b[72:], 1<<62) },
		"negative":        func(b []byte) { binary.LittleEndian.PutUint64(b[72:], 1<<63) },
		"not itself":      func(b []byte) { binary.LittleEndian.PutUint64(b[24:], 2) },
	}
	table := smallTable(t)
	for name, change := range tests {
		m := newMemory(smallSize, 512)
		if err := WriteGPT(t.Context(), m, table); err != nil {
			t.Fatal(err)
		}
		change(m.data[512:])
		reseal(m, 1)
		got, err := ReadGPT(m)
		if err != nil || same(got, table) != "" {
			t.Errorf("%s: the backup was not used: %v", name, err)
		}
		last := int64(smallSize/512 - 1)
		change(m.data[last*512:])
		reseal(m, last)
		if _, err := ReadGPT(m); !errors.Is(err, ErrNoGPT) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadGPT(f *testing.F) {
	m := newMemory(smallSize, 512)
	if err := WriteGPT(f.Context(), m, smallTable(f)); err != nil {
		f.Fatal(err)
	}
	f.Add(m.data[512:604], m.data[1024:1024+1024])
	f.Fuzz(func(t *testing.T, head, entries []byte) {
		m := newMemory(1<<20, 512)
		copy(m.data[1024:], entries)
		copy(m.data[512:1024], head)
		// Right checksums, or the fuzzer never gets further.
		if n := int64(binary.LittleEndian.Uint32(m.data[592:])) * 128; n < 1<<20-1024 {
			binary.LittleEndian.PutUint32(m.data[600:], crc32.ChecksumIEEE(m.data[1024:1024+n]))
		}
		reseal(m, 1)
		table, err := ReadGPT(m)
		if err != nil {
			return
		}
		for _, e := range table.Entries {
			if e.FirstLBA > e.LastLBA || e.LastLBA >= 2048 {
				t.Errorf("entry %+v is not on the disk", e)
			}
		}
		if err := Wipe(t.Context(), m, nil, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestOpen(t *testing.T) {
	path := image(t, 1<<20)
	d, err := OpenImage(path, os.O_RDONLY, 4096)
	if err != nil || d.Size() != 1<<20 || d.SectorSize() != 4096 {
		t.Errorf("%+v %v", d, err)
	}
	if _, err := Open(t.TempDir(), os.O_RDONLY); err == nil {
		t.Error("a directory was opened")
	}
	if _, err := Open("/dev/null", os.O_RDONLY); err == nil {
		t.Error("a character device was opened")
	}
}
