package ramsys

import (
	"context"
	"errors"
	"time"

	"github.com/victorinix/vic/internal/agent/control"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
)

// serveRequests runs the requests that clients deliver, one after the other,
// until one ends with the machine's end. One that fails does not: its client, or
// another, can deliver the next.
func serveRequests(ctx context.Context, cfg Config, env Env, calls control.Config, settled <-chan struct{}) (outcome, error) {
	if cfg.Run == nil {
		return outcome{}, errNoInstaller
	}
	server, err := control.Listen(ctx, calls)
	if err != nil {
		return outcome{}, err
	}
	for {
		d, err := server.Next(ctx)
		if err != nil {
			return outcome{}, err
		}
		awaitDevices(ctx, settled)
		env.Delivery = d
		if o := runDelivery(ctx, cfg, env); o.Error == "" && o.Finish != request.FinishStay {
			return o, nil
		}
	}
}

// runDelivery runs a request and tells how that ended.
func runDelivery(ctx context.Context, cfg Config, env Env) outcome {
	finish, told, err := runTold(ctx, cfg, env)
	o := outcomeOf(finish, err)
	if o.Error != "" && !told {
		env.Sink.Emit(failure(o.Error, o.Exit))
	}
	if o.Error != "" && err == nil {
		err = errors.New(o.Error)
	}
	env.Delivery.Done(finish, err)
	return o
}

// hooks let init know what clients do.
func hooks(init *line, sink event.Sink) control.Hooks {
	tell := func(n notice) {
		if _, err := init.ask(n); err != nil {
			warn(sink, []string{err.Error()})
		}
	}
	return control.Hooks{
		Acknowledged: func() error {
			_, err := init.ask(noticeAcknowledged)
			return err
		},
		Released: func() { tell(noticeReleased) },
		Leave:    func() { tell(noticeLeave) },
		Left: func() time.Duration {
			a, err := init.ask(noticeLeft)
			if err != nil {
				warn(sink, []string{err.Error()})
			}
			return a.Left
		},
	}
}
