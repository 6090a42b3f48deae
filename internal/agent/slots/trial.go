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
	t := trial{running: c.id.Partition, choice: c.choice, after: time.After, say: log.Printf,
		restart: func() error { return unix.Kill(1, unix.SIGINT) }}
	if err == nil {
		err = t.watch(ctx)
	}
	if err != nil {
		t.say("slots: %v", err)
	}
}

func (t trial) watch(ctx context.Context) error {
	c, err := t.choice()
	if err != nil || c.Default == t.running {
		return err
	}
	t.say("slots: slot %s is on trial: unless it is kept within %v, slot %s starts again", slot.Name(t.running), slot.TrialLimit, slot.Name(c.Default))
	select {
	case <-t.after(slot.TrialLimit):
	case <-ctx.Done():
		return nil
	}
	if c, err = t.choice(); err != nil || c.Default == t.running {
		return err
	}
	t.say("slots: slot %s was not kept: restarting", slot.Name(t.running))
	if err := t.restart(); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	return nil
}
