package storage

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
	"github.com/victorinix/vic/internal/registration/regtest"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// registered makes changes.
func registered(t *testing.T, changes ...registration.Change) *registration.Store {
	t.Helper()
	s := regtest.Open(t, regtest.Host{Kinds: kinds, Env: registration.Env{Run: tool.Exec{}, Root: t.TempDir()}}, regtest.Dir(t), nil)
	t.Cleanup(func() { _ = s.Close() })
	for _, c := range changes {
		if _, err := s.Do(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// undone is what undoing came to: "taken back; failed: ...", the last first.
func undone(t *testing.T, s *registration.Store) string {
	t.Helper()
	list, err := s.Undo(t.Context(), registration.Selection{All: true})
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	for _, o := range list {
		if o.Kind != regtest.Act {
			parts = append(parts, strings.TrimSuffix(string(o.Did)+": "+o.Reason, ": "))
		}
	}
	return strings.Join(parts, "; ")
}

// entries are the partitions of a disk but one, for comparing.
func entries(t *testing.T, dev string, without uuid.UUID) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(tooltest.Run(t, "sfdisk", "--dump", dev)) {
		if !strings.Contains(strings.ToLower(line), without.String()) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
	}
	return strings.Join(lines, "\n")
}

func TestOthersChangedTable(t *testing.T) {
	const theirs = "bbbbbbbb-0000-4000-8000-000000000009"
	for name, tt := range map[string]struct {
		others func(t *testing.T, dev string)
		want   string
		stays  bool // the stage
	}{
		"another partition": {func(t *testing.T, dev string) {
			tooltest.Run(t, "sgdisk", "--new=7:126976:129023", "--partition-guid=7:"+theirs, "--change-name=7:theirs", dev)
		}, "taken back", false},
		"other numbers": {func(t *testing.T, dev string) {
			tooltest.Run(t, "sgdisk", "--delete=3", "--new=9:65536:75775", "--sort", dev)
		}, "taken back", false},
		"removed": {func(t *testing.T, dev string) { tooltest.Run(t, "sgdisk", "--delete=4", dev) }, "was as before", false},
		"renamed": {func(t *testing.T, dev string) { tooltest.Run(t, "sgdisk", "--change-name=4:mine", dev) },
			"left alone: partition 4 is another one now: sectors 83968 to 124927", true},
		"formatted": {func(t *testing.T, dev string) { tooltest.Run(t, "mkfs.ext4", "-q", "-F", "-U", theirs, dev+"p4") },
			"left alone: partition 4 holds what vic did not make: ext4 " + theirs, true},
	} {
		t.Run(name, func(t *testing.T) {
			dev := table(t, 64*mib, gptScript)
			s := registered(t, Add(dev, stage(83968, 124927), stageFS), mkfs(t, dev+"p4"))
			tt.others(t, dev)
			reread(t, dev)
			want := entries(t, dev, stageID)
			if tt.stays {
				want = entries(t, dev, uuid.Nil)
			}
			got := undone(t, s)
			without := stageID
			if tt.stays {
				without = uuid.Nil
			}
			if now := entries(t, dev, without); !strings.HasPrefix(got, tt.want) || now != want {
				t.Errorf("%s:\n%s", got, regtest.Diff(want, now))
			}
			tooltest.Run(t, "sgdisk", "--verify", dev)
			if there := strings.Contains(strings.ToLower(tooltest.Run(t, "sfdisk", "--dump", dev)), stageID.String()); there != tt.stays {
				t.Errorf("the stage is there: %t", there)
			}
		})
	}
}

// What comes after a registration that cannot be taken back looks for itself.
func TestRoomIsTaken(t *testing.T) {
	dev := table(t, 64*mib, gptScript)
	s := registered(t,
		Change(dev, 3, func(e *layout.Entry) { e.LastLBA -= 10240 }),
		Add(dev, stage(73728, 83967), ""),
	)
	tooltest.Run(t, "mkfs.ext4", "-q", "-F", dev+"p4") // somebody uses it
	if got := undone(t, s); !strings.HasPrefix(got, "left alone: partition 4 holds") || !strings.Contains(got, "; failed: sectors 63488 to 83967 are not free: partition 4 has 73728 to 83967") {
		t.Error(got)
	}
	tooltest.Run(t, "wipefs", "--all", "--quiet", dev+"p4")
	if got := undone(t, s); got != "taken back; taken back" {
		t.Error(got)
	}
}

func TestOthersAddLogical(t *testing.T) {
	dev := table(t, 64*mib, mbrScript)
	s := registered(t, Add(dev, layout.Entry{FirstLBA: 69632, LastLBA: 79871, MBR: &layout.MBREntry{Type: 0x83}}, ""))
	feed(t, "start=83968, size=2048, type=83\n", "sfdisk", "--quiet", "--append", "--no-reread", "--no-tell-kernel", dev)
	reread(t, dev)
	before := tooltest.Run(t, "sfdisk", "--dump", dev)
	if got := undone(t, s); got != "failed: partition 8 would become partition 7" {
		t.Error(got)
	}
	if now := tooltest.Run(t, "sfdisk", "--dump", dev); now != before {
		t.Error(regtest.Diff(before, now))
	}
}

// The stage is mounted, with a copy of the records on it.
func TestStageInUse(t *testing.T) {
	dev := table(t, 64*mib, gptScript)
	before := snapshot(t, dev)
	s := registered(t, Add(dev, stage(83968, 124927), stageFS), mkfs(t, dev+"p4"))
	dir := mounted(t, dev+"p4", "ext4")
	folder, err := registration.Folder(dir+"/registrations", nil)
	if err == nil {
		err = s.Mirror(folder)
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(dir + "/open")
	if err != nil {
		t.Fatal(err)
	}
	made := tooltest.Run(t, "sfdisk", "--dump", dev)
	if got := undone(t, s); !strings.HasPrefix(got, "failed: unmount") {
		t.Error(got)
	}
	if now := tooltest.Run(t, "sfdisk", "--dump", dev); now != made {
		t.Error(regtest.Diff(made, now))
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var warned error
	s.Warn = func(err error) { warned = err }
	if got := undone(t, s); got != "taken back" || warned == nil {
		t.Error(got, warned)
	}
	if now := snapshot(t, dev); now != before {
		t.Error(regtest.Diff(before, now))
	}
}

// Tables that others have made in their own ways are the same, byte by byte.
func TestOddTables(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, dev string){
		"hybrid": func(t *testing.T, dev string) { tooltest.Run(t, "sgdisk", "--hybrid=1:3", dev) },
		"no backup": func(t *testing.T, dev string) {
			write(t, dev, 64*mib-512, make([]byte, 512))
		},
		"no first copy":    func(t *testing.T, dev string) { write(t, dev, 512, make([]byte, 512)) },
		"boot code":        func(t *testing.T, dev string) { write(t, dev, 0, bytes.Repeat([]byte{0x90}, 440)) },
		"backup elsewhere": func(t *testing.T, dev string) { grow(t, dev, 8*mib) },
	} {
		t.Run(name, func(t *testing.T) {
			dev := table(t, 64*mib, gptScript)
			prepare(t, dev)
			whole := func() []byte {
				size, err := sizeOf(dev)
				if err != nil {
					t.Fatal(err)
				}
				b, err := readAt(dev, 0, mib)
				end, err2 := readAt(dev, 63*mib, int(size)-63*mib)
				if err := errors.Join(err, err2); err != nil {
					t.Fatal(err)
				}
				return append(b, end...)
			}
			before := whole()
			s := registered(t, Add(dev, stage(83968, 124927), ""))
			if bytes.Equal(whole(), before) {
				t.Error("nothing changed")
			}
			if got := undone(t, s); got != "taken back" {
				t.Error(got)
			}
			if !bytes.Equal(whole(), before) {
				t.Error("the table has other bytes")
			}
		})
	}
}

func write(t *testing.T, dev string, off int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(dev, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(b, off)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// grow makes the disk larger, as a virtual one is.
func grow(t *testing.T, dev string, more int64) {
	t.Helper()
	file := strings.TrimSpace(tooltest.Run(t, "losetup", "--noheadings", "--output=BACK-FILE", dev))
	st, err := os.Stat(file)
	if err == nil {
		err = os.Truncate(file, st.Size()+more)
	}
	if err != nil {
		t.Fatal(err)
	}
	tooltest.Run(t, "losetup", "--set-capacity", dev)
}

func TestRefused(t *testing.T) {
	gpt, mbr := table(t, 64*mib, gptScript), table(t, 64*mib, mbrScript)
	blank := tooltest.Loop(t, 8*mib)
	tooltest.Run(t, "mkfs.ext4", "-q", "-F", gpt+"p2")
	mounted(t, gpt+"p2", "ext4")
	before := snapshot(t, gpt) + snapshot(t, mbr)
	logical := func(first, last uint64) layout.Entry {
		return layout.Entry{FirstLBA: first, LastLBA: last, MBR: &layout.MBREntry{Type: 0x83}}
	}
	taken := stage(90112, 100351)
	taken.Number = 2
	twice := stage(90112, 100351)
	twice.GUID = uuid.MustParse("aaaaaaaa-0000-4000-8000-000000000002")
	for name, tt := range map[string]struct {
		change registration.Change
		want   string
	}{
		"overlaps":          {Add(gpt, stage(81920, 90111), ""), "sectors 81920 to 90111 are not free: partition 3 has 63488 to 83967"},
		"beyond the end":    {Add(gpt, stage(90112, 131071), ""), "are not within"},
		"number":            {Add(gpt, taken, ""), "there is a partition 2 already"},
		"GUID":              {Add(gpt, twice, ""), "there is a partition with the GUID"},
		"no such partition": {Remove(gpt, 8), "has no partition 8"},
		"no room to grow":   {Change(gpt, 2, func(e *layout.Entry) { e.LastLBA++ }), "are not free"},
		"moves":             {Change(gpt, 2, func(e *layout.Entry) { e.FirstLBA++ }), "the first sector would change"},
		"no table":          {Add(blank, stage(2048, 4095), ""), "no partition table"},
		"renumbers":         {Remove(mbr, 5), "partition 6 would become partition 5"},
		"between":           {Add(mbr, logical(45058, 47000), ""), "partition 6 would become partition 7"},
		"no type":           {Add(mbr, layout.Entry{FirstLBA: 69632, LastLBA: 70000}, ""), "has to have a type"},
		"mounted":           {Resize(gpt+"p2", 10*mib), "mounted"},
		"no file system":    {Resize(gpt+"p1", mib), "no file system with a UUID"},
		"no swap":           {GiveUp(gpt+"p2", ""), "no swap area"},
		"neither":           {GiveUp(blank, ""), "neither a partition nor a volume"},
	} {
		s := registered(t)
		_, err := s.Do(t.Context(), tt.change)
		if err == nil || !strings.Contains(err.Error(), tt.want) || len(s.List(t.Context())) > 0 {
			t.Errorf("%s: %v", name, err)
		}
		_ = s.Close()
	}
	if now := snapshot(t, gpt) + snapshot(t, mbr); now != before {
		t.Error(regtest.Diff(before, now))
	}
}

// A disk has another name after a reboot, or is not there.
func TestRenamedDisk(t *testing.T) {
	dev := table(t, 64*mib, gptScript)
	before := snapshot(t, dev)
	old := filepath.Join(t.TempDir(), "sda")
	if err := os.Symlink(dev, old); err != nil {
		t.Fatal(err)
	}
	s := registered(t, Add(old, stage(83968, 124927), ""))
	d, _, err := locate.OfDisk(dev)
	if err == nil {
		err = os.Remove(old)
	}
	if err != nil {
		t.Fatal(err)
	}
	tooltest.Run(t, "sgdisk", "--disk-guid=R", dev)
	if got := undone(t, s); !strings.HasPrefix(got, "failed: check r1: find disk "+old) || !errors.Is(s.List(t.Context())[0].Err, locate.ErrNotFound) {
		t.Error(got)
	}
	tooltest.Run(t, "sgdisk", "--disk-guid="+d.GUID.String(), dev)
	if got := undone(t, s); got != "taken back" {
		t.Error(got)
	}
	if now := snapshot(t, dev); now != before {
		t.Error(regtest.Diff(before, now))
	}
}

func FuzzPacked(f *testing.F) {
	seed, err := packed("some bytes").MarshalJSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		var p packed
		if err := p.UnmarshalJSON(b); err != nil {
			return
		}
		out, err := p.MarshalJSON()
		var again packed
		if err == nil {
			err = again.UnmarshalJSON(out)
		}
		if err != nil || !bytes.Equal(again, p) {
			t.Errorf("%q: %v", b, err)
		}
	})
}
