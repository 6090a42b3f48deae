// Package control is how a client drives the RAM system: requests are delivered
// to it, acknowledged once they are verified, and given their payload, over a
// socket that the command `vic` in the RAM system talks to.
//
//	client ── ssh ──> vic status | deliver | proceed | payload | stay | leave
//	                   │ Client, stdin and stdout
//	                   v
//	                Socket ──> Server ──Next──> Delivery ──> plan, verify
//	                            │ Hooks          │ Proceed ──> first write
//	                            v                │ Receive ──> payload, a file
//	                  probation, watchdog, reboot└ Done
//
// One connection is one call: a line of JSON, what belongs to it as bytes, and a
// line of JSON as the answer. Both ends are the same program, so the protocol has
// no version. Events do not pass through here: they are a file, which Follow
// follows.
//
// A request and its secrets are in memory alone. Whoever reaches the socket is
// root of the RAM system.
package control

import (
	"context"
	"os"
	"time"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
)

// Where things are in the RAM system.
const (
	Socket = "/run/vic/control.sock"
	Events = "/run/vic/events.jsonl"
)

// Config is what a Server is made of.
type Config struct {
	Socket string // empty: Socket
	// Events is the file that every event is in shortly after Sink took it, with
	// its number. Empty: Events.
	Events  string
	Sink    event.Sink
	Version string // of the program
	Hooks   Hooks
	// Idle is how long a run waits for bytes of its payload when none come.
	// 0: 10 minutes.
	Idle time.Duration
}

// Hooks are how the server tells what happens. They are called one at a time,
// but for Left.
type Hooks struct {
	// Acknowledged: the client has seen what was verified, or wants the machine to
	// stay as it is. The probation ends. It has ended for good when nil is
	// returned: from then on disks may be written to. An error means that it is
	// too late, and nothing will be written.
	Acknowledged func() error
	// Released: a run has ended and nothing was written by any. The probation
	// begins anew, with all of its time.
	Released func()
	// Leave: the machine is to reboot, into the system before. It may return
	// before that happens.
	Leave func()
	// Left is what remains of the probation; 0: there is none (any more).
	Left func() time.Duration
}

// The values of Status.State.
const (
	Waiting   = "waiting"   // for the first request
	Verifying = "verifying" // nothing is written
	Verified  = "verified"  // waits for proceed
	Writing   = "writing"
	Done      = "done"   // the last run has; the next request is awaited if the machine stays
	Failed    = "failed" // the last run has; the next request is awaited
)

// Status is where the RAM system stands.
type Status struct {
	State string `json:"state"`
	// Written: a disk may have been written to since this system started.
	Written bool `json:"written"`
	// Probation is what remains of it, in seconds, rounded up; 0: there is none.
	Probation int64 `json:"probation"`
	// Events is the number of the last event.
	Events int64 `json:"events"`
	// Payload is how many bytes of it have been received.
	Payload int64  `json:"payload"`
	Version string `json:"version"`
}

// Started is the answer to deliver.
type Started struct {
	// Events is the number of the event after which those of the run come. No
	// other run has it.
	Events int64 `json:"events"`
	// Resumed: this very request, with the same secrets, was already being run.
	Resumed bool `json:"resumed,omitempty"`
}

// Payload is how far the payload is.
type Payload struct {
	Offset int64 `json:"offset"` // bytes that have been received
	Size   int64 `json:"size"`   // bytes in all; 0 without a request
	// Ready: the target is mounted, and the bytes from Offset on are awaited.
	Ready bool `json:"ready"`
}

// Delivery is a request on its way. Its methods are called by the run.
type Delivery struct {
	Request request.Request
	Secrets secret.Set

	server  *Server
	id      [32]byte // of what was delivered
	proceed chan struct{}
}

// Verified says that all is verified, before any event does: a client may
// acknowledge it as soon as it hears of it.
func (d *Delivery) Verified() { d.server.verified(d) }

// Proceed waits for the client to acknowledge what was verified; see Verified.
// After an error nothing may be written.
func (d *Delivery) Proceed(ctx context.Context) error { return d.server.awaitProceed(ctx, d) }

// Receive has the client's payload, size bytes, written to f, and to the disk
// beneath it. Connections may break and come again. What was received is not yet
// verified. progress is called a few times a second, and once at the end, with
// the bytes that there are.
func (d *Delivery) Receive(ctx context.Context, f *os.File, size int64, progress func(done int64)) error {
	return d.server.receive(ctx, f, size, progress)
}

// Done ends the run: with what the machine does next (request.Finish*), or with
// an error, whose method ExitCode() int tells whether something was written. The
// next request can then be delivered, unless the machine goes.
func (d *Delivery) Done(finish string, err error) { d.server.done(d, finish, err) }
