package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/raspberry"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/remote"
	"github.com/victorinix/vic/internal/slot"
)

// updateSource is the item of an update.
type updateSource struct {
	config *config.Config
	env    builder.Env
}

// source reads what is wanted, before the appliance is talked to.
func (f *updateFlags) source(a *app, item string) (*updateSource, error) {
	c, err := f.item.config(a, item)
	if err == nil && c.Is(cardType) && c.String("arch") != "arm64" {
		f.item.options = append([]string{cardArch}, f.item.options...)
		c, err = f.item.config(a, item)
	}
	if err != nil {
		return nil, err
	}
	if !isAppliance(c) || !c.Is(cardType) {
		return nil, usage("`vic items` shows the types of each item", "item %s is no appliance on a card: vic update updates nothing else", item)
	}
	if arch := c.String("arch"); arch != "arm64" {
		return nil, usage("leave the architecture out", "a card for Raspberry Pis is for arm64, not for %s", arch)
	}
	env, err := f.archive.buildEnv(event.Discard, origin(c))
	return &updateSource{config: c, env: env}, err
}

// build makes the content of the slot.
func (s *updateSource) build(ctx context.Context, sink event.Sink, to raspberry.Target, path string) (*raspberry.Slot, error) {
	env := s.env
	env.Sink = sink
	bundle, err := cardBundle(ctx, env, s.config)
	if err != nil {
		return nil, err
	}
	return raspberry.WriteSlot(ctx, env, bundle, cardSpec(s.config), to, path)
}

// try restarts into the other slot, proves it, and keeps it.
func (u *updateRun) try(ctx context.Context, system string) error {
	other := slot.Other(u.before.Running)
	u.phase(event.Boot, event.Start, "slot "+slot.Name(other))
	verb := "try"
	if u.flags.noTryboot {
		verb += " --no-tryboot"
	}
	if err := u.there.change(ctx, verb, u.events); err != nil && !remote.IsLost(err) {
		return err
	}
	u.phase(event.Prove, event.Start, "")
	now, err := u.prove(ctx, other, system)
	if err != nil {
		return fail(exitNoAnswer, fmt.Errorf("try slot %s of %s: %w", slot.Name(other), u.there.host, err), u.afterFailure(now))
	}
	if err := u.there.change(ctx, "keep", u.events); err != nil {
		return fail(exitNoAnswer, err, "slot "+slot.Name(other)+" runs on trial: `vic update --on HOST --keep` keeps it")
	}
	u.phase(event.Prove, event.Done, fmt.Sprintf("slot %s answered with its services, and is kept", slot.Name(other)))
	return u.say("%s: slot %s runs and is kept: %.12s, kernel %s; %s\n", u.there.host, slot.Name(other), system, now.Kernel, u.events)
}

// afterFailure says what is to be done.
func (u *updateRun) afterFailure(now slot.Status) string {
	old := slot.Name(u.before.Running)
	if u.flags.noTryboot && now.Running != u.before.Running {
		return fmt.Sprintf("it goes back to slot %s by itself within %v, when its services start; `vic update --on HOST --keep` keeps it all the same", old, slot.TrialLimit)
	}
	switch now.Running {
	case u.before.Running:
		return "nothing is lost: slot " + old + " runs, and is the default"
	case slot.Other(u.before.Running):
		return "it runs on trial: `vic update --on HOST --keep` keeps it all the same; a restart goes back to slot " + old
	}
	return "slot " + old + " is the default: take the power away, and it starts"
}

// pollPause is between two looks.
const pollPause = 2 * time.Second

// prove waits until the appliance has started again, in a slot, with a system, and
// with the services that ran before. Its error says how far it came.
func (u *updateRun) prove(ctx context.Context, number int, system string) (slot.Status, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, u.flags.wait, fmt.Errorf("waited %v", u.flags.wait))
	defer cancel()
	var now slot.Status
	var last error
	for {
		s, err := u.there.look(ctx)
		switch {
		case err != nil && !again(err):
			return now, err
		case err != nil:
			last = errors.Join(errors.New("it does not answer"), err)
		case s.Boot == u.before.Boot:
			last = errors.New("it has not restarted yet")
		default:
			now = s
			if err := answered(s, number, system); err != nil {
				return now, err
			}
			if last = u.proveServices(ctx); last == nil {
				return now, nil
			}
		}
		select {
		case <-time.After(pollPause):
		case <-ctx.Done():
			return now, fmt.Errorf("%w, %w", last, context.Cause(ctx))
		}
	}
}

// again tells whether an error is one of a machine that is about to start.
func again(err error) bool {
	var failed *remote.Error
	return remote.IsLost(err) || errors.As(err, &failed) && failed.Exit == -1
}

// answered refuses another system than the one that was to be tried.
func answered(s slot.Status, number int, system string) error {
	if s.Running != number {
		return fmt.Errorf("slot %s has started again: the firmware did not try slot %s, or that has failed", slot.Name(s.Running), slot.Name(number))
	}
	if x, _ := s.Slot(number); x.System == nil || x.System.System != system {
		return fmt.Errorf("slot %s runs, with another system", slot.Name(number))
	}
	return nil
}

// proveServices refuses while services that ran before do not.
func (u *updateRun) proveServices(ctx context.Context) error {
	now, err := u.there.services(ctx)
	if err != nil {
		return err
	}
	if left := missing(u.ran, now); len(left) > 0 {
		return fmt.Errorf("services that ran before do not: %s", strings.Join(left, ", "))
	}
	return nil
}
