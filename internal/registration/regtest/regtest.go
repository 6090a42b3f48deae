// Package regtest is the suite that every kind of change has to pass: made and
// taken back, in one go or interrupted before any of its writes, it leaves the
// host as it was.
package regtest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/registration"
)

// Host is a host for a test.
type Host struct {
	Kinds registration.Kinds
	Env   registration.Env
	// Changes makes the changes anew, in the order in which they are made.
	Changes func() []registration.Change
	// Snapshot is all that has to be as before.
	Snapshot func() string
	// Reboot is what happens to the host when a run is interrupted; it may be nil.
	Reboot func()
	// Step tries only each nth interruption, and fewer with -short; 0 tries all.
	Step int
}

// Act is the kind of what is no change: it may be done at its place between
// others.
const Act = "act"

// errKilled ends a run where it would write next.
var errKilled = errors.New("killed")

// Dir is a directory for a test in memory, where fsync is quick.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "vic-registration-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// Open opens registrations in a folder of the test, with one that mirrors it.
func Open(t testing.TB, h Host, base string, writing func(string)) *registration.Store {
	t.Helper()
	env := h.Env
	env.Writing = writing
	s, err := registration.Open(registration.Config{
		Dirs: []string{filepath.Join(base, "own"), filepath.Join(base, "mirror")},
		Lock: filepath.Join(base, "lock"), Kinds: h.Kinds, Env: env, Group: "test", Command: "go test", Who: "root",
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Run runs the suite.
func Run(t *testing.T, h Host) {
	t.Helper()
	before := h.Snapshot()
	whole(t, h, before)
	step := max(h.Step, 1)
	if testing.Short() {
		step *= 4
	}
	points := 0
	for n := 1; ; n += step {
		base := Dir(t)
		done := interrupted(t, h, base, n, func(s *registration.Store) { makeAll(t, h, s) })
		undoAll(t, h, base, before, "interrupted while it is made")
		if done {
			break
		}
		points++
	}
	for n := 1; ; n += step {
		base := Dir(t)
		s := Open(t, h, base, nil)
		makeAll(t, h, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		done := interrupted(t, h, base, n, func(s *registration.Store) {
			if _, err := s.Undo(t.Context(), registration.Selection{All: true}); err != nil {
				t.Fatal(err)
			}
		})
		undoAll(t, h, base, before, "interrupted while it is taken back")
		if done {
			break
		}
		points++
	}
	t.Logf("interrupted before %d writes, and as before after each", points)
	if points < 4 && step == 1 {
		t.Errorf("only %d writes were told of", points)
	}
}

// whole makes the changes and takes them back without an interruption.
func whole(t *testing.T, h Host, before string) {
	t.Helper()
	base := Dir(t)
	s := Open(t, h, base, nil)
	makeAll(t, h, s)
	for _, r := range s.List(t.Context()) {
		if r.Kind == Act {
			continue
		}
		if r.Err != nil || r.Standing.Is != registration.Stands || r.State != registration.Applied {
			t.Errorf("%s %s: %s %q (%s) %v", r.ID, r.Title, r.Standing.Is, r.Standing.Detail, r.State, r.Err)
		}
	}
	after := h.Snapshot()
	if after == before {
		t.Error("the changes change nothing")
	}
	dry, err := s.Undo(t.Context(), registration.Selection{All: true, DryRun: true})
	if err != nil || len(dry) != len(h.Changes()) || h.Snapshot() != after {
		t.Errorf("a dry run of %d changes: %v", len(dry), err)
	}
	for _, o := range dry {
		if o.Did != registration.WouldUndo && o.Kind != Act {
			t.Errorf("dry run: %s %s: %s", o.ID, o.Did, o.Reason)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	undoAll(t, h, base, before, "made")
}

func makeAll(t *testing.T, h Host, s *registration.Store) {
	t.Helper()
	for _, c := range h.Changes() {
		if _, err := s.Do(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

// interrupted runs f, and ends it at the nth write; it says whether f came to
// its end before.
func interrupted(t *testing.T, h Host, base string, n int, f func(*registration.Store)) (done bool) {
	t.Helper()
	count := 0
	s := Open(t, h, base, nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = Open(t, h, base, func(string) {
		if count++; count == n {
			panic(errKilled)
		}
	})
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if r := recover(); r != nil && r != errKilled {
			panic(r)
		}
		if h.Reboot != nil && !done {
			h.Reboot()
		}
	}()
	f(s)
	return true
}

func undoAll(t *testing.T, h Host, base, before, when string) {
	t.Helper()
	s := Open(t, h, base, nil)
	list, err := s.Undo(t.Context(), registration.Selection{All: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list {
		if !o.Undone() {
			t.Errorf("%s: undo %s %s: %s %s", when, o.ID, o.Title, o.Did, o.Reason)
		}
	}
	if again, err := s.Undo(t.Context(), registration.Selection{All: true}); err != nil || len(again) > 0 {
		t.Errorf("%s: undone again: %v %v", when, again, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := h.Snapshot(); got != before {
		t.Fatalf("%s: the host is not as before:\n%s", when, Diff(before, got))
	}
}

// Diff shows the lines that differ.
func Diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for i := range max(len(w), len(g)) {
		x, y := "", ""
		if i < len(w) {
			x = w[i]
		}
		if i < len(g) {
			y = g[i]
		}
		if x != y {
			b.WriteString("-" + x + "\n+" + y + "\n")
		}
	}
	return b.String()
}

// Tree is a snapshot of a directory.
func Tree(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, st os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		b.WriteString(strings.TrimPrefix(path, dir) + " " + st.Mode().String())
		switch {
		case st.Mode().IsRegular():
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b.WriteString(" " + st.ModTime().UTC().String() + " " + string(text[:min(len(text), 2000)]))
		case st.Mode()&os.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			b.WriteString(" -> " + to)
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
