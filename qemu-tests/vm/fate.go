package vm

import (
	"errors"
	"fmt"
	"time"
)

// How a machine ended, other than by switching itself off.
var (
	ErrReset    = errors.New("the guest rebooted")
	ErrPanic    = errors.New("the guest's kernel panicked")
	ErrWatchdog = errors.New("the watchdog expired")
	ErrKilled   = errors.New("killed")
)

// fate collects what was seen of a machine's end.
type fate struct {
	killed   error  // why we killed it
	shutdown string // reason in QMP's SHUTDOWN event
	watchdog bool   // expired, and the guest was not reset since
	panicked bool   // since the last reset
}

// panicGrace is how long a panicked guest may go on to print its stack.
const panicGrace = 2 * time.Second

// onQMP follows the machine's life, qapi/run-state.json.
func (m *Machine) onQMP(e qmpEvent) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch e.Event {
	case "SHUTDOWN":
		m.fate.shutdown = e.Data.Reason
	case "RESET":
		m.fate.watchdog, m.fate.panicked = false, false
	case "WATCHDOG":
		m.fate.watchdog = true
	case "GUEST_PANICKED":
		m.fate.panicked = true
	case "DEVICE_DELETED":
		if gone := m.gone[e.Data.Device]; gone != nil {
			close(gone)
			delete(m.gone, e.Data.Device)
		}
	}
}

// onPanic is told that the console shows a kernel panic. With NoReboot that is
// the end, also for a guest that would hang; without, the guest may come back.
func (m *Machine) onPanic() {
	m.mu.Lock()
	m.fate.panicked = true
	m.mu.Unlock()
	if m.setup.NoReboot {
		time.AfterFunc(panicGrace, func() { m.kill(ErrPanic) })
	}
}

// verdict is how it ended, given QEMU's own end.
func (f fate) verdict(status error, stderr string) error {
	switch {
	case f.shutdown == "" && f.killed != nil:
		if errors.Is(f.killed, ErrPanic) {
			return ErrPanic
		}
		return fmt.Errorf("%w: %w", ErrKilled, f.killed)
	case f.shutdown == "":
		return qemuError(status, stderr)
	case f.panicked || f.shutdown == "guest-panic":
		return ErrPanic
	case f.watchdog:
		return ErrWatchdog
	case f.shutdown == "guest-reset" || f.shutdown == "host-qmp-system-reset":
		return ErrReset
	case f.shutdown == "guest-shutdown":
		return nil
	case f.shutdown == "host-signal" || f.shutdown == "host-qmp-quit":
		return fmt.Errorf("%w: QEMU was told to quit (%s)", ErrKilled, f.shutdown)
	}
	return fmt.Errorf("QEMU ended: %s: %w", f.shutdown, qemuError(status, stderr))
}

// qemuError is an end that no event announced.
func qemuError(status error, stderr string) error {
	if status == nil {
		status = errors.New("exit status 0 without a shutdown")
	}
	if stderr == "" {
		return fmt.Errorf("QEMU: %w", status)
	}
	return fmt.Errorf("QEMU: %w: %s", status, stderr)
}
