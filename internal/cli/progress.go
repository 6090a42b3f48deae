package cli

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/victorinix/vic/internal/event"
)

// events is where a verb sends its events. With asJSON they are lines on
// stdout; otherwise they are rendered on stderr, with bars when a person looks
// at it. Secrets are hidden either way. The function returned ends the
// rendering; it reports what could not be written.
func (a *app) events(asJSON bool) (event.Sink, func() error) {
	if asJSON {
		enc := event.NewEncoder(a.stdout)
		return a.hideSecrets(enc), func() error {
			if err := enc.Err(); err != nil {
				return fmt.Errorf("write events: %w", err)
			}
			return nil
		}
	}
	r := newRenderer(a.stderr, a.terminal)
	return a.hideSecrets(r), r.close
}

// withEvents runs what a verb does with a place for its events. With asJSON the
// stream of a run that fails ends with one event that has the exit code.
func (a *app) withEvents(asJSON bool, run func(*clock) error) error {
	sink, done := a.events(asJSON)
	c := newClock(sink)
	err := run(c)
	if asJSON {
		c.fail(err)
	}
	return errors.Join(err, done())
}

// withDocument runs a verb that writes one JSON document on stdout instead of
// events: those are for people then, but a failure is an event all the same.
func (a *app) withDocument(run func(*clock) error) error {
	return a.withEvents(false, func(c *clock) error {
		err := run(c)
		enc := event.NewEncoder(a.stdout)
		c.next = a.hideSecrets(enc)
		c.fail(err)
		return errors.Join(err, enc.Err())
	})
}

func (a *app) hideSecrets(to event.Sink) event.Sink {
	return event.SinkFunc(func(e event.Event) {
		e.Step, e.Message = a.secrets.Redact(e.Step), a.secrets.Redact(e.Message)
		to.Emit(e)
	})
}

// renderer tells people about events. Steps that have ended are lines:
//
//	format     mkfs.ext4 root  1.2s
//	copy       payload: no space left on device
//
// On a terminal, steps that are under way are bars below them; elsewhere they
// are a line when they start. Safe for concurrent use.
type renderer struct {
	mu     sync.Mutex
	out    io.Writer     // lines
	bars   *mpb.Progress // nil without a terminal
	active map[stepKey]*step
	now    func() time.Time
	err    error // the first that out returned
}

type stepKey struct {
	host  string // of several
	phase event.Phase
	step  string
}

// prefix tells machines apart.
func (k stepKey) prefix() string {
	if k.host == "" {
		return ""
	}
	return k.host + "  "
}

type step struct {
	begun time.Time
	bar   *mpb.Bar               // nil without a terminal
	pace  atomic.Pointer[string] // what its last progress said: "48 MB/s, 1m20s left"
}

func newRenderer(w io.Writer, terminal bool) *renderer {
	r := &renderer{out: w, active: map[stepKey]*step{}, now: time.Now}
	if terminal {
		r.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(40), mpb.WithAutoRefresh())
		r.out = r.bars // writes above the bars
	}
	return r
}

// Emit implements event.Sink.
func (r *renderer) Emit(e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := stepKey{e.Host, e.Phase, e.Step}
	switch e.State {
	case event.Start:
		r.begin(key, e.Message)
	case event.Progress:
		r.progress(key, e)
	case event.Done:
		took := r.end(key)
		if r.bars != nil || e.Step == "" || e.Message != "" || took >= time.Second {
			r.line(key, note(e.Message)+duration(took))
		}
	case event.Failed:
		r.end(key)
		r.line(key, ": "+e.Message)
	}
}

func note(message string) string {
	if message == "" {
		return ""
	}
	return ": " + message
}

func duration(d time.Duration) string {
	if d < 100*time.Millisecond {
		return ""
	}
	return fmt.Sprintf("  %.1fs", d.Seconds())
}

func (r *renderer) line(key stepKey, rest string) {
	name := key.step
	if name == "" {
		name = "done"
		if len(rest) > 0 && rest[0] == ':' {
			name, rest = rest[2:], ""
		}
	}
	if _, err := fmt.Fprintf(r.out, "%s%-9s  %s%s\n", key.prefix(), key.phase, name, rest); err != nil && r.err == nil {
		r.err = err
	}
}

// begin shows that a step is under way. A phase by itself shows nothing.
func (r *renderer) begin(key stepKey, message string) *step {
	s := &step{begun: r.now()}
	switch {
	case key.step == "":
	case r.bars == nil:
		r.line(key, note(message))
	default:
		s.bar = r.bars.AddBar(0, mpb.BarRemoveOnComplete(), mpb.BarFillerMiddleware(whenKnown),
			mpb.PrependDecorators(decor.Name(fmt.Sprintf("%s%-9s  %-24.24s ", key.prefix(), key.phase, key.step))),
			mpb.AppendDecorators(decor.Any(percent), decor.Elapsed(decor.ET_STYLE_GO), decor.Any(s.said)))
	}
	r.active[key] = s
	return s
}

// whenKnown draws a bar only when it is known how much there is to do.
func whenKnown(bar mpb.BarFiller) mpb.BarFiller {
	return mpb.BarFillerFunc(func(w io.Writer, s decor.Statistics) error {
		if s.Total <= 0 {
			return nil
		}
		return bar.Fill(w, s)
	})
}

func percent(s decor.Statistics) string {
	if s.Total <= 0 {
		return ""
	}
	return fmt.Sprintf("%3.0f%%  ", float64(s.Current)/float64(s.Total)*100)
}

func (s *step) said(decor.Statistics) string {
	if p := s.pace.Load(); p != nil && *p != "" {
		return "  " + *p
	}
	return ""
}

func (r *renderer) progress(key stepKey, e event.Event) {
	s := r.active[key]
	if s == nil { // a step that did not say that it starts
		s = r.begin(key, "")
	}
	s.pace.Store(&e.Message)
	if s.bar != nil && e.Total > 0 {
		s.bar.SetTotal(e.Total, false)
		s.bar.SetCurrent(min(e.Done, e.Total))
	}
}

// end forgets a step and says how long it took.
func (r *renderer) end(key stepKey) time.Duration {
	s := r.active[key]
	if s == nil {
		return 0
	}
	delete(r.active, key)
	if s.bar != nil {
		s.bar.Abort(true)
		s.bar.Wait()
	}
	return r.now().Sub(s.begun)
}

// close takes the bars that are left away.
func (r *renderer) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key := range r.active {
		r.end(key)
	}
	if r.bars != nil {
		r.bars.Wait()
	}
	if r.err != nil {
		return fmt.Errorf("show progress: %w", r.err)
	}
	return nil
}
