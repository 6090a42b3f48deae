package logwrites

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const diskSize = 256 << 10

// before is the disk before all writes.
var before = bytes.NewReader(bytes.Repeat([]byte{0xff}, diskSize))

// random makes a log of writes to a disk, which it returns as it ends.
func random(t *testing.T, seed uint64, sector int) (*Log, *Overlay) {
	t.Helper()
	dev := NewOverlay(before, diskSize, sector)
	r := NewRecorder(dev, Faults{})
	choose := rand.New(rand.NewPCG(seed, 0))
	sectors := diskSize / sector
	for i := range 60 {
		var err error
		n := 1 + choose.IntN(8)
		off, length := int64(choose.IntN(sectors-n)*sector), n*sector
		switch choose.IntN(8) {
		case 0:
			err = r.Sync()
		case 1:
			err = r.Zero(off, int64(length))
		case 2:
			r.Mark(fmt.Sprint("mark ", i))
		default:
			_, err = r.WriteAt(bytes.Repeat([]byte{byte(i + 1)}, length), off)
			if choose.IntN(6) == 0 { // no device calls for it: the kernel's logs have it
				r.entries[len(r.entries)-1].Flags |= FUA
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return r.Log(), dev
}

func content(t *testing.T, d *Overlay) []byte {
	t.Helper()
	b := make([]byte, d.Size())
	if _, err := d.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// Each sector after a cut is what a disk may have there: what was flushed or
// forced, or what a later write that was submitted before the cut put there.
func TestCutsAreWhatADiskMayDo(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		l, end := random(t, 7, sector)
		cuts := l.Cuts(Sample{Others: 60, Seeds: 2})
		if len(cuts) < 100 {
			t.Fatalf("%d cuts", len(cuts))
		}
		states := map[string]string{}
		err := l.Replay(before, diskSize, cuts, func(c Cut, d *Overlay) error {
			got := content(t, d)
			may(t, l, c, got)
			states[string(got)] = c.String()
			alone := NewOverlay(before, diskSize, sector)
			if err := c.Apply(alone); err != nil {
				return err
			}
			if !bytes.Equal(content(t, alone), got) {
				t.Errorf("%v: Apply and Replay differ", c)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(states) < len(cuts)*3/4 { // some overwrite each other
			t.Errorf("%d cuts leave %d different disks", len(cuts), len(states))
		}
		if _, ok := states[string(content(t, end))]; !ok {
			t.Error("no cut leaves the disk as it ended")
		}
		if _, ok := states[string(content(t, NewOverlay(before, diskSize, sector)))]; !ok {
			t.Error("no cut leaves the disk as it began")
		}
	}
}

// may checks a disk against the rule, sector by sector, without the code that
// made it.
func may(t *testing.T, l *Log, c Cut, got []byte) {
	t.Helper()
	flush := 0
	for i, e := range l.Entries[:c.N] {
		if e.Flags&Flush != 0 {
			flush = i
		}
	}
	for at := 0; at < diskSize; at += l.SectorSize {
		allowed := []byte{0xff}
		for i, e := range l.Entries[:c.N] {
			if e.Flags&Mark != 0 || int64(at) < e.Offset || int64(at) >= e.Offset+e.Length {
				continue
			}
			var b [1]byte
			if _, err := e.ReadAt(b[:], int64(at)-e.Offset); err != nil && !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			if i < flush || e.Flags&FUA != 0 {
				allowed = nil
			}
			allowed = append(allowed, b[0])
		}
		sector := got[at : at+l.SectorSize]
		if bytes.IndexByte(allowed, sector[0]) < 0 || !bytes.Equal(sector, bytes.Repeat(sector[:1], len(sector))) {
			t.Fatalf("%v: sector at %d has %x, allowed are %x", c, at, sector[:4], allowed)
		}
	}
}

func TestTornWritesEndBetweenSectors(t *testing.T) {
	l := &Log{SectorSize: 512, Entries: []Entry{{Length: 64 * 512, data: bytes.NewReader(bytes.Repeat([]byte{9}, 64*512))}}}
	torn := 0
	for seed := range uint64(100) {
		d := NewOverlay(nil, diskSize, 512)
		if err := l.Cut(1, Torn(seed)).Apply(d); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(content(t, d), []byte{9}); n%512 != 0 {
			t.Fatalf("seed %d: %d bytes were written", seed, n)
		} else if n > 0 && n < 64*512 {
			torn++
		}
	}
	if torn < 20 {
		t.Errorf("%d of 100 writes were torn", torn)
	}
}

func TestSubsets(t *testing.T) {
	l := &Log{SectorSize: 512, Entries: []Entry{
		{Length: 512}, {Flags: Flush}, {Offset: 512, Length: 512}, {Flags: Mark, Label: "here"},
		{Offset: 1024, Length: 512, Flags: FUA}, {Offset: 1536, Length: 1024},
		{Offset: 4096, Length: 512, Flags: Flush}, // flushes, then writes
	}}
	for _, tt := range []struct {
		n    int
		s    Subset
		want []Piece
	}{
		{1, None(), nil}, {1, All(), []Piece{{0, 0, 512}}}, {2, All(), nil},
		{6, All(), []Piece{{2, 0, 512}, {5, 0, 1024}}}, {6, Prefix(1), []Piece{{2, 0, 512}}}, {6, Last(), []Piece{{5, 0, 1024}}},
		{6, Prefix(9), []Piece{{2, 0, 512}, {5, 0, 1024}}}, {7, All(), []Piece{{6, 0, 512}}},
	} {
		if got := l.Cut(tt.n, tt.s).Pieces; fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("cut at %d, %s: got %v, want %v", tt.n, tt.s.Name, got, tt.want)
		}
	}
	if l.Marked("here") != 3 || l.Marked("there") != -1 || l.Writes() != 5 {
		t.Errorf("mark at %d, %d writes", l.Marked("here"), l.Writes())
	}
}

func TestSample(t *testing.T) {
	l, _ := random(t, 3, 512)
	for _, s := range []Sample{{Max: 7}, {Max: 1}, {From: 10, To: 20, Others: 100}, {From: 60}, {Near: 1000}} {
		cuts := l.Cuts(s)
		if s.Max > 0 && len(cuts) != s.Max || len(cuts) == 0 {
			t.Errorf("%+v: %d cuts", s, len(cuts))
		}
		for _, c := range cuts {
			if c.N < s.From || s.To > 0 && c.N > s.To {
				t.Errorf("%+v: %v", s, c)
			}
		}
		if again := l.Cuts(s); fmt.Sprint(again) != fmt.Sprint(cuts) {
			t.Errorf("%+v: two choices", s)
		}
	}
	if got := len(l.Points(Sample{Near: 1000})); got != len(l.Entries)+1 {
		t.Errorf("%d points of %d entries", got, len(l.Entries))
	}
}

func TestFormat(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		l, _ := random(t, 5, sector)
		path := filepath.Join(t.TempDir(), "log")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := l.Encode(f); err != nil {
			t.Fatal(err)
		}
		got, err := Open(f)
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, l)
		// As a killed QEMU leaves it: the super block is behind, the last
		// entry is not whole.
		if _, err := f.WriteAt([]byte{3}, 16); err != nil {
			t.Fatal(err)
		}
		if got, err = Open(f); err != nil || got.Counted != 3 {
			t.Fatalf("%+v %v", got, err)
		}
		same(t, got, l)
	}
}

func same(t *testing.T, got, want *Log) {
	t.Helper()
	if got.SectorSize != want.SectorSize || len(got.Entries) != len(want.Entries) {
		t.Fatalf("got %d entries with sectors of %d, want %d with %d", len(got.Entries), got.SectorSize, len(want.Entries), want.SectorSize)
	}
	for i, w := range want.Entries {
		g := got.Entries[i]
		a, b := make([]byte, g.Length), make([]byte, w.Length)
		if _, err := g.ReadAt(a, 0); err != nil && g.Length > 0 {
			t.Errorf("entry %d: %v", i, err)
		}
		if _, err := w.ReadAt(b, 0); err != nil && w.Length > 0 {
			t.Errorf("entry %d: %v", i, err)
		}
		if g.Offset != w.Offset || g.Flags != w.Flags || g.Label != w.Label || !bytes.Equal(a, b) {
			t.Errorf("entry %d: got %+v, want %+v", i, g, w)
		}
	}
}

// sample is the smallest log with everything in it.
func sample(f testing.TB) []byte {
	l := &Log{SectorSize: 512, Entries: []Entry{
		{Offset: 512, Length: 512, data: strings.NewReader(strings.Repeat("d", 512))},
		{Flags: Mark, Label: "here"}, {Length: 1024, Flags: Discard}, {Flags: Flush},
	}}
	d := NewOverlay(nil, 8<<10, 512)
	if err := l.Encode(d); err != nil {
		f.Fatal(err)
	}
	b := make([]byte, 6*512)
	if _, err := d.ReadAt(b, 0); err != nil {
		f.Fatal(err)
	}
	return b
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		at    int
		value byte
		want  string
	}{
		{0, 'x', "magic"}, {8, 2, "version"}, {25, 3, "sectors of 768"}, {26, 1, "sectors of"}, {16, 9, "entry 4 of 9"},
		{512 + 16, 0x80, "unknown flags 0x80"}, {512 + 7, 0x80, "beyond any disk"}, {512 + 15, 0x80, "beyond any disk"},
		{512 + 9, 1, "cut short"}, {512 + 25, 0xff, "label of"},
	} {
		b := sample(t)
		b[tt.at] = tt.value
		if _, err := Open(bytes.NewReader(b)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("byte %d = %#x: got %v, want %q", tt.at, tt.value, err, tt.want)
		}
	}
	for _, b := range [][]byte{nil, make([]byte, 4096)} {
		if _, err := Open(bytes.NewReader(b)); !errors.Is(err, ErrUnflushed) {
			t.Errorf("%d zeros: %v", len(b), err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(sample(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := Open(bytes.NewReader(b))
		if err != nil {
			return
		}
		if int64(len(l.Entries)) > int64(len(b))/512 {
			t.Fatalf("%d entries in %d bytes", len(l.Entries), len(b))
		}
		for _, c := range l.Cuts(Sample{Max: 4}) {
			for _, p := range c.Pieces {
				if e := l.Entries[p.Index]; p.From < 0 || p.To <= p.From || p.To > e.Length {
					t.Fatalf("%v: %+v of %d bytes", c, p, e.Length)
				}
			}
			d := NewOverlay(nil, 1<<20, l.SectorSize) // writes beyond it are refused
			if err := c.Apply(d); err != nil && !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
		}
	})
}
