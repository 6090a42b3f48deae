// Package reap starts processes for a PID 1 and waits for all processes: its
// own, whose status goes to whoever started them, and orphans, which only have
// to disappear.
//
// os/exec waits for each of its children by itself; a loop that waits for any
// child would take their status away. So here there is one loop, and it is the
// only one that waits: PID 1 starts processes with Start, never with os/exec.
package reap

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// Reaper owns the children of this process.
type Reaper struct {
	mu      sync.Mutex
	running map[int]*Process
	orphans int
}

// Process is a process that was started here.
type Process struct {
	Pid  int
	done chan syscall.WaitStatus
}

// Done receives the status when the process has ended, once.
func (p *Process) Done() <-chan syscall.WaitStatus { return p.done }

// New starts to reap. Only one Reaper can be in a process, and it never ends.
func New() *Reaper {
	r := &Reaper{running: map[int]*Process{}}
	// The signal may stand for several children, and one that comes while
	// the loop runs stays in the channel: so none is missed.
	chld := make(chan os.Signal, 1)
	signal.Notify(chld, syscall.SIGCHLD)
	go func() {
		for {
			r.reapAll()
			<-chld
		}
	}()
	return r
}

// Start runs the executable path. The lock is held until the process is known,
// so that one that ends at once waits for its entry.
func (r *Reaper) Start(path string, argv []string, attr *syscall.ProcAttr) (*Process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	p := &Process{Pid: pid, done: make(chan syscall.WaitStatus, 1)}
	r.running[pid] = p
	return p, nil
}

// Orphans is how many processes ended that were not started here.
func (r *Reaper) Orphans() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.orphans
}

func (r *Reaper) reapAll() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid == 0 {
			return
		}
		r.ended(pid, status)
	}
}

func (r *Reaper) ended(pid int, status syscall.WaitStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.running[pid]
	if !ok {
		r.orphans++
		return
	}
	delete(r.running, pid)
	p.done <- status
}
