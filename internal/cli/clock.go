package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/victorinix/vic/internal/event"
)

// clock passes events on and measures how long each phase takes, from the
// first event of it to the last.
type clock struct {
	next event.Sink
	now  func() time.Time

	mu     sync.Mutex
	phases map[event.Phase]*span
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
	c.mu.Unlock()
	c.next.Emit(e)
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
