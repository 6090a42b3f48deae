// Package visit drives the RAM system of another machine over SSH: it delivers a
// request, follows the events of the run, acknowledges what was verified, and
// sends the payload. Connections may break at any time: every call is made again,
// and goes on where it was.
//
//	Run ── deliver ──> vic deliver        request, secrets
//	   <── events ─── vic events --from N
//	    ── verified ─> vic proceed         from here on disks are written to
//	    ── copy ─────> vic payload         offset; bytes from there on
//	   <── result, or the reason why not
//
// How the machine came into the RAM system, and what is proven afterwards, is
// the caller's.
package visit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/agent/control"
)

// Session runs commands on the machine; remote.Session is one.
type Session interface {
	// Stream runs a command with these as its standard input and output.
	Stream(ctx context.Context, command string, stdin io.Reader, stdout io.Writer) error
}

// RAM is a machine in its RAM system.
type RAM struct {
	Session Session
	// Lost tells whether an error means that the connection, and not the command,
	// has failed.
	Lost func(error) bool
	// Patience is how long the connection may be away: the RAM system needs no
	// client while it works.
	Patience time.Duration
	// Pause is between two attempts.
	Pause time.Duration
}

// LostError says that a machine does not answer any more.
type LostError struct {
	For time.Duration
	Err error
}

func (e *LostError) Error() string {
	return fmt.Sprintf("no connection for %v: %v", e.For.Round(time.Second), e.Err)
}
func (e *LostError) Unwrap() error { return e.Err }

// Status asks where the RAM system stands.
func (r RAM) Status(ctx context.Context) (control.Status, error) {
	var s control.Status
	return s, r.call(ctx, "vic status --json", nil, &s)
}

// Stay ends the probation: the machine is left as it is.
func (r RAM) Stay(ctx context.Context) error { return r.call(ctx, "vic stay", nil, nil) }

// Leave has the machine reboot into the system before. The RAM system refuses it
// once a disk was written to.
func (r RAM) Leave(ctx context.Context) error { return r.call(ctx, "vic leave", nil, nil) }

// call runs a command until the connection holds for as long as it takes, and
// decodes its answer, unless that is nil.
func (r RAM) call(ctx context.Context, command string, stdin []byte, answer any) error {
	var out bytes.Buffer
	err := r.again(ctx, func() (bool, error) {
		out.Reset()
		var in io.Reader
		if stdin != nil {
			in = bytes.NewReader(stdin)
		}
		return false, r.Session.Stream(ctx, command, in, &out)
	})
	verb := strings.Join(strings.Fields(command)[:2], " ")
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", verb, err)
	case answer == nil:
		return nil
	}
	if err := json.Unmarshal(bytes.TrimSpace(out.Bytes()), answer); err != nil {
		return fmt.Errorf("%s: expected JSON, got %.200q: %w", verb, out.Bytes(), err)
	}
	return nil
}

// again does something until it succeeds, or fails for another reason than a
// lost connection. alive says that the machine did answer in between.
func (r RAM) again(ctx context.Context, do func() (alive bool, err error)) error {
	since := time.Now()
	for {
		alive, err := do()
		if err == nil || !r.Lost(err) {
			return err
		}
		if alive {
			since = time.Now()
		}
		if away := time.Since(since); away > r.Patience {
			return &LostError{away, err}
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(r.Pause):
		}
	}
}
