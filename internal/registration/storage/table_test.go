package storage

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
	"github.com/victorinix/vic/internal/registration/regtest"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// changedTable is the table of a disk after a change.
func changedTable(t *testing.T, dev string, change func(*layout.Table)) layout.Table {
	t.Helper()
	after, err := locate.ReadTable(dev)
	if err != nil {
		t.Fatal(err)
	}
	after.Entries = slices.Clone(after.Entries)
	change(&after)
	return after
}

// One partition goes, one ends earlier, and two come, in one write.
func TestRewrite(t *testing.T) {
	core := layout.Entry{Number: 5, Type: linux, GUID: uuid.MustParse("6c6f6f70-0000-4000-8000-000000000002"), FirstLBA: 84992, LastLBA: 87039}
	for name, tt := range map[string]struct {
		script string
		change func(*layout.Table)
	}{
		"GPT": {gptScript, func(t *layout.Table) {
			t.Entries[1].LastLBA -= 10240
			t.Entries[2] = stage(53248, 83967)
			t.Entries[2].Number = 4
			t.Entries = append(t.Entries, core)
		}},
		"MBR": {"label: dos\nstart=2048, size=20480, type=83, bootable\nstart=22528, size=40960, type=83\nstart=63488, size=20480, type=82\n", func(t *layout.Table) {
			t.Entries[1].LastLBA -= 10240
			t.Entries[2] = layout.Entry{Number: 4, FirstLBA: 53248, LastLBA: 83967, MBR: &layout.MBREntry{Type: 0x0c, Part: "primary"}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dev := table(t, 64*mib, tt.script)
			tooltest.Run(t, "mkfs.ext4", "-q", "-F", dev+"p1")
			mounted(t, dev+"p1", "ext4")
			after := changedTable(t, dev, tt.change)
			regtest.Run(t, host(t, dev,
				func() registration.Change { return Rewrite(dev, after, map[int]string{4: stageFS}) },
				func() registration.Change { return mkfs(t, dev+"p4") },
			))
		})
	}
}

func TestRewriteRefuses(t *testing.T) {
	for want, change := range map[string]func(*layout.Table){
		"sectors 40960 to 63487 are not free": func(t *layout.Table) {
			e := stage(40960, 63487)
			e.Number = 4
			t.Entries = append(t.Entries, e)
		},
		"another one than the one that is to be changed": func(t *layout.Table) { t.GUID[0]++ },
		"nothing would change":                           func(*layout.Table) {},
	} {
		dev := table(t, 64*mib, gptScript)
		s := registered(t)
		if _, err := s.Announce(t.Context(), Rewrite(dev, changedTable(t, dev, change), nil)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if list := s.List(t.Context()); len(list) != 0 {
			t.Errorf("%d are registered", len(list))
		}
	}
}

// The RAM system shrinks what is mounted now, and makes the stage behind it: any
// part of that is taken back, and nothing where nothing came of it.
func TestAnnounced(t *testing.T) {
	const first, size, less = 2048, 256 * 2048, 60 * 2048
	const end = first + size - 1
	shrink := func(t *testing.T, dev string) {
		tooltest.Run(t, "e2fsck", "-f", "-p", dev+"p1")
		tooltest.Run(t, "resize2fs", dev+"p1", fmt.Sprint((size-less)/2, "K"))
	}
	write := func(t *testing.T, dev string, after layout.Table) {
		d, err := disk.Open(dev, os.O_RDWR)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if err := disk.WriteTable(t.Context(), d, after, false); err != nil {
			t.Fatal(err)
		}
		reread(t, dev)
	}
	for name, tt := range map[string]struct {
		ram  func(t *testing.T, dev string, after layout.Table)
		want string // the table, the file system
	}{
		"nothing": {func(*testing.T, string, layout.Table) {}, "was as before; was as before"},
		"file system": {func(t *testing.T, dev string, _ layout.Table) { shrink(t, dev) },
			"was as before; taken back"},
		"table": {func(t *testing.T, dev string, after layout.Table) {
			shrink(t, dev)
			write(t, dev, after)
		}, "taken back; taken back"},
		"stage": {func(t *testing.T, dev string, after layout.Table) {
			shrink(t, dev)
			write(t, dev, after)
			tooltest.Run(t, "mkfs.ext4", "-q", "-F", "-U", stageFS, dev+"p2")
		}, "taken back; taken back"},
		"and somebody else uses it": {func(t *testing.T, dev string, after layout.Table) {
			shrink(t, dev)
			write(t, dev, after)
			tooltest.Run(t, "mkfs.ext4", "-q", "-F", "-U", "bbbbbbbb-0000-4000-8000-000000000009", dev+"p2")
		}, "left alone: partition 2 holds what vic did not make: ext4 bbbbbbbb-0000-4000-8000-000000000009; failed"},
	} {
		t.Run(name, func(t *testing.T) {
			dev := table(t, 264*mib, fmt.Sprintf("label: gpt\nstart=%d, size=%d, name=root\n", first, size))
			tooltest.Run(t, "mkfs.ext4", "-q", dev+"p1")
			dir := mounted(t, dev+"p1", "ext4")
			before := snapshot(t, dev)
			s := registered(t)
			after := changedTable(t, dev, func(a *layout.Table) {
				a.Entries[0].LastLBA -= less
				e := stage(end-less+1, end)
				e.Number = 2
				a.Entries = append(a.Entries, e)
			})
			for _, c := range []registration.Change{ShrinkUnmounted(dev+"p1", (size-less)*512), Rewrite(dev, after, map[int]string{2: stageFS})} {
				if _, err := s.Announce(t.Context(), c); err != nil {
					t.Fatal(err)
				}
			}
			for _, r := range s.List(t.Context()) {
				if r.State != registration.Planned || r.Standing.Is != registration.Before || r.Err != nil {
					t.Errorf("%s is %s and %s: %v", r.Title, r.State, r.Standing.Is, r.Err)
				}
			}
			if err := disk.Unmount(dir); err != nil {
				t.Fatal(err)
			}
			tt.ram(t, dev, after)
			got := undone(t, s)
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("undone: %s, want %s", got, tt.want)
			}
			if now := snapshot(t, dev); now != before && !strings.Contains(tt.want, "left alone") {
				t.Error(regtest.Diff(before, now))
			}
		})
	}
}
