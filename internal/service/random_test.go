package service

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// world is processes that do what they like, and the rules that a machine must
// keep whatever they do.
type world struct {
	t       *testing.T
	m       *Machine
	r       *rand.Rand
	now     time.Duration
	running map[string]int // service -> run
	told    map[string]bool
	last    map[string]time.Duration
	starts  int
}

func (w *world) do(actions []Action) {
	for _, a := range actions {
		run, alive := w.running[a.Service]
		switch a.Do {
		case Start:
			if alive {
				w.t.Fatalf("%v: %s is started while run %d lives", w.now, a.Service, run)
			}
			if last, had := w.last[a.Service]; had && w.now-last < Spacing {
				w.t.Fatalf("%s is started %v after its last start", a.Service, w.now-last)
			}
			w.running[a.Service], w.last[a.Service] = a.Run, w.now
			w.starts++
			w.needsThere(a)
		case Terminate, Kill:
			if !alive || run != a.Run {
				w.t.Fatalf("%v: %s of %s, run %d of %d", w.now, a.Do, a.Service, a.Run, run)
			}
			for _, user := range w.m.byName[a.Service].users {
				if _, runs := w.running[user.Name]; runs {
					w.t.Fatalf("%v: %s is stopped before %s, which needs it", w.now, a.Service, user.Name)
				}
			}
			w.told[a.Service] = true
		}
	}
}

func (w *world) needsThere(a Action) {
	for _, n := range w.m.byName[a.Service].needs {
		s := n.unit.state
		if value, has := n.unit.outputs[n.key]; s != Running && s != Done || n.key != "" && (!has || a.Values[n.ref] != value) {
			w.t.Fatalf("%v: %s is started without %s", w.now, a.Service, n.ref)
		}
	}
}

// happen has something random happen.
func (w *world) happen() {
	names := make([]string, 0, len(w.running))
	for _, u := range w.m.units {
		if _, ok := w.running[u.Name]; ok {
			names = append(names, u.Name)
		}
	}
	if len(names) == 0 || w.r.IntN(3) == 0 {
		w.pass(time.Duration(w.r.IntN(4000)) * time.Millisecond)
		return
	}
	name := names[w.r.IntN(len(names))]
	run := w.running[name]
	switch w.r.IntN(6) {
	case 0:
		w.do(w.m.Started(w.now, name, run, 1))
	case 1:
		w.do(w.m.Ready(w.now, name, run))
	case 2, 3:
		w.do(w.m.Output(w.now, name, run, "k", fmt.Sprint(w.r.IntN(2)), w.r.IntN(4) > 0))
	default:
		delete(w.running, name)
		delete(w.told, name)
		w.do(w.m.Exited(w.now, name, run, w.r.IntN(2) == 0, "x"))
	}
}

func (w *world) pass(d time.Duration) {
	for end, ticks := w.now+d, 0; ; ticks++ {
		if ticks > 1000 {
			w.t.Fatalf("%v: the machine wants to be ticked all the time", w.now)
		}
		at, ok := w.m.Next()
		if !ok || at > end {
			w.now = end
			return
		}
		w.now = max(w.now, at)
		w.do(w.m.Tick(w.now))
	}
}

// finish ends everything: each told process ends.
func (w *world) finish() {
	w.do(w.m.Shutdown(w.now))
	for steps := 0; !w.m.Over(); steps++ {
		if steps > 1000 {
			w.t.Fatalf("it does not end: %s", states(w.m))
		}
		ended := false
		for name, run := range w.running {
			if w.told[name] {
				delete(w.running, name)
				delete(w.told, name)
				w.do(w.m.Exited(w.now, name, run, true, ""))
				ended = true
				break
			}
		}
		if !ended {
			w.t.Fatalf("nothing is told to end: %s", states(w.m))
		}
	}
	if len(w.running) > 0 {
		w.t.Fatalf("over, and %v run", w.running)
	}
}

func randomGraph(r *rand.Rand) Graph {
	g := Graph{Version: Version}
	for i := range 2 + r.IntN(7) {
		s := Service{Name: fmt.Sprint("s", i), Command: []string{"x"}, Outputs: []string{"k"}}
		for j := range i {
			switch r.IntN(5) {
			case 0:
				s.Needs = append(s.Needs, fmt.Sprint("s", j))
			case 1:
				s.Needs = append(s.Needs, fmt.Sprintf("s%d/k", j))
			case 2:
				s.After = append(s.After, fmt.Sprint("s", j))
			}
		}
		s.Ready = []*Ready{nil, {Output: "k"}, {Exit: true}, {Notify: true, Within: Duration(3 * time.Second)}}[r.IntN(4)]
		if r.IntN(6) == 0 {
			s.Restart = RestartNever
		}
		g.Services = append(g.Services, s.filled())
	}
	r.Shuffle(len(g.Services), func(i, j int) { g.Services[i], g.Services[j] = g.Services[j], g.Services[i] })
	return g
}

// TestRandom: whatever happens, nothing runs twice, is started too often or
// without what it needs, or is stopped before those that need it; and it ends.
func TestRandom(t *testing.T) {
	starts := 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		g := randomGraph(r)
		if err := g.Validate(); err != nil {
			t.Fatal(err)
		}
		m, err := NewMachine(g)
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t, m: m, r: r, running: map[string]int{}, told: map[string]bool{}, last: map[string]time.Duration{}}
		w.do(m.Begin(0))
		for range 300 {
			w.happen()
		}
		starts += w.starts
		w.finish()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if starts < 4000 {
		t.Errorf("only %d starts: the test tests nothing", starts)
	}
}

func TestOrder(t *testing.T) {
	g := graph(t, "c: b; b: a; a:; d: | after=c")
	got, err := g.Order()
	if err != nil || !slices.Equal(got, []string{"a", "b", "c", "d"}) {
		t.Error(got, err)
	}
}
