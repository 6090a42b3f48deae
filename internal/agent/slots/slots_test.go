package slots

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/slot"
)

// aged is a card that was updated once: B runs, and is the default.
func aged(t *testing.T) (a, b system) {
	return makeSystem(t, slot.A, "old", 0, slot.Choice{Default: slot.B, Try: slot.A}), makeSystem(t, slot.B, "running", 1, slot.Choice{})
}

// A slot is written, and is what was sent; nothing else is written to.
func TestReceive(t *testing.T) {
	oldA, _ := aged(t)
	for name, tt := range map[string]struct {
		before []byte
		new    system
	}{
		"an empty slot B": {make([]byte, size), makeSystem(t, slot.B, "new", 7, slot.Choice{})},
		"slot B again":    {makeSystem(t, slot.B, "older", 2, slot.Choice{}).image, makeSystem(t, slot.B, "new", 7, slot.Choice{})},
		"slot A":          {oldA.image, makeSystem(t, slot.A, "new", 7, slot.Choice{Default: slot.B, Try: slot.A})},
	} {
		d := newMemory(tt.before)
		var events []event.Event
		sink := event.SinkFunc(func(e event.Event) { events = append(events, e) })
		if err := receive(t.Context(), d, tt.new.order, bytes.NewReader(tt.new.stream(t)), sink); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(d.pending) > 0 {
			t.Errorf("%s: not all is flushed", name)
		}
		for _, e := range tt.new.order.Extents {
			if !bytes.Equal(d.stable[e.Offset:e.Offset+e.Size], tt.new.image[e.Offset:e.Offset+e.Size]) {
				t.Errorf("%s: %s at %d is another", name, e.Name, e.Offset)
			}
		}
		if last := events[len(events)-1]; last.Step != "read back" || last.State != event.Done || last.Done != last.Total {
			t.Errorf("%s: the last event is %+v", name, last)
		}
		if m, err := checkSlot(t.Context(), d, event.Discard); err != nil || m.System != "new" {
			t.Errorf("%s: %v, %v", name, m.System, err)
		}
	}
}

// Whenever the power goes while slot A is written, the firmware starts slot B; in
// slot A is the old system, or the new one, or none that counts as whole.
func TestReceiveCut(t *testing.T) {
	oldA, runningB := aged(t)
	next := makeSystem(t, slot.A, "new", 9, slot.Choice{Default: slot.B, Try: slot.A})
	stream := next.stream(t)
	whole := newMemory(oldA.image)
	if err := receive(t.Context(), whole, next.order, bytes.NewReader(stream), event.Discard); err != nil {
		t.Fatal(err)
	}
	systems := map[string]int{}
	step := 1
	if testing.Short() {
		step = 4
	}
	for cut := 1; cut <= whole.writes; cut += step {
		a := newMemory(oldA.image)
		a.cutAt = cut
		if err := receive(t.Context(), a, next.order, bytes.NewReader(stream), event.Discard); !errors.Is(err, errCut) {
			t.Fatalf("cut %d: %v", cut, err)
		}
		for seed := range uint64(60) {
			after := a.after(seed)
			if n, err := (firmware{after, newMemory(runningB.image)}).starts(false, firstStage); err != nil || n != slot.B {
				t.Fatalf("cut at write %d of %d, seed %d: slot %d starts: %v", cut, whole.writes, seed, n, err)
			}
			if seed > 0 {
				continue
			}
			m, err := checkSlot(t.Context(), after, event.Discard)
			if err != nil {
				m.System = "none"
			}
			systems[m.System]++
		}
	}
	if whole.writes < 30 || systems["none"] == 0 {
		t.Errorf("%d writes, %v: the test checks nothing", whole.writes, systems)
	}
}

// The same, with slots whose tables are laid out without anchors: the cuts find that.
func TestModelFindsLostFiles(t *testing.T) {
	oldA, runningB := aged(t)
	a := newMemory(oldA.image)
	moved := bytes.Clone(oldA.image)
	at := bytes.Index(moved, []byte("BOOTCODEBIN"))
	copy(moved[at:at+512], make([]byte, 512))
	if _, err := a.WriteAt(moved[at/512*512:at/512*512+512], int64(at/512*512)); err != nil {
		t.Fatal(err)
	}
	lost := 0
	for seed := range uint64(20) {
		if n, err := (firmware{a.after(seed), newMemory(runningB.image)}).starts(false, firstStage); err != nil || n != slot.B {
			lost++
		}
	}
	if lost == 0 || lost == 20 {
		t.Errorf("of 20 cuts the model finds %d", lost)
	}
}

// Choosing is one sector: before it the one slot starts, after it the other.
func TestChoose(t *testing.T) {
	a, b := aged(t)
	for _, from := range []slot.Choice{{Default: slot.A}, {Default: slot.A, Try: slot.B}, {Default: slot.B, Try: slot.A}} {
		for _, to := range []slot.Choice{{Default: slot.A, Try: slot.B}, {Default: slot.B, Try: slot.A}, {Default: slot.B, Try: slot.A, Back: slot.A}} {
			d := newMemory(a.image)
			if err := choose(d, from); err != nil {
				t.Fatal(err)
			}
			before := bytes.Clone(d.stable)
			d.cutAt = d.writes + 1
			if err := choose(d, to); !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			for seed := range uint64(20) {
				fw := firmware{d.after(seed), newMemory(b.image)}
				n, err := fw.starts(false, firstStage)
				try, tryErr := fw.starts(true, firstStage)
				old := n == from.Default && (try == from.Try || from.Try == 0 && try == from.Default)
				if err != nil || tryErr != nil || !old && (n != to.Default || try != to.Try) {
					t.Errorf("%+v to %+v: slots %d and %d start: %v", from, to, n, try, errors.Join(err, tryErr))
				}
			}
			d.cutAt = 0
			if err := choose(d, to); err != nil {
				t.Fatal(err)
			}
			changed := 0
			for s := 0; s < size; s += sectorSize {
				if !bytes.Equal(before[s:s+sectorSize], d.stable[s:s+sectorSize]) {
					changed++
				}
			}
			if changed > 1 {
				t.Errorf("%+v to %+v: %d sectors have changed", from, to, changed)
			}
		}
	}
}

// A to B to A: at each cut the firmware starts a slot whose system is whole, and the
// one that it should.
func TestLife(t *testing.T) {
	newCard := func() (*memory, *memory) {
		return newMemory(makeSystem(t, slot.A, "first", 0, slot.Choice{Default: slot.A}).image), newMemory(make([]byte, size))
	}
	second, third := makeSystem(t, slot.B, "second", 3, slot.Choice{}), makeSystem(t, slot.A, "third", 6, slot.Choice{Default: slot.B, Try: slot.A})
	streams := map[int][]byte{slot.B: second.stream(t), slot.A: third.stream(t)}
	steps := func(a, b *memory) []func() error {
		return []func() error{
			func() error {
				return receive(context.Background(), b, second.order, bytes.NewReader(streams[slot.B]), event.Discard)
			},
			func() error { return prepareTrial(a, slot.A) },
			func() error { return choose(a, slot.Choice{Default: slot.B, Try: slot.A}) },
			func() error {
				return receive(context.Background(), a, third.order, bytes.NewReader(streams[slot.A]), event.Discard)
			},
			func() error { return prepareTrial(a, slot.B) },
			func() error { return choose(a, slot.Choice{Default: slot.A, Try: slot.B}) },
		}
	}
	// Which slots may start after a cut within a step.
	allowed := [][]string{{"first"}, {"first"}, {"first", "second"}, {"second"}, {"second"}, {"second", "third"}}
	for i := range allowed {
		for cut := 1; ; cut += 1 + cut/2 {
			a, b := newCard()
			for _, step := range steps(a, b)[:i] {
				if err := step(); err != nil {
					t.Fatal(err)
				}
			}
			for _, d := range []*memory{a, b} {
				d.cutAt = d.writes + cut
			}
			err := steps(a, b)[i]()
			fw := firmware{a.after(uint64(cut)), b.after(uint64(cut))}
			n, startErr := fw.starts(false, firstStage)
			if startErr != nil {
				t.Fatalf("step %d, cut %d: %v", i, cut, startErr)
			}
			m, checkErr := checkSlot(context.Background(), map[int]device{slot.A: a.after(uint64(cut)), slot.B: b.after(uint64(cut))}[n], event.Discard)
			if checkErr != nil || !slices.Contains(allowed[i], m.System) {
				t.Errorf("step %d, cut %d: slot %d starts with %s: %v", i, cut, n, m.System, checkErr)
			}
			if err == nil {
				break
			}
		}
	}
}

func pack(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(data)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What is wrong before the first write leaves the slot as it was.
func TestReceiveRefuses(t *testing.T) {
	oldA, _ := aged(t)
	for want, change := range map[string]func(s *system, stream *[]byte, card []byte){
		"gzip: invalid header":        func(_ *system, stream *[]byte, _ []byte) { *stream = []byte("no stream of the kind") },
		"read the system: EOF":        func(_ *system, stream *[]byte, _ []byte) { *stream = nil },
		"read the tables: unexpected": func(_ *system, stream *[]byte, _ []byte) { *stream = (*stream)[:1000] },
		"they are not what was sent":  func(s *system, _ *[]byte, _ []byte) { s.order.Extents[0].SHA256 = strings.Repeat("00", 32) },
		"was made for":                func(s *system, _ *[]byte, _ []byte) { s.order.Size += 512 },
		"autoboot.txt of slot A, which": func(s *system, _ *[]byte, card []byte) {
			copy(card[bytes.Index(card, []byte("[all]")):], "[ALL]")
		},
		"bootcode.bin of slot A, which": func(s *system, _ *[]byte, card []byte) {
			copy(card[bytes.Index(card, []byte("first stage")):], "FIRST")
		},
		"has to be kept": func(s *system, _ *[]byte, _ []byte) {
			for i := range s.order.Extents {
				s.order.Extents[i].Keep = false
			}
		},
		"slot A has other places": func(s *system, stream *[]byte, card []byte) {
			at := bytes.Index(card, []byte("AUTOBOOTTXT"))
			card[at+28]++ // its size
		},
		"the first sector of its root directory": func(s *system, stream *[]byte, card []byte) {
			at := bytes.Index(card, []byte("BOOTCODEBIN"))
			card[at] = 'X'
		},
		"slot A: no FAT32": func(_ *system, _ *[]byte, card []byte) { card[510] = 0 },
	} {
		s := makeSystem(t, slot.A, "new", 5, slot.Choice{Default: slot.B, Try: slot.A})
		stream, card := s.stream(t), bytes.Clone(oldA.image)
		change(&s, &stream, card)
		d := newMemory(card)
		err := receive(t.Context(), d, s.order, bytes.NewReader(stream), event.Discard)
		var untouched untouchedError
		if err == nil || !errors.As(err, &untouched) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if d.writes > 0 {
			t.Errorf("%s: it was written to", want)
		}
	}
}

// What goes wrong later is told, and is no untouched slot.
func TestReceiveFails(t *testing.T) {
	s := makeSystem(t, slot.B, "new", 5, slot.Choice{})
	stream := s.stream(t)
	altered := bytes.Clone(s.image)
	copy(altered[bytes.Index(altered, []byte("new new")):], "NEW")
	for want, tt := range map[string]struct {
		stream []byte
		change func(d *memory) device
	}{
		"unexpected EOF":          {stream[:len(stream)-300], nil},
		"it is not what was sent": {system{altered, s.order}.stream(t), nil},
		"bytes after its end":     {pack(t, append(unpacked(s), "more"...)), nil},
		"invalid checksum":        {append(bytes.Clone(stream[:len(stream)-8]), 1, 2, 3, 4, 5, 6, 7, 8), nil},
		"back is not what was":    {stream, func(d *memory) device { return &forgetful{d} }},
		"write bcm2837-of-new-0":  {stream, func(d *memory) device { d.cutAt = 2; return d }},
	} {
		var d device = newMemory(make([]byte, size))
		if tt.change != nil {
			d = tt.change(newMemory(make([]byte, size)))
		}
		err := receive(t.Context(), d, s.order, bytes.NewReader(tt.stream), event.Discard)
		var untouched untouchedError
		if err == nil || errors.As(err, &untouched) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errCut)
	if err := receive(ctx, newMemory(make([]byte, size)), s.order, bytes.NewReader(stream), event.Discard); !errors.Is(err, errCut) {
		t.Errorf("got %v", err)
	}
}

// unpacked is the stream before it is compressed.
func unpacked(s system) []byte {
	var all []byte
	for _, e := range s.order.Extents {
		all = append(all, s.image[e.Offset:e.Offset+e.Size]...)
	}
	return all
}

// forgetful is a card that loses a sector.
type forgetful struct{ *memory }

func (f *forgetful) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.memory.ReadAt(p, off)
	if bad := int64(5 << 20 / 2); off <= bad && bad < off+int64(n) {
		p[bad-off] ^= 1
	}
	return n, err
}

// A slot that was damaged since is not whole.
func TestCheckSlot(t *testing.T) {
	_, b := aged(t)
	for name, change := range map[string]func([]byte){
		"a bit":         func(b []byte) { b[bytes.LastIndex(b, []byte("running"))] ^= 1 },
		"the manifest":  func(b []byte) { copy(b[bytes.Index(b, []byte(`"version"`)):], `"vers1on"`) },
		"boot sector":   func(b []byte) { b[511] = 0 },
		"a whole table": func(b []byte) { clear(b[32*512 : 600*512]) },
	} {
		image := bytes.Clone(b.image)
		change(image)
		if m, err := checkSlot(t.Context(), newMemory(image), event.Discard); err == nil {
			t.Errorf("%s: slot with %s counts as whole", name, m.System)
		}
	}
}
