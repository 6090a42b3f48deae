package control

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
)

// startPatience is how long a run may take to begin.
const startPatience = 20 * time.Second

// delivered is what deliver takes: documents of the packages request and
// secret.
type delivered struct {
	Request json.RawMessage `json:"request"`
	Secrets json.RawMessage `json:"secrets,omitempty"`
}

// decode reads what was delivered. Its errors do not repeat secrets.
func decode(doc []byte) (*Delivery, error) {
	dec := json.NewDecoder(bytes.NewReader(doc))
	dec.DisallowUnknownFields()
	var in delivered
	if err := dec.Decode(&in); err != nil || dec.More() {
		return nil, errors.New(`decode what is delivered: expected {"request":{...},"secrets":{...}}`)
	}
	d := &Delivery{id: sha256.Sum256(doc), proceed: make(chan struct{})}
	var err error
	if d.Request, err = request.Decode(bytes.NewReader(in.Request)); err != nil {
		return nil, err
	}
	if len(in.Secrets) > 0 {
		d.Secrets, err = secret.Decode(bytes.NewReader(in.Secrets))
	}
	return d, err
}

// deliver begins a run, and answers once it has begun. A client whose connection
// broke may deliver the same again, and goes on with the run that it began.
func (s *Server) deliver(ctx context.Context, doc []byte) (Started, error) {
	d, err := decode(doc)
	if err != nil {
		return Started{}, err
	}
	d.server = s
	s.turn.Lock()
	defer s.turn.Unlock()
	before, started, err := s.begin(d)
	if err != nil || started.Resumed {
		return started, err
	}
	started, err = s.start(ctx, d)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = started
	if err != nil {
		s.run, s.state = nil, before
	}
	return started, err
}

// begin makes d the run, if there is none. before is the state until then.
func (s *Server) begin(d *Delivery) (before string, started Started, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.gone != "":
		return s.state, Started{}, errors.New(s.gone)
	case s.run != nil && s.run.id == d.id:
		return s.state, Started{Events: s.started.Events, Resumed: true}, nil
	case s.run != nil:
		return s.state, Started{}, fmt.Errorf("another request is being run: %s is %s", s.run.Request.Item, s.state)
	}
	before = s.state
	s.run, s.state, s.received = d, Verifying, 0
	s.runs++
	return before, Started{}, nil
}

// start hands d to whoever waits for the next run. The event that it emits
// before parts those of the runs: all that other runs had to tell is before it.
func (s *Server) start(ctx context.Context, d *Delivery) (Started, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, fmt.Errorf("it did not begin for %v", startPatience))
	defer cancel()
	mark := "request " + strconv.Itoa(s.runs) + " was delivered"
	s.cfg.Sink.Emit(event.Event{Phase: event.Enter, Step: "request", State: event.Done, Message: mark})
	n, err := awaitEvent(ctx, s.cfg.Events, mark)
	if err != nil {
		return Started{}, fmt.Errorf("start the run: %w", err)
	}
	select {
	case s.next <- d:
		return Started{Events: n}, nil
	case <-ctx.Done():
		return Started{}, fmt.Errorf("start the run: %w", context.Cause(ctx))
	}
}
