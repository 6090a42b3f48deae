package slots

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/slot"
)

// A slot that nobody keeps is left.
func TestTrial(t *testing.T) {
	trying, kept := slot.Choice{Default: slot.A, Try: slot.B}, slot.Choice{Default: slot.B, Try: slot.A}
	chosen := slot.Choice{Default: slot.B, Try: slot.A, Back: slot.A}
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		reads    []slot.Choice
		err      error
		end      bool // the machine ends before
		restarts bool
	}{
		"not on trial": {reads: []slot.Choice{kept}},
		"kept":         {reads: []slot.Choice{trying, kept}},
		"not kept":     {reads: []slot.Choice{trying, trying}, restarts: true},
		"chosen, kept": {reads: []slot.Choice{chosen, kept}},
		"chosen, lost": {reads: []slot.Choice{chosen, chosen}, restarts: true},
		"ended":        {reads: []slot.Choice{trying}, end: true},
		"unreadable":   {reads: []slot.Choice{trying}, err: broken},
	} {
		restarted, left := false, 0
		ctx, cancel := context.WithCancel(t.Context())
		tr := trial{
			running: slot.B, say: t.Logf, restart: func() error { restarted = left == slot.A; return nil },
			leave: func(to int) error { left = to; return nil },
			choice: func() (slot.Choice, error) {
				if len(tt.reads) == 0 {
					return slot.Choice{}, tt.err
				}
				c := tt.reads[0]
				tt.reads = tt.reads[1:]
				return c, nil
			},
			after: func(d time.Duration) <-chan time.Time {
				if d != slot.TrialLimit {
					t.Errorf("%s: it waits %v", name, d)
				}
				over := make(chan time.Time, 1)
				if tt.end {
					cancel()
				} else {
					over <- time.Time{}
				}
				return over
			},
		}
		if err := tr.watch(ctx); !errors.Is(err, tt.err) || restarted != tt.restarts {
			t.Errorf("%s: %v, restarted: %v", name, err, restarted)
		}
		cancel()
	}
}
