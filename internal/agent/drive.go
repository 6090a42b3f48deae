package agent

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/victorinix/vic/internal/agent/control"
	"github.com/victorinix/vic/internal/nearest"
)

// driven are the verbs that a client calls over SSH.
var driven = []string{"status", "events", "deliver", "proceed", "payload", "stay", "leave"}

const drivenUsage = `
A machine that was entered from another one is driven by that one, over SSH:

  vic status [--json]       where it stands
  vic events [--from N]     all events from number N on, as they come
  vic deliver               run {"request":{...},"secrets":{...}} on stdin
  vic proceed [--run N]     acknowledge what was verified: it may be written
  vic payload               how much of the payload is there
  vic payload --offset N    take the payload from byte N on, on stdin
  vic stay                  no way back: the machine stays in this system
  vic leave [--force]       back to the system before, if nothing was written
`

// driving is what the verbs of a client are called with.
type driving struct {
	client control.Client
	events string // the file; empty: control.Events

	from   int64
	run    int64 // 0: any
	offset int64 // -1: not given
	force  bool
}

// maxDelivery bounds what deliver reads; the agent takes less.
const maxDelivery = 8 << 20

// drive is one of the verbs of a client. Answers are JSON lines on stdout.
func (c *command) drive(ctx context.Context, verb string, args []string) error {
	set := c.drivenFlags(verb)
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(c.stdout, usageText)
		return err
	case err != nil:
		return codeError{exitUsage, fmt.Errorf("vic %s: %w", verb, better(set, err))}
	case set.NArg() > 0:
		return codeError{exitUsage, fmt.Errorf("vic %s: unexpected %q", verb, set.Arg(0))}
	}
	err := c.call(ctx, verb)
	var no *control.Refused
	if errors.As(err, &no) {
		return refused(err)
	}
	return err
}

func (c *command) drivenFlags(verb string) *flag.FlagSet {
	set := flag.NewFlagSet("vic "+verb, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	switch verb {
	case "status":
		set.BoolVar(&c.json, "json", false, "")
	case "events":
		set.Int64Var(&c.from, "from", 1, "")
	case "deliver":
		set.Bool("prompt-free", true, "") // for clients that want to be sure
	case "proceed":
		set.Int64Var(&c.driving.run, "run", 0, "")
	case "payload":
		c.offset = -1
		set.Func("offset", "", func(v string) (err error) {
			if c.offset, err = strconv.ParseInt(v, 10, 64); err != nil || c.offset < 0 {
				return errors.New("expected a number of bytes")
			}
			return nil
		})
	case "leave":
		set.BoolVar(&c.force, "force", false, "")
	}
	return set
}

func (c *command) call(ctx context.Context, verb string) error {
	switch verb {
	case "status":
		return c.status(ctx)
	case "events":
		path := c.driving.events
		if path == "" {
			path = control.Events
		}
		return control.Follow(ctx, path, c.from, c.stdout)
	case "deliver":
		return c.deliver(ctx)
	case "proceed":
		return c.client.Proceed(ctx, c.driving.run)
	case "payload":
		if c.offset >= 0 {
			p, err := c.client.Send(ctx, c.offset, c.stdin)
			return c.answer(p, err)
		}
		p, err := c.client.Payload(ctx)
		return c.answer(p, err)
	case "stay":
		return c.client.Stay(ctx)
	}
	return c.client.Leave(ctx, c.force)
}

// answer prints what came of a call.
func (c *command) answer(v any, err error) error {
	if err != nil {
		return err
	}
	if err := json.NewEncoder(c.stdout).Encode(v); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}

func (c *command) deliver(ctx context.Context) error {
	doc, err := io.ReadAll(io.LimitReader(c.stdin, maxDelivery))
	defer clear(doc) // it has secrets
	if err != nil {
		return fmt.Errorf("read what is to be delivered: %w", err)
	}
	started, err := c.client.Deliver(ctx, doc)
	return c.answer(started, err)
}

func (c *command) status(ctx context.Context) error {
	st, err := c.client.Status(ctx)
	if err != nil || c.json {
		return c.answer(st, err)
	}
	fmt.Fprintf(c.stdout, "%s (vic %s)\n", st.State, st.Version)
	switch {
	case st.Probation > 0:
		fmt.Fprintf(c.stdout, "back to the system before in %d s, unless a client acknowledges what was verified\n", st.Probation)
	case st.Written:
		fmt.Fprintln(c.stdout, "a disk may have been written to")
	}
	return nil
}

func unknownVerb(verb string) error {
	verbs := append([]string{"install"}, driven...)
	if near := nearest.Name(verb, verbs); near != "" {
		return fmt.Errorf("unknown verb %q; did you mean %q?", verb, near)
	}
	return fmt.Errorf("unknown verb %q; the RAM system has %s", verb, strings.Join(verbs, ", "))
}
