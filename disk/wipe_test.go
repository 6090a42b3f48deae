package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// plant writes signatures into a range: at its ends, and farther in, where no
// margin reaches.
func plant(m *memory, off, size int64) {
	for _, k := range []struct {
		at    int64 // negative: from the end
		magic string
	}{
		{0, "LUKS\xba\xbe"}, {0x438, "\x53\xef"}, {0x1000 - 10, "SWAPSPACE2"}, {0x218, "LVM2 001"}, {0x10040, "_BHRfS_M"},
		{0x400000, "SKUL\xba\xbe"}, {64<<20 + 0x40, "_BHRfS_M"}, {0x100000, "\x0d\xd0\x01\xc0"},
		{256<<10 + 128<<10 + 5<<10, "\x0c\xb1\xba\x00\x00\x00\x00\x00"},
		{-0x2000, "\xfc\x4e\x2b\xa9"}, {-0x400, "Intel Raid ISM Cfg Sig. "},
	} {
		at := k.at
		if at < 0 {
			at += size &^ 0xfff
		}
		if at >= 0 && at+int64(len(k.magic)) <= size {
			copy(m.data[off+at:], k.magic)
		}
	}
}

func TestSignatures(t *testing.T) {
	m := newMemory(8<<20, 512)
	copy(m.data[1<<20+0x438:], "\x53\xef")
	found, err := Signatures(m, 1<<20, 4<<20)
	if want := []probe.Signature{{Type: "ext4", Offset: 1<<20 + 0x438}}; err != nil || !slices.Equal(found, want) {
		t.Errorf("%v %v", found, err)
	}
	if found, err := Signatures(m, 5<<20, 3<<20); err != nil || found != nil {
		t.Errorf("zeros: %v %v", found, err)
	}
	if _, err := Signatures(m, 1, m.Size()); err == nil {
		t.Error("a range beyond the end was accepted")
	}
}

// oldDisk is a disk with a GPT whose partitions are full of signatures, and an
// MBR with logical partitions that no longer shows.
func oldDisk(t *testing.T) (*memory, []Range) {
	t.Helper()
	m := newMemory(100<<20, 512)
	old := testTable(t, strings.ReplaceAll(testLayout, "300M", "20M"), m.Size(), 512)
	plant(m, 0, m.Size())
	for _, r := range Ranges(old) {
		plant(m, r.Offset, r.Size)
	}
	if err := WriteGPT(t.Context(), m, old); err != nil {
		t.Fatal(err)
	}
	return m, Ranges(old)
}

func TestWipe(t *testing.T) {
	m, old := oldDisk(t)
	keep := int64(30<<20 + 12345)
	m.data[keep] = 0x77
	table := testTable(t, strings.ReplaceAll(testLayout, "300M", "33M"), m.Size(), 512)
	for _, r := range Ranges(table) {
		plant(m, r.Offset, r.Size)
	}
	if err := Wipe(t.Context(), m, Ranges(table), nil); err != nil {
		t.Fatal(err)
	}
	if m.data[keep] != 0x77 {
		t.Error("data in the middle was written over")
	}
	for _, r := range append(append(old, Ranges(table)...), Range{0, m.Size()}) {
		if found, err := Signatures(m, r.Offset, r.Size); err != nil || found != nil {
			t.Errorf("%+v: %v %v", r, found, err)
		}
	}
	if _, err := ReadGPT(m); !errors.Is(err, ErrNoGPT) {
		t.Errorf("the old table: %v", err)
	}
}

// TestWipeInterrupted: the next run has to find what the first left.
func TestWipeInterrupted(t *testing.T) {
	for n := 0; ; n += 11 {
		m, old := oldDisk(t)
		m.left = n
		err := Wipe(t.Context(), m, nil, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, errPulled) {
			t.Fatal(err)
		}
		m.left = -1
		if err := Wipe(t.Context(), m, nil, nil); err != nil {
			t.Fatal(err)
		}
		for _, r := range old {
			if found, err := Signatures(m, r.Offset, r.Size); err != nil || found != nil {
				t.Fatalf("cut at write %d, %+v: %v %v", n, r, found, err)
			}
		}
	}
}

func TestWipeLogicalPartitions(t *testing.T) {
	m := dosDisk(64 << 20)
	put := func(at int, typ byte, first, n uint32) {
		m.data[at+4] = typ
		binary.LittleEndian.PutUint32(m.data[at+8:], first)
		binary.LittleEndian.PutUint32(m.data[at+12:], n)
	}
	ebr := func(lba, first, n, next uint32) {
		put(int(lba)*512+446, 0x83, first, n)
		if next > 0 {
			put(int(lba)*512+462, 0x05, next, 8192)
		}
		copy(m.data[lba*512+510:], "\x55\xaa")
	}
	put(462, 0x0f, 10240, 80000)
	ebr(10240, 2048, 4096, 20000) // the next one counts from 10240
	ebr(30240, 2048, 4096, 0)
	logical := []Range{{(10240 + 2048) * 512, 4096 * 512}, {(30240 + 2048) * 512, 4096 * 512}}
	for _, r := range logical {
		plant(m, r.Offset, r.Size)
	}
	if err := Wipe(t.Context(), m, nil, nil); err != nil {
		t.Fatal(err)
	}
	for _, r := range logical {
		if found, err := Signatures(m, r.Offset, r.Size); err != nil || found != nil {
			t.Errorf("%+v: %v %v", r, found, err)
		}
	}
}

// TestWipeGrownDisk: the backup of the old table is not at the end any more.
func TestWipeGrownDisk(t *testing.T) {
	small, _ := oldDisk(t)
	m := newMemory(120<<20, 512)
	copy(m.data, small.data)
	if err := Wipe(t.Context(), m, nil, nil); err != nil {
		t.Fatal(err)
	}
	if i := bytes.Index(m.data, []byte("EFI PART")); i >= 0 {
		t.Errorf("a GPT header is left at byte %d", i)
	}
}

// TestWipeRealTools makes the real things on a loop device, in a partition and
// on the whole disk, and asks wipefs and blkid afterwards.
func TestWipeRealTools(t *testing.T) {
	const size = 900 << 20
	tests := map[string][]string{
		"ext4":  {"mkfs.ext4", "-q", "-F"},
		"vfat":  {"mkfs.vfat", "-I"},
		"swap":  {"mkswap"},
		"luks1": {"cryptsetup", "-q", "luksFormat", "--type", "luks1", "--pbkdf-force-iterations", "1000", "--key-file", "/proc/self/status"},
		"luks2": {"cryptsetup", "-q", "luksFormat", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", "--key-file", "/proc/self/status"},
		"btrfs": {"mkfs.btrfs", "-q", "-f"},
		"xfs":   {"mkfs.xfs", "-q", "-f"},
		"f2fs":  {"mkfs.f2fs", "-q", "-f"},
		"lvm":   {"pvcreate", "-q", "-ff", "-y"},
	}
	for name, make := range tests {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "ext4" && name != "luks2" {
				t.Skip("slow")
			}
			tooltest.Need(t, make[0], "wipefs", "blkid")
			dev := loop(t, size, 512)
			run(t, make[0], append(make[1:], dev)...) // whole disk
			table := testTable(t, testLayout, size, 512)
			d := openRW(t, dev)
			if found, err := Signatures(d, 0, size); err != nil || len(found) == 0 {
				t.Errorf("%s is not known: %v", name, err)
			}
			if err := WriteGPT(t.Context(), d, table); err != nil {
				t.Fatal(err)
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			if err := Reread(t.Context(), dev, table); err != nil {
				t.Fatal(err)
			}
			for _, e := range table.Entries[1:] {
				run(t, make[0], append(make[1:], PartitionPath(dev, e.Number))...)
			}
			wipeAndAsk(t, dev, table)
		})
	}
}

// TestWipeRAID has superblocks as mdadm writes them, which needs a kernel with
// md; blkid has to know them before, and not after.
func TestWipeRAID(t *testing.T) {
	const size = 64<<20 - 4096
	tests := map[string]struct {
		at    int64
		major uint32
	}{
		"0.90": {size/65536*65536 - 65536, 0},
		"1.0":  {size/4096*4096 - 8192, 1},
		"1.1":  {0, 1},
		"1.2":  {4096, 1},
	}
	for name, tt := range tests {
		sb := make([]byte, 256)
		binary.LittleEndian.PutUint32(sb, 0xa92b4efc)
		binary.LittleEndian.PutUint32(sb[4:], tt.major)
		if tt.major == 0 {
			binary.LittleEndian.PutUint32(sb[8:], 90)
		} else {
			binary.LittleEndian.PutUint64(sb[144:], uint64(tt.at/512)) // super_offset
		}
		path := image(t, size)
		d := openRW(t, path)
		if _, err := d.WriteAt(sb, tt.at); err != nil {
			t.Fatal(err)
		}
		if out := run(t, "wipefs", "-n", path); !strings.Contains(out, "linux_raid_member") {
			t.Errorf("%s: wipefs does not know it: %q", name, out)
		}
		if err := Wipe(t.Context(), d, nil, nil); err != nil {
			t.Fatal(err)
		}
		if out := run(t, "wipefs", "-n", path); out != "" {
			t.Errorf("%s: wipefs finds %s", name, out)
		}
	}
}

func wipeAndAsk(t *testing.T, dev string, table layout.Table) {
	t.Helper()
	d := openRW(t, dev)
	if err := Wipe(t.Context(), d, Ranges(table), nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if out := run(t, "wipefs", "-n", dev); out != "" {
		t.Errorf("wipefs finds on the disk:\n%s", out)
	}
	for _, e := range table.Entries {
		out := run(t, "wipefs", "-n", PartitionPath(dev, e.Number))
		if out != "" {
			t.Errorf("wipefs finds in partition %d:\n%s", e.Number, out)
		}
	}
	if out := run(t, "sh", "-c", fmt.Sprintf("blkid -p %s || test $? = 2", dev)); out != "" {
		t.Errorf("blkid finds: %s", out)
	}
}
