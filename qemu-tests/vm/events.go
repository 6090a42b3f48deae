package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/victorinix/vic/internal/event"
)

// stream holds all events of a machine, so that a guest never waits for a
// reader here and late readers miss nothing.
type stream struct {
	done  chan struct{} // closed when the port has ended
	quit  chan struct{} // closed when nobody will read any more
	mu    sync.Mutex
	all   []event.Event
	more  chan struct{} // closed and replaced when all grows
	err   error
	taken int // by WaitEvent
}

func newStream(r io.ReadCloser) *stream {
	s := &stream{done: make(chan struct{}), quit: make(chan struct{}), more: make(chan struct{})}
	go s.read(r)
	return s
}

const (
	maxLine     = 1 << 20 // bytes of a line
	maxBadLines = 10      // errors kept of a port that talks nonsense
)

// read takes lines to the port's end. What comes after the last newline is
// dropped: a machine that is killed may cut its last line.
func (s *stream) read(r io.Reader) {
	defer close(s.done)
	lines := bufio.NewReaderSize(r, maxLine)
	for bad := 0; ; {
		line, err := lines.ReadSlice('\n')
		switch {
		case err == nil && len(bytes.TrimSpace(line)) == 0:
		case err == nil:
			ev, err := decodeLine(line)
			if err == nil || bad < maxBadLines {
				s.add(ev, err)
			}
			if err != nil {
				bad++
			}
		case errors.Is(err, bufio.ErrBufferFull):
			if bad++; bad <= maxBadLines {
				s.add(event.Event{}, fmt.Errorf("read event %.80q: longer than %d bytes", line, maxLine))
			}
			if !skipLine(lines) {
				return
			}
		default:
			return // the machine's end
		}
	}
}

// add keeps an event or an error, and wakes who waits.
func (s *stream) add(ev event.Event, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.err = errors.Join(s.err, err)
	} else {
		s.all = append(s.all, ev)
	}
	close(s.more)
	s.more = make(chan struct{})
}

// decodeLine decodes an event. A guest that was reset within a line leaves the
// line's beginning in front of the first event of the guest that follows.
func decodeLine(line []byte) (event.Event, error) {
	ev, err := event.NewDecoder(bytes.NewReader(line)).Next()
	if i := bytes.LastIndex(line, []byte(`{"v":`)); err != nil && i > 0 {
		if ev, err := event.NewDecoder(bytes.NewReader(line[i:])).Next(); err == nil {
			return ev, nil
		}
	}
	return ev, err
}

func skipLine(r *bufio.Reader) bool {
	for {
		_, err := r.ReadSlice('\n')
		if err == nil {
			return true
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return false
		}
	}
}

func (s *stream) abandon() { close(s.quit) }

// from returns event i if there is one, and a channel for when there is more.
func (s *stream) from(i int) (ev event.Event, ok bool, more <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i < len(s.all) {
		return s.all[i], true, nil
	}
	return event.Event{}, false, s.more
}

// Events are the events of the machine, from its first on, whenever it is
// called. The channel is closed when the port or the machine has ended. Lines
// that are no events are told by Err.
func (m *Machine) Events() <-chan event.Event {
	ch := make(chan event.Event)
	go func() {
		defer close(ch)
		for i := 0; ; {
			ev, ok, more := m.events.from(i)
			if ok {
				select {
				case ch <- ev:
					i++
				case <-m.events.quit:
					return
				}
				continue
			}
			select {
			case <-more:
			case <-m.events.done:
				if _, ok, _ := m.events.from(i); !ok {
					return
				}
			}
		}
	}()
	return ch
}

// Err tells of lines on the event port that are no events; nil when all were.
func (m *Machine) Err() error {
	m.events.mu.Lock()
	defer m.events.mu.Unlock()
	return m.events.err
}

// WaitEvent returns the next event that match accepts. It looks at each event
// once: the next call goes on behind the event returned. A step that failed
// and is not accepted is an error, a *StepError; so is the machine's end. Both
// tell the end of the console. Not for concurrent use.
func (m *Machine) WaitEvent(ctx context.Context, match func(event.Event) bool) (event.Event, error) {
	s := m.events
	for {
		ev, ok, more := s.from(s.taken)
		if ok {
			s.taken++
			if match(ev) {
				return ev, nil
			}
			if ev.State == event.Failed {
				return ev, m.explain(&StepError{ev})
			}
			continue
		}
		select {
		case <-more:
		case <-s.done:
			if _, ok, _ := s.from(s.taken); !ok {
				return event.Event{}, m.endedEarly(ctx)
			}
		case <-ctx.Done():
			return event.Event{}, m.explain(fmt.Errorf("wait for event of machine %s: %w%s", m.setup.Name, context.Cause(ctx), m.lastSeen()))
		}
	}
}

// endedEarly is the error for an event that will not come.
func (m *Machine) endedEarly(ctx context.Context) error {
	if err := m.Wait(ctx); err != nil {
		return fmt.Errorf("wait for event: %w", errors.Join(err, m.Err()))
	}
	return m.explain(fmt.Errorf("wait for event: machine %s switched itself off%s", m.setup.Name, m.lastSeen()))
}

// lastSeen names the last event, for errors.
func (m *Machine) lastSeen() string {
	m.events.mu.Lock()
	defer m.events.mu.Unlock()
	n := len(m.events.all)
	if n == 0 {
		return ", no event came"
	}
	ev := m.events.all[n-1]
	return fmt.Sprintf(", last event: %s %q %s", ev.Phase, ev.Step, ev.State)
}

// StepError is a step that the guest reported as failed.
type StepError struct{ Event event.Event }

func (e *StepError) Error() string {
	step := string(e.Event.Phase)
	if e.Event.Step != "" {
		step += ": " + e.Event.Step
	}
	return fmt.Sprintf("guest failed in %s: %s", step, e.Event.Message)
}
