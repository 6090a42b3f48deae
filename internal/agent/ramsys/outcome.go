package ramsys

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
)

// outcome is what came of the request.
type outcome struct {
	// Finish is one of request.Finish*; stay also when there was no request.
	Finish string `json:"finish"`
	Idle   bool   `json:"idle,omitempty"` // there was no request
	// Services: it is an appliance, whose services are to run.
	Services bool   `json:"services,omitempty"`
	Error    string `json:"error,omitempty"`
	Exit     int    `json:"exit,omitempty"` // as in the design
	// Told says that the last event already was about the error.
	Told bool `json:"told,omitempty"`
}

// outcomeOf is the outcome of a Run.
func outcomeOf(finish string, err error) outcome {
	if err == nil && finish != request.FinishPoweroff && finish != request.FinishReboot && finish != request.FinishStay {
		err = fmt.Errorf("the request ended with the unknown finish %q", finish)
	}
	if err == nil {
		return outcome{Finish: finish}
	}
	return outcome{Error: err.Error(), Exit: exitCode(err)}
}

// exitCode is the exit code that an error carries, or 1.
func exitCode(err error) int {
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) && coded.ExitCode() > 0 {
		return coded.ExitCode()
	}
	return exitInternal
}

// The exit codes of failures that Run has no part in (see the design).
const (
	exitInternal  = 1
	exitUntouched = 4 // failed, and nothing was written to the target disk
	exitResumable = 5 // failed after the first write
)

// witness is a sink that knows whether the target disk has been written to.
type witness struct {
	event.Sink
	written atomic.Bool
	first   chan struct{} // receives when it has been
}

func newWitness(sink event.Sink) *witness {
	return &witness{Sink: sink, first: make(chan struct{}, 1)}
}

// Emit implements event.Sink. The failure that ends a run has a phase, too, and
// does not say that the phase began.
func (w *witness) Emit(ev event.Event) {
	if writes(ev.Phase) && ev.State != event.Failed && w.written.CompareAndSwap(false, true) {
		w.first <- struct{}{}
	}
	w.Sink.Emit(ev)
}

// exit is the exit code of a failure now, when it would be untouched before
// the first write.
func (w *witness) exit(untouched int) int {
	if w.written.Load() {
		return exitResumable
	}
	return untouched
}

// fail emits the event that ends a failed run.
func (w *witness) fail(message string, exit int) {
	w.Emit(failure(message, exit))
}

// failure is the event that ends a failed run.
func failure(message string, exit int) event.Event {
	return event.Event{Phase: event.Finish, State: event.Failed, Message: message, Exit: exit}
}

// writes reports whether the target disk is written to in a phase.
func writes(phase event.Phase) bool {
	phases := event.Phases()
	return slices.Index(phases, phase) >= slices.Index(phases, event.Partition)
}

// crashed is the outcome of an agent that ended without one.
func crashed(status syscall.WaitStatus, exit int) outcome {
	return outcome{Error: "the agent ended unexpectedly: " + reasonOf(status), Exit: exit}
}

// reasonOf is how a process ended, for people.
func reasonOf(status syscall.WaitStatus) string {
	switch {
	case status.Signaled() && status.Signal() == syscall.SIGKILL:
		return "killed, perhaps for want of memory"
	case status.Signaled():
		return status.Signal().String()
	}
	return fmt.Sprintf("exit status %d", status.ExitStatus())
}

// report is one line of the pipe from the agent to init: events, notices, and at
// last the outcome.
type report struct {
	Event   *event.Event `json:"event,omitempty"`
	Notice  notice       `json:"notice,omitempty"`
	Outcome *outcome     `json:"outcome,omitempty"`
}

// reporter is the agent's end of the pipe.
type reporter struct {
	mu  sync.Mutex
	enc *json.Encoder
}

func newReporter(w io.Writer) *reporter { return &reporter{enc: json.NewEncoder(w)} }

// Emit implements event.Sink. The pipe only breaks when init is gone, and with
// it the machine.
func (r *reporter) Emit(ev event.Event) { _ = r.send(report{Event: &ev}) }

func (r *reporter) send(rep report) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.enc.Encode(rep)
}

// receive is init's end: it hands events to sink, notices to heed, and returns at
// the outcome (true), or at the end of the pipe (false). Events that follow an
// outcome are read by calling it again.
func receive(dec *json.Decoder, sink event.Sink, heed func(notice)) (outcome, bool) {
	for {
		var rep report
		if err := dec.Decode(&rep); err != nil {
			return outcome{}, false
		}
		if rep.Event != nil {
			sink.Emit(*rep.Event)
		}
		if rep.Notice != "" {
			heed(rep.Notice)
		}
		if rep.Outcome != nil {
			return *rep.Outcome, true
		}
	}
}
