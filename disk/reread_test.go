package disk

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/layout"
)

func TestChanges(t *testing.T) {
	table := layout.Table{SectorSize: 512, Entries: []layout.Entry{
		{Number: 1, FirstLBA: 2048, LastLBA: 4095},
		{Number: 2, FirstLBA: 4096, LastLBA: 6143},
		{Number: 3, FirstLBA: 8192, LastLBA: 12287},
		part(4, 20480, 40959, 0x0f, partExtended),
		part(5, 22528, 24575, 0x83, partLogical),
	}}
	now := map[int]Range{1: {1 << 20, 1 << 20}, 2: {2 << 20, 2 << 20}, 3: {4 << 20, 1 << 20}, 5: {9 << 20, 1 << 20}, 6: {12 << 20, 1 << 20}}
	want := []change{
		{unix.BLKPG_DEL_PARTITION, 5, Range{}},
		{unix.BLKPG_DEL_PARTITION, 6, Range{}},
		{unix.BLKPG_RESIZE_PARTITION, 2, Range{2 << 20, 1 << 20}},
		{unix.BLKPG_RESIZE_PARTITION, 3, Range{4 << 20, 2 << 20}},
		{unix.BLKPG_ADD_PARTITION, 4, Range{10 << 20, 1024}},
		{unix.BLKPG_ADD_PARTITION, 5, Range{11 << 20, 1 << 20}},
	}
	got := changes(now, table)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(change{})); diff != "" {
		t.Error(diff)
	}
}

// TestRereadBusy has a mounted partition that stays, then grows, while others
// come and go; and refuses to remove it.
func TestRereadBusy(t *testing.T) {
	dev, table := format(t, 512)
	root := PartitionPath(dev, 2)
	target := t.TempDir()
	if err := Mount(root, target, "ext4", nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := UnmountAll(target); err != nil {
			t.Error(err)
		}
	})
	with := func(entries ...layout.Entry) layout.Table {
		c := table
		c.Entries = entries
		return c
	}
	grown := table.Entries[1]
	grown.LastLBA += 2048
	moved := table.Entries[2]
	moved.FirstLBA += 4096
	moved.Number = 7
	for _, next := range []layout.Table{with(table.Entries[1]), with(grown, moved), with(table.Entries...)} {
		if err := Reread(t.Context(), dev, next); err != nil {
			t.Fatal(err)
		}
		if err := known(dev[len("/dev/"):], next); err != nil {
			t.Error(err)
		}
	}
	err := Reread(t.Context(), dev, with(table.Entries[0]))
	if err == nil || !strings.Contains(err.Error(), root+" mounted on "+target) {
		t.Errorf("removed under its user: %v", err)
	}
}

// TestRereadWaitsForTheCurious: somebody has a look at a partition that goes.
func TestRereadWaitsForTheCurious(t *testing.T) {
	dev, table := format(t, 512)
	f, err := os.Open(PartitionPath(dev, 3))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, func() { _ = f.Close() })
	start := time.Now()
	table.Entries = table.Entries[:2]
	if err := Reread(t.Context(), dev, table); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 100*time.Millisecond || d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

// TestRereadMBR shows logical partitions.
func TestRereadMBR(t *testing.T) {
	const size = 65536 * 512
	dev := loop(t, size, 512)
	table := mbrTable(size, 512)
	d := openRW(t, dev)
	if err := WriteMBR(t.Context(), d, table); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Reread(t.Context(), dev, table); err != nil {
		t.Fatal(err)
	}
	if out := strings.TrimSpace(run(t, "blockdev", "--getsize64", PartitionPath(dev, 6))); out != "7340032" {
		t.Errorf("partition 6 has %s bytes", out)
	}
}
