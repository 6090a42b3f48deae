package envscan

import (
	"context"
	"time"
)

// stateProbes find what changes from one run to the next, beyond what others
// find on their way.
var stateProbes = []prober{
	{"state", []string{"state"}, func(_ context.Context, s *scanner) func(*Facts) {
		now := time.Now().UTC().Format(time.RFC3339)
		_, available := s.memory()
		return func(f *Facts) { f.State.Time, f.State.MemoryAvailable = now, available }
	}},
}
