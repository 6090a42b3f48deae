package reap

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A reaper takes all children of its process, the test framework's included:
// so each test runs in a process of its own, which also adopts orphans, as
// PID 1 does.
func TestMain(m *testing.M) {
	scenario, inside := map[string]func() error{"statuses": statuses, "orphans": orphans}[os.Getenv("REAP_SCENARIO")]
	if !inside {
		os.Exit(m.Run())
	}
	err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	if err == nil {
		err = scenario()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func TestScenarios(t *testing.T) {
	for _, name := range []string{"statuses", "orphans"} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "REAP_SCENARIO="+name)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		})
	}
}

func shell(r *Reaper, script string) (*Process, error) {
	return r.Start("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
}

// statuses: many processes that end at the same time, each with its status.
func statuses() error {
	r := New()
	running := map[int]*Process{}
	for code := range 60 {
		p, err := shell(r, fmt.Sprintf("exit %d", code))
		if err != nil {
			return err
		}
		running[code] = p
	}
	for code, p := range running {
		select {
		case status := <-p.Done():
			if status.ExitStatus() != code {
				return fmt.Errorf("process %d: status %d, want %d", p.Pid, status.ExitStatus(), code)
			}
		case <-time.After(10 * time.Second):
			return fmt.Errorf("process %d (exit %d) was never reaped", p.Pid, code)
		}
	}
	if _, err := r.Start("/nonexistent", nil, &syscall.ProcAttr{}); err == nil || !strings.Contains(err.Error(), "start /nonexistent: no such file") {
		return fmt.Errorf("nonexistent program: %v", err)
	}
	return nil
}

// orphans: the parents end first; nothing stays behind as a zombie.
func orphans() error {
	r := New()
	p, err := shell(r, "for i in 1 2 3 4 5; do (sleep 0.1; exit 7) & done; kill -9 $$")
	if err != nil {
		return err
	}
	if status := <-p.Done(); status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("the parent ended with %v", status)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		// Each subshell may be the parent of its sleep: 5 to 10 orphans.
		children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
		if err == nil && len(children) == 0 && r.Orphans() >= 5 {
			return nil
		}
	}
	return fmt.Errorf("only %d orphans were reaped", r.Orphans())
}
