package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/victorinix/vic/internal/event"
)

// clock passes events on, measures how long each phase takes, from the first
// event of it to the last, and knows how the run stands.
type clock struct {
	next event.Sink
	now  func() time.Time

	mu     sync.Mutex
	phases map[event.Phase]*span
	last   event.Phase // of the latest event
	failed bool        // an event has told of the end of the run
}

type span struct{ first, last time.Time }

func newClock(next event.Sink) *clock {
	return &clock{next: next, now: time.Now, phases: map[event.Phase]*span{}}
}

// Emit implements event.Sink.
func (c *clock) Emit(e event.Event) {
	c.mu.Lock()
	now := c.now()
	if c.phases[e.Phase] == nil {
		c.phases[e.Phase] = &span{first: now}
	}
	c.phases[e.Phase].last = now
	c.last = e.Phase
	c.failed = c.failed || e.State == event.Failed && e.Exit != 0
	c.mu.Unlock()
	c.next.Emit(e)
}

// reached tells whether there was an event of the phase or a later one.
func (c *clock) reached(p event.Phase) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for seen := range c.phases {
		if slices.Index(event.Phases(), seen) >= slices.Index(event.Phases(), p) {
			return true
		}
	}
	return false
}

// fail emits the event that ends a run which has failed, unless that was told
// already by what ran.
func (c *clock) fail(err error) {
	c.mu.Lock()
	phase, told := cmp.Or(c.last, event.Scan), c.failed
	c.mu.Unlock()
	if err != nil && !told {
		c.Emit(event.Event{Phase: phase, State: event.Failed, Message: err.Error(), Exit: exitCode(err)})
	}
}

// String lists the phases in order: "build 31.2s, enter 9.0s".
func (c *clock) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []string
	for _, p := range event.Phases() {
		if s := c.phases[p]; s != nil {
			parts = append(parts, fmt.Sprintf("%s %.1fs", p, s.last.Sub(s.first).Seconds()))
		}
	}
	return strings.Join(parts, ", ")
}
