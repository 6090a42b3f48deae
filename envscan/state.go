package envscan

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// stateProbes find what changes from one run to the next, beyond what others
// find on their way.
var stateProbes = []prober{
	{"state", []string{"state.time", "state.uptime", "state.memoryAvailable"}, func(_ context.Context, s *scanner) func(*Facts) {
		now := time.Now().UTC().Format(time.RFC3339)
		_, available := s.memory()
		uptime := s.uptime()
		return func(f *Facts) {
			f.State.Time, f.State.MemoryAvailable, f.State.Uptime = now, available, uptime
		}
	}},
}

// uptime is in whole seconds since the kernel started.
func (s *scanner) uptime() int64 {
	const fact, path = "state.uptime", "/proc/uptime"
	whole, _, _ := strings.Cut(s.text(fact, path), ".")
	if whole == "" {
		s.gap(fact, path, errNoFile)
		return 0
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	s.gap(fact, path, err)
	return n
}
