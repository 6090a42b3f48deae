package ramsys

import (
	"slices"
	"testing"

	"github.com/victorinix/vic/internal/agent/supervisor"
)

// What PID 1 runs is what the supervisor says.
func TestServicesProgram(t *testing.T) {
	want := append([]string{supervisor.Program}, supervisor.ProgramArgs()...)
	if got := []string{servicesProgram, "vic-appliance", superviseArg}; !slices.Equal(got, want) {
		t.Errorf("PID 1 runs %q, the supervisor wants %q", got, want)
	}
}
