package ramsys

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/victorinix/vic/internal/event"
)

// probation is the time in which a client has to acknowledge what it finds in a
// machine that it sent into RAM. When nobody does, the machine goes back to the
// system before, whose disks are as they were. A nil probation is none.
//
//	running ──acknowledged──> ended ──released (nothing was written)──> running
//	   └── its time is over: reboot
type probation struct {
	limit time.Duration
	timer *time.Timer
	ends  time.Time // zero: it has ended
}

// startProbation begins one of which some time has passed.
func startProbation(limit, passed time.Duration) *probation {
	left := max(limit-passed, 0)
	return &probation{limit: limit, timer: time.NewTimer(left), ends: time.Now().Add(left)}
}

// over receives when the time is over.
func (p *probation) over() <-chan time.Time {
	if p == nil {
		return nil
	}
	return p.timer.C
}

// acknowledge ends it, and says whether it was running.
func (p *probation) acknowledge() bool {
	if p == nil || p.ends.IsZero() {
		return false
	}
	p.timer.Stop()
	p.ends = time.Time{}
	return true
}

// restart begins it anew, with all of its time.
func (p *probation) restart() {
	p.timer.Reset(p.limit)
	p.ends = time.Now().Add(p.limit)
}

// left is what remains.
func (p *probation) left() time.Duration {
	if p == nil || p.ends.IsZero() {
		return 0
	}
	return max(time.Until(p.ends), time.Nanosecond) // over, and not yet acted upon
}

// probationStep is the step of the events about it.
const probationStep = "probation"

func (p *probation) started() event.Event {
	return event.Event{Phase: event.Enter, Step: probationStep, State: event.Start, Message: fmt.Sprintf(
		"%s for a client to acknowledge, else back", p.limit)}
}

func (p *probation) acknowledged() event.Event {
	return event.Event{Phase: event.Enter, Step: probationStep, State: event.Done, Message: "acknowledged"}
}

func (p *probation) expired() event.Event {
	return event.Event{Phase: event.Enter, Step: probationStep, State: event.Failed, Exit: exitUntouched, Message: fmt.Sprintf(
		"no client acknowledged this system within %s: rebooting into the one before; nothing was written", p.limit)}
}

// crashSettings are what the kernel does about its own crashes
// (Documentation/admin-guide/sysctl/kernel.rst): on probation, a reboot brings the
// system before back.
func crashSettings(onOops string) map[string]string {
	return map[string]string{"panic": "10", "panic_on_oops": onOops}
}

// setKernel writes settings below /proc/sys/kernel.
func setKernel(settings map[string]string) error {
	var errs []error
	for name, value := range settings {
		if err := os.WriteFile("/proc/sys/kernel/"+name, []byte(value), 0o644); err != nil {
			errs = append(errs, fmt.Errorf("set kernel.%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}
