package ramsys

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/victorinix/vic/internal/event"
)

// renderer turns events into what people see on a console: one line for each
// step that has ended, and below it one line, rewritten in place, for the step
// that runs.
//
//	[   1.24] enter      modules: 14 loaded
//	[   9.80] copy       payload: 170 MiB in 4.1 s
//	[  11.02] boot       grub-install ...
//
// It writes '\r' and spaces, and no escape sequences: what a serial line ends
// at is not known.
type renderer struct {
	start   time.Time
	running []step
	drawn   int       // characters of the line that is rewritten
	last    time.Time // when progress was last drawn
}

// step is a step that has started.
type step struct {
	phase event.Phase
	name  string
	since time.Time
	text  string // what to show while it runs
}

// between is the time between two drawings of progress.
const between = time.Second

// columns is how much of a line is rewritten in place: a longer one would wrap,
// and '\r' goes back by one line only.
const columns = 78

// render returns what to write for one event; nothing for progress that comes
// too soon.
func (r *renderer) render(ev event.Event) string {
	if r.start.IsZero() {
		r.start = ev.Time
	}
	switch ev.State {
	case event.Start:
		r.begin(ev)
		return r.draw("")
	case event.Progress:
		return r.progress(ev)
	}
	begun, had := r.end(ev)
	if ev.State == event.Failed && ev.Step == "" { // the run is over
		r.running = nil
	}
	line := r.line(ev, ev.Message)
	if took := ev.Time.Sub(begun.since); had && took >= between {
		line += " (" + seconds(took) + ")"
	}
	return r.draw(line)
}

func (r *renderer) begin(ev event.Event) {
	r.running = append(r.running, step{ev.Phase, ev.Step, ev.Time, r.line(ev, ev.Message) + " ..."})
}

func (r *renderer) find(ev event.Event) int {
	return slices.IndexFunc(r.running, func(s step) bool { return s.phase == ev.Phase && s.name == ev.Step })
}

func (r *renderer) end(ev event.Event) (step, bool) {
	i := r.find(ev)
	if i < 0 {
		return step{}, false
	}
	s := r.running[i]
	r.running = slices.Delete(r.running, i, i+1)
	return s, true
}

func (r *renderer) progress(ev event.Event) string {
	i := r.find(ev)
	if i < 0 {
		r.begin(ev)
		i = len(r.running) - 1
	}
	r.running[i].text = r.line(ev, amount(ev))
	if ev.Time.Sub(r.last) < between {
		return ""
	}
	r.last = ev.Time
	// The step that moves is the one to show.
	s := r.running[i]
	r.running = append(slices.Delete(r.running, i, i+1), s)
	return r.draw("")
}

// line is the text of an event.
func (r *renderer) line(ev event.Event, message string) string {
	what := ev.Step
	switch {
	case what == "" || message == "":
		what += message
	default:
		what += ": " + message
	}
	if ev.State == event.Failed {
		what = "FAILED " + what
	}
	line := fmt.Sprintf("[%7.2f] %-10s %s", ev.Time.Sub(r.start).Seconds(), ev.Phase, what)
	return strings.TrimRight(line, " ")
}

// draw writes lasting over the line that is rewritten, and the step that runs
// below it.
func (r *renderer) draw(lasting string) string {
	var b strings.Builder
	if r.drawn > 0 {
		b.WriteByte('\r')
	}
	if lasting != "" {
		b.WriteString(lasting)
		b.WriteString(r.blank(lasting) + "\n")
		r.drawn = 0
	}
	if len(r.running) > 0 {
		text := clip(r.running[len(r.running)-1].text)
		b.WriteString(text + r.blank(text))
		r.drawn = utf8.RuneCountInString(text)
	}
	return b.String()
}

// blank covers what is left of the line that is rewritten.
func (r *renderer) blank(text string) string {
	return strings.Repeat(" ", max(0, r.drawn-utf8.RuneCountInString(text)))
}

func clip(s string) string {
	if runes := []rune(s); len(runes) > columns {
		return string(runes[:columns])
	}
	return s
}

// amount is how far a step is: "37% of 812.0 MiB" for bytes, "3 of 14" for
// what is counted.
func amount(ev event.Event) string {
	var parts []string
	if ev.Message != "" {
		parts = append(parts, ev.Message)
	}
	switch {
	case ev.Total >= 1<<20:
		parts = append(parts, fmt.Sprintf("%d%% of %s", ev.Done*100/ev.Total, size(ev.Total)))
	case ev.Total > 0:
		parts = append(parts, fmt.Sprintf("%d of %d", ev.Done, ev.Total))
	case ev.Done > 0:
		parts = append(parts, size(ev.Done))
	}
	return strings.Join(parts, ", ")
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
