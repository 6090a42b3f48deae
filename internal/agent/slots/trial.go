package slots

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/slot"
)

// trial is a slot that runs, and may not be the default.
type trial struct {
	running int
	choice  func() (slot.Choice, error)
	after   func(time.Duration) <-chan time.Time
	leave   func(to int) error // makes a slot the default again
	restart func() error
	say     func(format string, args ...any)
}

// WatchTrial restarts the machine, and so goes back to the other slot, when it is on
// trial for longer than slot.TrialLimit: who wanted it cannot reach it, or has gone.
func WatchTrial(ctx context.Context) {
	c, err := openCard()
	if errors.Is(err, ErrNoAppliance) {
		return
	}
	t := trial{running: c.id.Partition, choice: c.choice, leave: c.leave, after: time.After, say: log.Printf,
		restart: func() error { return unix.Kill(1, unix.SIGINT) }}
	if err == nil {
		err = t.watch(ctx)
	}
	if err != nil {
		t.say("slots: %v", err)
	}
}

func (t trial) watch(ctx context.Context) error {
	to, err := t.goesBack()
	if err != nil || to == 0 {
		return err
	}
	t.say("slots: slot %s is on trial: unless it is kept within %v, slot %s starts again", slot.Name(t.running), slot.TrialLimit, slot.Name(to))
	select {
	case <-t.after(slot.TrialLimit):
	case <-ctx.Done():
		return nil
	}
	if to, err = t.goesBack(); err != nil || to == 0 {
		return err
	}
	t.say("slots: slot %s was not kept: restarting", slot.Name(t.running))
	if err := t.leave(to); err != nil {
		return err
	}
	if err := t.restart(); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return nil
}

// goesBack is the slot that the one on trial goes back to; 0: none is on trial.
func (t trial) goesBack() (int, error) {
	c, err := t.choice()
	switch {
	case err != nil:
		return 0, err
	case c.Default != t.running:
		return c.Default, nil
	}
	return c.Back, nil
}
