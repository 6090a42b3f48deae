package probation

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// Nobody comes: the machine reboots by itself, into whatever is on its disk.
func TestNobodyComes(t *testing.T) {
	lab.Need(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	disk := oldDisk(t)
	before := lab.Digest(t, disk)
	m := machine(t, sent{probation: 15, disk: disk})
	start := wait(ctx, t, m, "probation", event.Start)
	watchdog := wait(ctx, t, m, "watchdog", event.Done)
	if watchdog.Message != "softdog, 60 s" {
		t.Errorf("armed %s", watchdog.Message)
	}
	end := wait(ctx, t, m, "probation", event.Failed)
	if end.Exit != 4 {
		t.Errorf("exit code %d, want 4: %s", end.Exit, end.Message)
	}
	// It counts from the start of init, which is a moment before the first event.
	if lasted := end.Time.Sub(start.Time); lasted < 13*time.Second || lasted > 17*time.Second {
		t.Errorf("the probation of 15 s lasted %v", lasted)
	}
	told := time.Now()
	if err := m.Wait(ctx); !errors.Is(err, vm.ErrReset) {
		t.Errorf("the machine did not reboot: %v", err)
	}
	if took := time.Since(told); took > 10*time.Second {
		t.Errorf("the way down took %v", took)
	}
	if !strings.Contains(m.Console(), "no client acknowledged this system within 15s") {
		t.Error("the console does not say why the machine reboots")
	}
	if lab.Digest(t, disk) != before {
		t.Error("the disk was written to")
	}
}

// The agent dies: SSH goes on until the deadline, which stays what it was. The
// watchdog, which would be sooner, is pinged until then.
func TestAgentDies(t *testing.T) {
	lab.Need(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	m := machine(t, sent{probation: 35, watchdog: "reset", cmdline: "vic.watchdog=15"})
	start := wait(ctx, t, m, "probation", event.Start)
	if armed := wait(ctx, t, m, "watchdog", event.Done); armed.Message != "i6300ESB timer, 15 s" {
		t.Errorf("armed %s", armed.Message)
	}
	g := m.login(ctx, t)
	for _, c := range [][2]string{
		{"hostname", "old1"},
		{"cat /proc/sys/kernel/panic /proc/sys/kernel/panic_on_oops", "10\n1"},
	} {
		if got := g.output(c[0]); got != c[1] {
			t.Errorf("%s: got %q, want %q", c[0], got, c[1])
		}
	}
	if status := g.output("vic status"); !strings.Contains(status, "waiting") {
		t.Errorf("vic status: %s", status)
	}
	seen := g.follow("vic events")
	g.output(killAgent)
	died := wait(ctx, t, m, "", event.Failed)
	if !strings.Contains(died.Message, "the agent ended unexpectedly: killed") {
		t.Errorf("got %+v", died)
	}
	if got := g.output("echo still here"); got != "still here" {
		t.Errorf("after the agent's death: %q", got)
	}
	end := wait(ctx, t, m, "probation", event.Failed)
	if lasted := end.Time.Sub(start.Time); lasted < 32*time.Second || lasted > 38*time.Second {
		t.Errorf("the probation of 35 s lasted %v", lasted)
	}
	if err := m.Wait(ctx); !errors.Is(err, vm.ErrReset) {
		t.Errorf("the machine did not reboot: %v", err)
	}
	if all := seen(); !strings.Contains(all, end.Message) {
		t.Errorf("who followed the events over SSH did not see the last one:\n%s", all)
	}
}

// killAgent kills the process "vic-init agent", and not itself.
const killAgent = `for f in $(grep -l 'ini[t].agent' /proc/[0-9]*/cmdline); do d=${f%/cmdline}; kill -9 ${d#/proc/}; done`

// PID 1 hangs: no deadline helps then, but the hardware's watchdog does.
func TestInitHangs(t *testing.T) {
	lab.Need(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	m := machine(t, sent{probation: 300, watchdog: "reset", cmdline: "vic.watchdog=10"})
	wait(ctx, t, m, "watchdog", event.Done)
	g := m.login(ctx, t)
	// Signals do not stop PID 1; the freezer does.
	g.output("mkdir /run/cg && mount -t cgroup2 none /run/cg && mkdir /run/cg/ice && echo 1 > /run/cg/ice/cgroup.procs")
	froze := time.Now()
	g.output("echo 1 > /run/cg/ice/cgroup.freeze")
	err := m.Wait(ctx)
	if took := time.Since(froze); !errors.Is(err, vm.ErrWatchdog) || took > 25*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}

// oldDisk is a disk with something on it, here and there.
func oldDisk(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	const size = 64 << 20
	if err := vm.BlankDisk(path, size); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{0, 1 << 20, size / 2, size - 4096} {
		if _, err := f.WriteAt(bytes.Repeat([]byte("precious"), 512), at); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// wait waits for an event of a step.
func wait(ctx context.Context, t *testing.T, m ramMachine, step string, state event.State) event.Event {
	t.Helper()
	ev, err := m.WaitEvent(ctx, func(e event.Event) bool { return e.Step == step && e.State == state })
	if err != nil {
		t.Fatalf("wait for %q: %v", step, err)
	}
	return ev
}
