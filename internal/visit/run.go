package visit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/victorinix/vic/internal/agent/control"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
)

// Run is one request for a RAM system.
type Run struct {
	Request request.Request
	Secrets secret.Set
	// Payload opens the image, when the request's is a stream.
	Payload func() (io.ReadSeekCloser, error)
	Events  event.Sink
	// From is the number of the first event to pass on.
	From int64
}

// FailedError is the event by which the RAM system told that a run has failed.
type FailedError struct{ Event event.Event }

func (e *FailedError) Error() string {
	if e.Event.Step == "" {
		return fmt.Sprintf("%s: %s", e.Event.Phase, e.Event.Message)
	}
	return fmt.Sprintf("%s: %s: %s", e.Event.Phase, e.Event.Step, e.Event.Message)
}

// Run delivers a request and follows the run to its end. Its result has nothing
// in it when the phases of the request end before the last.
func (r RAM) Run(ctx context.Context, run Run) (event.Result, error) {
	started, err := r.deliver(ctx, run)
	if err != nil {
		return event.Result{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f := &follower{RAM: r, run: run, begin: started.Events, ctx: ctx, fail: cancel, next: max(run.From, 1)}
	err = f.follow(ctx)
	cancel(nil)
	f.helpers.Wait()
	return f.result, err
}

// deliver sends request and secrets, which are in no argument.
func (r RAM) deliver(ctx context.Context, run Run) (control.Started, error) {
	var req, secrets bytes.Buffer
	if err := errors.Join(run.Request.Encode(&req), run.Secrets.EncodeForTarget(&secrets)); err != nil {
		return control.Started{}, err
	}
	doc, err := json.Marshal(map[string]json.RawMessage{"request": req.Bytes(), "secrets": secrets.Bytes()})
	if err != nil {
		return control.Started{}, fmt.Errorf("encode request: %w", err)
	}
	var started control.Started
	return started, r.call(ctx, "vic deliver", doc, &started)
}

// follower passes on the events of a run and does what they ask for.
type follower struct {
	RAM
	run     Run
	begin   int64 // the run's events come after this one
	next    int64 // number of the next event
	result  event.Result
	ctx     context.Context // of the run: connections have their own
	fail    context.CancelCauseFunc
	helpers sync.WaitGroup
	sent    bool // the payload is on its way
}

// errEnd ends the stream of events.
var errEnd = errors.New("the run has ended")

func (f *follower) follow(ctx context.Context) error {
	err := f.again(ctx, func() (bool, error) {
		before := f.next
		err := f.stream(ctx)
		if err == nil { // the machine ended the stream, and it had not ended the run
			err = errEarly
		}
		return f.next > before, err
	})
	var failed *FailedError
	switch {
	case errors.Is(err, errEnd):
		return nil
	case errors.As(err, &failed):
		return failed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// errEarly counts as a lost connection.
var errEarly = errors.New("the stream of events has ended early")

// again also takes an early end for a lost connection.
func (f *follower) again(ctx context.Context, do func() (bool, error)) error {
	r := f.RAM
	r.Lost = func(err error) bool { return errors.Is(err, errEarly) || f.Lost(err) }
	return r.again(ctx, do)
}

// stream handles events until the connection or the run ends.
func (f *follower) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, out := io.Pipe()
	ended, command := make(chan error, 1), fmt.Sprintf("vic events --from %d", f.next)
	go func() {
		ended <- f.Session.Stream(ctx, command, nil, out)
		out.Close()
	}()
	err := f.events(in)
	in.Close()
	cancel()
	// Half an event is what a connection leaves that breaks.
	if streamErr := <-ended; err == nil || f.Lost(streamErr) && errors.Is(err, errDecode) {
		return streamErr
	}
	return err
}

// errDecode marks what is no event.
var errDecode = errors.New("read the events")

func (f *follower) events(in io.Reader) error {
	dec := event.NewDecoder(in)
	for {
		e, err := dec.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", errDecode, err)
		case e.Seq < f.next:
			continue
		}
		f.next = e.Seq + 1
		f.run.Events.Emit(e)
		if err := f.handle(e); err != nil {
			return err
		}
	}
}

// handle does what an event of this run asks for.
func (f *follower) handle(e event.Event) error {
	switch {
	case e.Seq <= f.begin:
		return nil
	case e.State == event.Failed && e.Exit != 0:
		return &FailedError{e}
	case e.Result != nil:
		f.result = *e.Result
		return errEnd
	case e.Step != "":
		return nil
	case e.Phase == event.Copy && e.State == event.Start && f.run.Request.Payload.Source.Stream && !f.sent:
		f.sent = true
		f.help("send the payload", f.send)
	case e.State == event.Done && f.last(e.Phase):
		return errEnd
	case e.Phase == event.Verify && e.State == event.Done:
		f.help("acknowledge", func(ctx context.Context) error { return f.call(ctx, "vic proceed", nil, nil) })
	}
	return nil
}

// last tells whether a phase is where the request stops.
func (f *follower) last(p event.Phase) bool {
	phases := f.run.Request.Phases
	return len(phases) > 0 && phases[len(phases)-1] == string(p) && p != event.Finish
}

// help does something beside the events. If it fails, so does the run: what the
// machine itself says about that comes first.
func (f *follower) help(what string, do func(context.Context) error) {
	f.helpers.Go(func() {
		if err := do(f.ctx); err != nil && f.ctx.Err() == nil {
			select {
			case <-f.ctx.Done():
			case <-time.After(helpGrace):
				f.fail(fmt.Errorf("%s: %w", what, err))
			}
		}
	})
}

// helpGrace is how long the machine has to say by itself what went wrong.
const helpGrace = 15 * time.Second

// stuck is how many attempts may bring nothing.
const stuck = 20

// send sends what the machine has not got of the payload, until it has all.
func (f *follower) send(ctx context.Context) error {
	file, err := f.run.Payload()
	if err != nil {
		return err
	}
	defer file.Close()
	for last, tries := int64(-1), 0; ; tries++ {
		var p control.Payload
		if err := f.call(ctx, "vic payload", nil, &p); err != nil {
			return err
		}
		if p.Offset > last {
			last, tries = p.Offset, 0
		}
		switch {
		case p.Size > 0 && p.Offset >= p.Size:
			return nil
		case !p.Ready:
			tries = 0 // it mounts, and the events tell when it cannot
		case tries > stuck:
			return fmt.Errorf("%d of %d bytes have arrived, and no more do: %w", p.Offset, p.Size, err)
		default:
			if _, err = file.Seek(p.Offset, io.SeekStart); err != nil {
				return err
			}
			err = f.Session.Stream(ctx, fmt.Sprintf("vic payload --offset %d", p.Offset), file, io.Discard)
			if err == nil {
				continue
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(f.Pause):
		}
	}
}
