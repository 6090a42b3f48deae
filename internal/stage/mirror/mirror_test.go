package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/volume"
)

// medium is a disk in memory, which loses power after some sectors.
type medium struct {
	b      []byte
	left   int  // sectors that are still written; < 0: all
	random bool // the last sectors of a write come before the first
}

var errCut = errors.New("the power is cut")

func (m *medium) ReadAt(p []byte, off int64) (int, error) { return copy(p, m.b[off:]), nil }

func (m *medium) Sync() error { return nil }

func (m *medium) WriteAt(p []byte, off int64) (int, error) {
	order := make([]int, len(p)/sector)
	for i := range order {
		order[i] = i
	}
	if m.random {
		rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	}
	for _, i := range order {
		if m.left == 0 {
			return 0, errCut
		}
		m.left--
		copy(m.b[off+int64(i)*sector:], p[i*sector:(i+1)*sector])
	}
	return len(p), nil
}

func document() stage.Document {
	sum := strings.Repeat("ab", 32)
	return stage.Document{
		Version: stage.Version, ID: uuid.MustParse("a1b2c3d4-0000-4000-8000-000000000001"), Firmware: "uefi",
		Disk: request.DiskSelector{Serial: "QM0001"}, Stage: stage.Place{Number: 2, Offset: 1 << 20, Size: 64 << 20},
		Files: []stage.File{{Name: stage.Payload, SHA256: sum}, {Name: stage.Request, SHA256: sum}},
	}
}

func newMedium(t *testing.T) *medium {
	t.Helper()
	d := document()
	m := &medium{b: make([]byte, d.Stage.Size), left: -1}
	for i := range d.Files {
		d.Files[i].SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	}
	c := volume.Config{Document: d, Open: func(string) (volume.Source, error) { return volume.Bytes(nil), nil }}
	if err := volume.Write(t.Context(), m, c); err != nil {
		t.Fatal(err)
	}
	return m
}

func open(t *testing.T, m *medium) *Mirror {
	t.Helper()
	got, err := Open(m, document())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func write(t *testing.T, m *Mirror, name, content string) {
	t.Helper()
	if err := m.Write(name, strings.NewReader(content)); err != nil {
		t.Fatal(err)
	}
}

// all is what it holds.
func all(t *testing.T, m *Mirror) map[string]string {
	t.Helper()
	names, err := m.Names()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range names {
		f, err := m.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := got[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		got[name] = string(b)
	}
	return got
}

// What is written is there when it is opened again, whatever was written and
// removed before, for as long as there is room.
func TestFilesComeAndGo(t *testing.T) {
	m := newMedium(t)
	d := open(t, m)
	want := map[string]string{}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 2000 {
		name := fmt.Sprintf("r%d.json", r.IntN(40))
		if r.IntN(4) == 0 {
			if err := d.Remove(name); err != nil {
				t.Fatal(err)
			}
			delete(want, name)
		} else {
			want[name] = strings.Repeat(fmt.Sprint(i, " "), r.IntN(5000))
			write(t, d, name, want[name])
		}
		if i%97 == 0 {
			d = open(t, m)
		}
	}
	if got := all(t, open(t, m)); !equal(got, want) {
		t.Errorf("%d files that are not the %d that were written", len(got), len(want))
	}
	if _, err := d.Open("r99.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if got, ok := b[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// Whichever sectors of a write a power cut leaves out, what was there before is
// there, or what was written; the other files, and those of the stage, are whole.
func TestPowerCuts(t *testing.T) {
	base := newMedium(t)
	d := open(t, base)
	write(t, d, "r1.json", strings.Repeat("one ", 4000))
	write(t, d, "r2.json", "two")
	write(t, d, "r1.json", strings.Repeat("ONE ", 4000)) // the first version is left behind it
	before := all(t, d)
	at, size := d.at, int64(d.blocks)*block
	for _, random := range []bool{false, true} {
		for _, step := range []struct {
			what  string
			after func(map[string]string)
			do    func(*Mirror) error
		}{
			{"written again", func(f map[string]string) { f["r1.json"] = strings.Repeat("new ", 5000) }, func(m *Mirror) error {
				return m.Write("r1.json", strings.NewReader(strings.Repeat("new ", 5000)))
			}},
			{"added", func(f map[string]string) { f["r3.before"] = strings.Repeat("x", 10000) }, func(m *Mirror) error {
				return m.Write("r3.before", strings.NewReader(strings.Repeat("x", 10000)))
			}},
			{"removed", func(f map[string]string) { delete(f, "r2.json") }, func(m *Mirror) error { return m.Remove("r2.json") }},
		} {
			after := map[string]string{}
			for k, v := range before {
				after[k] = v
			}
			step.after(after)
			for n := 0; ; n++ {
				m := &medium{b: bytes.Clone(base.b), left: n, random: random}
				err := step.do(open(t, m))
				m.left = -1
				got := open(t, m)
				if now := all(t, got); !equal(now, before) && !equal(now, after) || err == nil && !equal(now, after) {
					t.Fatalf("%s, %d sectors written (%v): %v", step.what, n, err, keys(now))
				}
				if !bytes.Equal(m.b[:at], base.b[:at]) || !bytes.Equal(m.b[at+size:], base.b[at+size:]) {
					t.Fatal("something else of the stage was written to")
				}
				write(t, got, "r4.json", "it goes on")
				if err == nil {
					break
				}
			}
		}
	}
}

func keys(m map[string]string) (list []string) {
	for k, v := range m {
		list = append(list, fmt.Sprintf("%s (%d)", k, len(v)))
	}
	slices.Sort(list)
	return list
}

// A mirror that is full says so, and keeps what it has.
func TestFull(t *testing.T) {
	m := newMedium(t)
	d := open(t, m)
	big := strings.Repeat("x", 1<<20)
	var err error
	n := 0
	for ; err == nil; n++ {
		err = d.Write(fmt.Sprintf("r%d.before", n+1), strings.NewReader(big))
	}
	if !errors.Is(err, ErrFull) || n != 4 {
		t.Errorf("%v after %d MiB", err, n)
	}
	if got := all(t, open(t, m)); len(got) != 3 || got["r1.before"] != big {
		t.Errorf("%v", keys(got))
	}
	if err := d.Remove("r2.before"); err != nil {
		t.Fatal(err)
	}
	write(t, d, "r9.before", big)
}

// Nothing is written once the stage is gone, or another is in its place; and what
// is of another attempt does not count.
func TestGone(t *testing.T) {
	m := newMedium(t)
	d := open(t, m)
	write(t, d, "r1.json", "one")
	d.There = func() error { return errors.New("no partition") }
	if err := d.Write("r2.json", strings.NewReader("two")); !errors.Is(err, ErrGone) || !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := d.Remove("r1.json"); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	d.There = nil
	was := bytes.Clone(m.b)
	clear(m.b[:sector])
	if err := d.Write("r2.json", strings.NewReader("two")); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
	if !bytes.Equal(m.b[sector:], was[sector:]) {
		t.Error("it was written to")
	}
	copy(m.b, was)
	other := document()
	other.ID[15]++ // the volume ID is of the first bytes
	if o, err := Open(m, other); err != nil || len(o.files) > 0 {
		t.Errorf("what another attempt has written: %v %v", o, err)
	}
	other.ID[0]++
	if _, err := Open(m, other); err == nil {
		t.Error("another stage was opened")
	}
}

// A file that holds what a mirror looks like is a file.
func TestMirrorInAMirror(t *testing.T) {
	m := newMedium(t)
	d := open(t, m)
	write(t, d, "r1.json", "one")
	inner := append(make([]byte, block-headSize-len("r2.before")), encode(version{name: "r1.json", sequence: 99, content: []byte("fake")}, d.id)...)
	if err := d.Write("r2.before", bytes.NewReader(inner)); err != nil {
		t.Fatal(err)
	}
	if got := all(t, open(t, m)); got["r1.json"] != "one" || len(got) != 2 {
		t.Errorf("%v", keys(got))
	}
}
