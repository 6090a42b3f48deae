package ramsys

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Of setpriority(2). While a machine starts, somebody waits for the agent; for the
// kernel's tests of its own ciphers, which run beside it, nobody does.
const (
	hurried = -20
	calm    = 0
)

// setPriority sets the priority of this process, and of the children that it starts
// from now on. Without it a machine starts more slowly, so errors are passed over.
func setPriority(nice int) {
	threads, _ := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, nice)
		}
	}
}
