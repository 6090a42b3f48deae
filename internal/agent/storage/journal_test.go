package storage

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/event"
	plan "github.com/victorinix/vic/internal/plan/storage"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var (
	first  = plan.Step{Phase: event.Format, Name: "first", Action: plan.Mkfs{UUID: "a"}}
	second = plan.Step{Phase: event.Format, Name: "second", Action: plan.Mkfs{UUID: "b"}}
)

func TestJournal(t *testing.T) {
	path := filepath.Join(MemDir(t), "journal")
	j, err := OpenJournal(path, "hash")
	must(t, err)
	must(t, j.record(first, stateStarted))
	must(t, j.record(first, stateDone))
	must(t, j.record(second, stateStarted))
	if _, err := OpenJournal(path, "hash"); err == nil || !strings.Contains(err.Error(), "another run") {
		t.Errorf("a journal is for one run at a time: %v", err)
	}
	must(t, j.Close())
	j, err = OpenJournal(path, "hash")
	must(t, err)
	if !j.done(first) || !j.started(first) || j.done(second) || !j.started(second) {
		t.Errorf("%v", j.states)
	}
	must(t, j.Close())
	if _, err := OpenJournal(path, "other"); err == nil || !strings.Contains(err.Error(), "another plan") || !strings.Contains(err.Error(), "remove the file") {
		t.Errorf("another plan: %v", err)
	}
}

// Whatever byte a write ends at, the journal opens, knows what is whole, and
// goes on.
func TestTornJournal(t *testing.T) {
	dir := MemDir(t)
	path := filepath.Join(dir, "journal")
	j, err := OpenJournal(path, "hash")
	must(t, err)
	must(t, j.record(first, stateDone))
	must(t, j.record(second, stateDone))
	must(t, j.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	lines := strings.SplitAfter(string(whole), "\n")
	for n := range whole {
		must(t, os.WriteFile(path, whole[:n], 0o600))
		j, err := OpenJournal(path, "hash")
		must(t, err)
		if want := n >= len(lines[0])+len(lines[1]); j.done(first) != want || j.done(second) {
			t.Errorf("cut at %d: %v", n, j.states)
		}
		must(t, j.record(second, stateDone))
		must(t, j.Close())
		j, err = OpenJournal(path, "hash")
		must(t, err)
		if !j.done(second) {
			t.Errorf("cut at %d: what was written afterwards is lost", n)
		}
		must(t, j.Close())
	}
	// The last line holds zeros where a sector did not reach the medium.
	must(t, os.WriteFile(path, []byte(lines[0]+lines[1]+"\x00\x00\x00\n"), 0o600))
	j, err = OpenJournal(path, "hash")
	must(t, err)
	if !j.done(first) {
		t.Error("a torn last line took others with it")
	}
	must(t, j.Close())
	must(t, os.WriteFile(path, []byte(lines[0]+"\x00\x00\n"+lines[1]), 0o600))
	if _, err := OpenJournal(path, "hash"); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("damage before the end: %v", err)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"v":1,"plan":"hash"}` + "\n" + `{"step":"format first","state":"done"}` + "\n"))
	f.Add([]byte("\n\n{}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(MemDir(t), "journal")
		must(t, os.WriteFile(path, text, 0o600))
		j, err := OpenJournal(path, "hash")
		if err != nil {
			return
		}
		must(t, j.record(second, stateDone))
		must(t, j.Close())
		j, err = OpenJournal(path, "hash")
		must(t, err)
		must(t, j.Close())
	})
}

func TestHash(t *testing.T) {
	disks := map[string]plan.Disk{"main": {Serial: "1"}}
	hash := func(steps ...plan.Step) string {
		h, err := Hash(disks, steps)
		must(t, err)
		return h
	}
	renamed := first
	renamed.Name = "other"
	vg := plan.Step{Action: plan.ActivateVG{VG: "x"}}
	lv := plan.Step{Action: plan.Close{VG: "x"}} // the same fields
	seen := map[string]bool{hash(first, second): true, hash(second, first): true, hash(first): true, hash(renamed): true, hash(vg): true, hash(lv): true}
	if len(seen) != 6 {
		t.Error("plans that differ have one hash")
	}
	if !seen[hash(first)] {
		t.Error("a plan has two hashes")
	}
}
