package registration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// mark is a change for tests: a file with a word in it.
type mark struct {
	Path   string
	Word   string
	Before string // "" for none
	Sum    string
}

func (m *mark) Kind() string   { return "mark" }
func (m *mark) String() string { return "mark " + m.Word }

func (m *mark) now() string {
	b, _ := os.ReadFile(m.Path)
	return string(b)
}

func (m *mark) Prepare(_ context.Context, env *Env) (err error) {
	if m.Word == "refused" {
		return errors.New("refused")
	}
	m.Before = m.now()
	m.Sum, err = env.Keep("before", strings.NewReader(m.Before))
	return err
}

func (m *mark) Apply(_ context.Context, env *Env) error {
	env.Note("first half")
	if err := os.WriteFile(m.Path, []byte(m.Word[:1]), 0o600); err != nil {
		return err
	}
	env.Note("second half")
	if m.Word == "broken" {
		return errors.New("it broke")
	}
	return os.WriteFile(m.Path, []byte(m.Word), 0o600)
}

func (m *mark) Check(context.Context, *Env) (Standing, error) {
	switch now := m.now(); now {
	case m.Before:
		return Standing{Is: Before}, nil
	case m.Word:
		return Standing{Is: Stands}, nil
	case m.Word[:1]:
		return Standing{Is: Partly}, nil
	case "unreadable":
		return Standing{}, errors.New("cannot be told")
	default:
		return Standingf(Changed, "it says %q", now), nil
	}
}

func (m *mark) Revert(_ context.Context, env *Env) error {
	f, err := env.Kept("before", m.Sum)
	if err != nil {
		return err
	}
	defer f.Close()
	env.Note("first half back")
	if err := os.WriteFile(m.Path, []byte(m.Word[:1]), 0o600); err != nil {
		return err
	}
	env.Note("second half back")
	if m.Before == "" {
		return os.Remove(m.Path)
	}
	return os.WriteFile(m.Path, []byte(m.Before), 0o600)
}

var kinds = Kinds{"mark": {Version: 1, New: func() Change { return new(mark) }}}

func config(base string, dirs ...string) Config {
	c := Config{Kinds: kinds, Lock: filepath.Join(base, "lock"), Group: "run", Command: "vic test", Who: "root"}
	for _, d := range dirs {
		c.Dirs = append(c.Dirs, filepath.Join(base, d))
	}
	c.Now = func() time.Time { return time.Unix(1700000000, 0) }
	return c
}

func open(t *testing.T, c Config) *Store {
	t.Helper()
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func other(t *testing.T, dir string) Copy {
	t.Helper()
	f, err := Folder(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func do(t *testing.T, s *Store, base, name, word string) string {
	t.Helper()
	id, err := s.Do(t.Context(), &mark{Path: filepath.Join(base, name), Word: word})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// did is what an undo came to: "r2 taken back; r1 left alone".
func did(list []Outcome) string {
	var parts []string
	for _, o := range list {
		parts = append(parts, fmt.Sprintf("%s %s", o.ID, o.Did))
	}
	return strings.Join(parts, "; ")
}

func undo(t *testing.T, s *Store, sel Selection) string {
	t.Helper()
	list, err := s.Undo(t.Context(), sel)
	if err != nil {
		t.Fatal(err)
	}
	return did(list)
}

func TestDoAndUndo(t *testing.T) {
	base := t.TempDir()
	s := open(t, config(base, "own", "copy"))
	do(t, s, base, "a", "one")
	do(t, s, base, "a", "two") // on top of the first
	do(t, s, base, "b", "three")

	list := s.List(t.Context())
	var standing []Is
	for _, r := range list {
		standing = append(standing, r.Standing.Is)
		if r.State != Applied || r.Group != "run" || r.Command != "vic test" || r.Title == "" {
			t.Errorf("record %+v", r.Record)
		}
	}
	if !slices.Equal(standing, []Is{Changed, Stands, Stands}) {
		t.Errorf("standing %v", standing)
	}
	for _, tt := range []struct {
		sel  Selection
		want string
	}{
		{Selection{All: true, DryRun: true}, "r3 would be taken back; r2 would be taken back; r1 would be left alone"},
		{Selection{IDs: []string{"r1"}}, "r1 left alone"},
		{Selection{Group: "another run"}, ""},
		{Selection{Group: "run"}, "r3 taken back; r2 taken back; r1 taken back"},
		{Selection{All: true}, ""},
		{Selection{IDs: []string{"r2"}}, "r2 was taken back"},
	} {
		if got := undo(t, s, tt.sel); got != tt.want {
			t.Errorf("undo %+v: %s, want %s", tt.sel, got, tt.want)
		}
	}
	if entries, _ := os.ReadDir(filepath.Join(base, "copy")); len(entries) != 3 {
		t.Errorf("the copy has %v: what was kept should be gone", entries)
	}
	if id := do(t, s, base, "c", "four"); id != "r4" {
		t.Errorf("an ID was given twice: %s", id)
	}
}

func TestUndoLeavesOthers(t *testing.T) {
	base := t.TempDir()
	s := open(t, config(base, "own"))
	for _, n := range []string{"a", "b", "c", "d", "e"} {
		do(t, s, base, n, "word")
	}
	for name, text := range map[string]string{"b": "mine now", "d": "unreadable"} {
		if err := os.WriteFile(filepath.Join(base, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(base, "e")); err != nil {
		t.Fatal(err)
	}
	want := "r5 was as before; r4 failed; r3 taken back; r2 left alone; r1 taken back"
	if got := undo(t, s, Selection{All: true}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := undo(t, s, Selection{IDs: []string{"r2"}, Forget: true}); got != "r2 forgotten" {
		t.Error(got)
	}
	if b, err := os.ReadFile(filepath.Join(base, "b")); err != nil || string(b) != "mine now" {
		t.Errorf("%s %v", b, err)
	}
	if _, err := s.Undo(t.Context(), Selection{IDs: []string{"r9"}}); !errors.Is(err, ErrUnknownID) {
		t.Error(err)
	}
}

func TestDoFails(t *testing.T) {
	base := t.TempDir()
	s := open(t, config(base, "own", "copy"))
	if _, err := s.Do(t.Context(), &mark{Path: base + "/x", Word: "refused"}); err == nil || len(s.List(t.Context())) > 0 {
		t.Error("a change that was refused is registered", err)
	}
	id, err := s.Do(t.Context(), &mark{Path: base + "/x", Word: "broken"})
	if err == nil {
		t.Fatal("no error")
	}
	r := s.List(t.Context())[0]
	if r.ID != id || r.State != Planned || r.Error != "it broke" || r.Standing.Is != Partly {
		t.Errorf("%+v", r)
	}
	if got := undo(t, s, Selection{All: true}); got != "r1 taken back" {
		t.Error(got)
	}
	if _, err := os.Stat(base + "/x"); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestLock(t *testing.T) {
	base := t.TempDir()
	s := open(t, config(base, "own"))
	if _, err := Open(config(base, "own")); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	ro := config(base, "own", "none")
	ro.ReadOnly = true
	reader := open(t, ro)
	if _, err := reader.Do(t.Context(), &mark{Word: "x"}); err == nil {
		t.Error("changed while open for reading")
	}
	if _, err := reader.Undo(t.Context(), Selection{All: true}); err == nil {
		t.Error("undone while open for reading")
	}
	if _, err := os.Stat(filepath.Join(base, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error("a folder was made:", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, config(base, "own"))
}

func TestEitherFolderIsEnough(t *testing.T) {
	for _, lost := range []string{"own", "copy"} {
		base := t.TempDir()
		s := open(t, config(base, "own"))
		do(t, s, base, "a", "one")
		if err := s.Mirror(other(t, filepath.Join(base, "copy"))); err != nil {
			t.Fatal(err)
		}
		do(t, s, base, "b", "two")
		if err := errors.Join(s.Close(), os.RemoveAll(filepath.Join(base, lost))); err != nil {
			t.Fatal(err)
		}
		s = open(t, config(base, "own", "copy")) // makes the lost one again
		if err := os.RemoveAll(filepath.Join(base, "copy")); err != nil {
			t.Fatal(err)
		}
		warned := false
		s.Warn = func(error) { warned = true }
		if got := undo(t, s, Selection{All: true}); got != "r2 taken back; r1 taken back" || !warned {
			t.Errorf("without %s: %s, warned %t", lost, got, warned)
		}
	}
}

func TestDamagedAndForeignRecords(t *testing.T) {
	base := t.TempDir()
	s := open(t, config(base, "own"))
	for range 4 {
		do(t, s, base, "a", "word")
	}
	edit := func(id string, f func(map[string]any)) {
		path := filepath.Join(base, "own", id+".json")
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		f(m)
		if b, err = json.Marshal(m); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit("r1", func(m map[string]any) { m["kind"] = "hologram" })
	edit("r2", func(m map[string]any) { m["kindVersion"] = 2 })
	edit("r3", func(m map[string]any) { m["version"] = 2 })
	edit("r4", func(m map[string]any) { m["change"].(map[string]any)["Extra"] = 1 })
	if err := os.WriteFile(filepath.Join(base, "own", "r5.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, config(base, "own"))
	want := "r5 left alone; r4 failed; r3 left alone; r2 left alone; r1 left alone"
	if got := undo(t, s, Selection{All: true}); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if list := s.List(t.Context()); len(list) != 5 || list[0].Standing.Is != Unknown || !errors.Is(list[0].Err, ErrUnknownKind) {
		t.Errorf("%+v", list)
	}
	if id := do(t, s, base, "z", "word"); id != "r6" {
		t.Errorf("next is %s", id)
	}
	foreign := t.TempDir()
	o := open(t, config(foreign, "own"))
	do(t, o, foreign, "a", "word")
	if err := o.Mirror(other(t, filepath.Join(base, "own"))); !errors.Is(err, ErrOthers) {
		t.Error(err)
	}
}
