package storage_test

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	plan "github.com/victorinix/vic/internal/plan/storage"
)

// copied is the machine as it is, to be worked on separately.
func (f *fake) copied() *fake {
	c := *f
	c.tables, c.content, c.vols, c.subvols = maps.Clone(f.tables), maps.Clone(f.content), maps.Clone(f.vols), maps.Clone(f.subvols)
	c.active, c.swaps, c.log, c.count = maps.Clone(f.active), maps.Clone(f.swaps), nil, 0
	return &c
}

// finished is a machine whose disks are as the layout says.
func finished(t *testing.T) *fake {
	t.Helper()
	f := used()
	c := config(f, planFor(t, f, nested, three(), true), three())
	must(t, storage.Run(t.Context(), c))
	f.log = nil
	return f
}

// exit is the code of the error that a run ended with.
func exit(err error) int {
	var e *storage.Error
	if !errors.As(err, &e) {
		return -1
	}
	return e.Exit
}

func (f *fake) writes() []string {
	return slices.DeleteFunc(slices.Clone(f.log), func(s string) bool { return strings.HasPrefix(s, "release") })
}

func TestFinishedDisksStayAsTheyAre(t *testing.T) {
	f := finished(t)
	before := f.copied().outcome(t)
	f.reboot()
	var told recorder
	c := config(f, planFor(t, f, nested, three(), false), three())
	c.Sink = &told
	must(t, storage.Run(t.Context(), c))
	if len(f.writes()) > 0 || !reflect.DeepEqual(f.outcome(t), before) {
		t.Errorf("a second format wrote: %q", f.log)
	}
	if !slices.ContainsFunc(told, func(e event.Event) bool { return e.State == event.Done && e.Message == storage.FoundDone }) {
		t.Error("nobody was told that it was done")
	}
}

// What disko made, or a person, has other identifiers: it is left as it is.
func TestForeignIdentifiersStay(t *testing.T) {
	f := finished(t)
	table := f.tables["/dev/one"].Table
	table.GUID[3]++
	table.Entries = slices.Clone(table.Entries)
	for i := range table.Entries {
		table.Entries[i].GUID[3]++
	}
	f.tables["/dev/one"].Table = table
	f.content["/dev/one-2"] = storage.Content{Type: "vfat", UUID: "1234-5678"}
	before := f.copied().outcome(t)
	must(t, storage.Run(t.Context(), config(f, planFor(t, f, nested, three(), false), three())))
	if len(f.writes()) > 0 || !reflect.DeepEqual(f.outcome(t), before) {
		t.Errorf("format wrote: %q", f.log)
	}
}

// A content that is gone, or another, from a finished table is not made again.
func TestFinishedAndGone(t *testing.T) {
	for name, content := range map[string]*storage.Content{"nothing": nil, "xfs": {Type: "xfs", UUID: "other"}, "vfat": {Type: "vfat", UUID: "1234-5678"}} {
		f := used()
		text, names := tabled()
		c := config(f, planFor(t, f, text, names, false), names)
		must(t, storage.Run(t.Context(), c))
		f.log = nil
		delete(f.content, "/dev/one-2")
		if content != nil {
			f.content["/dev/one-2"] = *content
		}
		err := storage.Run(t.Context(), c)
		if exit(err) != storage.ExitRefused || !strings.Contains(err.Error(), "one:ESP holds "+name) || !strings.Contains(err.Error(), "finished") {
			t.Errorf("%s: %v", name, err)
		}
		if len(f.writes()) > 0 {
			t.Errorf("%s: written: %q", name, f.log)
		}
	}
}

// An install replaces an earlier one that left the same tables, but not its own
// when it is resumed.
func TestInstalledAgain(t *testing.T) {
	f := used()
	text, names := tabled()
	c := config(f, planFor(t, f, text, names, true), names)
	hash, err := storage.Hash(c.Disks, c.Steps)
	must(t, err)
	c.Journal, err = storage.OpenJournal(storage.MemDir(t)+"/journal", hash)
	must(t, err)
	journal := c.Journal
	defer func() { must(t, journal.Close()) }()
	must(t, storage.Run(t.Context(), c))
	f.log = nil
	must(t, storage.Run(t.Context(), c))
	if len(f.log) > 0 {
		t.Errorf("resumed at its end, it did %q", f.log)
	}
	c.Journal = nil
	f.mounts = []storage.Mount{{Target: "/old", Source: "/dev/two-1"}}
	if err := storage.Run(t.Context(), c); exit(err) != storage.ExitRefused || len(f.log) > 0 {
		t.Errorf("the earlier one is in use: %v %q", err, f.log)
	}
	f.mounts = nil
	must(t, storage.Run(t.Context(), c))
	if !slices.Contains(f.log, "wipe /dev/one") || !slices.Contains(f.log, "mkfs.vfat /dev/one-2") {
		t.Errorf("an earlier install stayed: %q", f.log)
	}
}

// A disk that is not what the plan was made for is refused before any of the
// disks is written to.
func TestChangedDisksAreRefused(t *testing.T) {
	for want, change := range map[string]func(*fake){
		"not there":                        func(f *fake) { f.disks[1].Serial = "another" },
		"expected 8589934592 bytes":        func(f *fake) { f.disks[1].Size++ },
		"partition 1 is another":           func(f *fake) { f.tables["/dev/one"].Entries[0].LastLBA++ },
		"it had a gpt of 1 partitions":     func(f *fake) { delete(f.tables, "/dev/one") },
		"it had no partition table":        func(f *fake) { f.tables["/dev/two"] = f.tables["/dev/one"] },
		"its partition table was 0b0b0b0b": func(f *fake) { f.tables["/dev/one"].GUID[0]++ },
		"partition 1 is gone":              func(f *fake) { f.tables["/dev/one"].Entries = nil },
		"is in use: /dev/one-1 mounted on": func(f *fake) { f.mounts = []storage.Mount{{Target: "/data", Source: "/dev/one-1"}} },
	} {
		f := used()
		p := planFor(t, f, nested, three(), true)
		// The plan keeps its own tables.
		for i, s := range p.Create {
			if a, ok := s.Action.(plan.CheckState); ok && a.Before != nil {
				before := *a.Before
				before.Entries = slices.Clone(before.Entries)
				a.Before = &before
				p.Create[i].Action = a
			}
		}
		change(f)
		err := storage.Run(t.Context(), config(f, p, three()))
		if exit(err) != storage.ExitRefused || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if len(f.log) > 0 {
			t.Errorf("%s: written: %q", want, f.log)
		}
	}
}

// A disk that is exchanged while the run is going on is not written to.
func TestDiskExchangedMeanwhile(t *testing.T) {
	f := used()
	c := config(f, planFor(t, f, nested, three(), true), three())
	c.Sink = event.SinkFunc(func(e event.Event) {
		if e.Step == "mkfs.xfs three" && e.State == event.Start {
			f.disks[2].Serial = "another"
		}
	})
	err := storage.Run(t.Context(), c)
	if exit(err) != storage.ExitPartial || !strings.Contains(err.Error(), "not there") {
		t.Errorf("%v", err)
	}
	if slices.Contains(f.log, "mkfs.xfs /dev/three") {
		t.Errorf("%q", f.log)
	}
}

func TestExitCodes(t *testing.T) {
	f := used()
	f.at, f.how = 1, "before" // the first release
	c := config(f, planFor(t, f, nested, three(), true), three())
	if err := storage.Run(t.Context(), c); exit(err) != storage.ExitIntact {
		t.Errorf("nothing was written: %v", err)
	}
	f.at = f.count + 4 // the first wipe
	if err := storage.Run(t.Context(), c); exit(err) != storage.ExitPartial {
		t.Errorf("the wipe may have written: %v", err)
	}
}

func TestResumeReport(t *testing.T) {
	f := used()
	p := planFor(t, f, nested, three(), true)
	f.at, f.how = 11, "before"
	c := config(f, p, three())
	hash, err := storage.Hash(c.Disks, c.Steps)
	must(t, err)
	path := storage.MemDir(t) + "/journal"
	for _, want := range []string{"", "resuming: 7 of "} {
		var told recorder
		c.Sink = &told
		c.Journal, err = storage.OpenJournal(path, hash)
		must(t, err)
		err = storage.Run(t.Context(), c)
		must(t, c.Journal.Close())
		at := slices.IndexFunc(told, func(e event.Event) bool { return strings.HasPrefix(e.Message, "resuming") })
		if want == "" {
			if !errors.Is(err, errDied) || at >= 0 {
				t.Errorf("first run: %v, %d", err, at)
			}
			continue
		}
		must(t, err)
		if at < 0 || !strings.HasPrefix(told[at].Message, want) || !strings.HasSuffix(told[at].Message, "steps found done") {
			t.Errorf("%d %+v", at, told)
		}
	}
}

// tabled is nested without the disk that has no table.
func tabled() (string, map[string]plan.Disk) {
	before, _, _ := strings.Cut(nested, "  three:")
	_, after, _ := strings.Cut(nested, "mountpoint: /srv}\n")
	names := three()
	delete(names, "three")
	return before + after, names
}

// Without the journal, a plan that is made again from what is there finishes
// what an earlier one left: nothing of it is taken for done.
func TestPlannedAgain(t *testing.T) {
	text, names := tabled()
	run := func(f *fake, anew bool) error {
		return storage.Run(t.Context(), config(f, planFor(t, f, text, names, anew), names))
	}
	undisturbed := used()
	must(t, run(undisturbed, true))
	want := undisturbed.outcome(t)
	for at := 1; at <= undisturbed.count; at++ {
		for _, how := range []string{"before", "inside", "after"} {
			f := used()
			f.at, f.how = at, how
			if err := run(f, true); !errors.Is(err, errDied) {
				t.Fatal(err)
			}
			f.reboot()
			what := f.log[len(f.log)-1]
			if err := run(f, false); err != nil {
				t.Fatalf("died %s %s, planned again: %v", how, what, err)
			}
			got := f.outcome(t)
			if unfinished(got) {
				t.Errorf("died %s %s: %+v", how, what, got)
			}
			if !reflect.DeepEqual(slices.Sorted(maps.Keys(got.Content)), slices.Sorted(maps.Keys(want.Content))) {
				t.Errorf("died %s %s:\n got %v\nwant %v", how, what, got.Content, want.Content)
			}
		}
	}
}

func TestProgramsAreAskedForFirst(t *testing.T) {
	f := used()
	f.absent = []string{"zpool", "bcachefs", "mkfs.vfat"}
	d := plan.Device{Disk: "one"}
	steps := []plan.Step{
		{Phase: event.Partition, Name: "wipe", Action: plan.Wipe{Disk: identity("one")}},
		{Phase: event.Format, Name: "pool", Action: plan.CreatePool{Pool: "tank", Vdevs: []plan.Word{{Device: &d}}}},
		{Phase: event.Format, Name: "fs", Action: plan.MkfsBcachefs{Members: []plan.BcachefsMember{{Device: d}}}},
		{Phase: event.Format, Name: "esp", Action: plan.Mkfs{Device: d, Format: "vfat"}},
	}
	err := storage.Run(t.Context(), storage.Config{Steps: steps, Disks: three(), Root: "/mnt", Machine: f, Tools: none{}})
	if exit(err) != storage.ExitRefused || !strings.Contains(err.Error(), "zpool and bcachefs and mkfs.vfat") || len(f.log) > 0 {
		t.Errorf("%v %q", err, f.log)
	}
}

func TestMountAndUnmount(t *testing.T) {
	f := finished(t)
	f.reboot()
	p := planFor(t, f, nested, three(), false)
	c := config(f, p, three())
	c.Root = t.TempDir()
	c.Steps = p.Mount
	for range 2 { // the second time there is nothing to do
		must(t, storage.Run(t.Context(), c))
		var dirs []string
		for _, m := range f.mounts {
			dirs = append(dirs, strings.TrimPrefix(m.Target, c.Root))
		}
		if want := []string{"", "/boot", "/home", "/srv", "/var/log"}; !slices.Equal(dirs, want) {
			t.Errorf("mounted %q, want %q", dirs, want)
		}
		if !f.swaps["/dev/vg0/swap"] {
			t.Errorf("swaps: %v", f.swaps)
		}
	}
	f.mounts[1].Source = "/dev/sdx1"
	if err := storage.Run(t.Context(), c); exit(err) != storage.ExitRefused || !strings.Contains(err.Error(), "/dev/sdx1 (vfat) is mounted there") {
		t.Errorf("something else is mounted: %v", err)
	}
	c.Steps = p.Unmount
	for range 2 {
		must(t, storage.Run(t.Context(), c))
		if len(f.mounts)+len(f.swaps)+len(f.active) > 0 {
			t.Errorf("left: %v %v %v", f.mounts, f.swaps, f.active)
		}
	}
	c.Root = "/"
	if err := storage.Run(t.Context(), c); err == nil {
		t.Error("this system was unmounted")
	}
}

func TestMountWantsTheRightFileSystem(t *testing.T) {
	f := finished(t)
	p := planFor(t, f, nested, three(), false)
	f.content["/dev/one-2"] = storage.Content{Type: "vfat", UUID: "0000-0001"}
	c := config(f, p, three())
	c.Root, c.Steps = t.TempDir(), p.Mount
	if err := storage.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "it holds vfat 0000-0001, and not vfat") {
		t.Errorf("%v", err)
	}
}
