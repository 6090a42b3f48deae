// Command guest is the init of the machine in which copies are timed. It makes
// a tar of a payload's tree on a scratch disk, then copies the tree onto ext4
// in turns: with copytree from the payload, and with tar from the tar, each
// from a cold cache and until everything is on the disk. mkfs and tar are the
// payload's own.
//
// Results are events: the step is what was done, Done is how long it took in
// nanoseconds, Total the bytes copied.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/event"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
	}
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		fmt.Fprintln(os.Stderr, "power off:", err)
	}
	select {}
}

func run() error {
	ctx := context.Background()
	if err := prepare(ctx); err != nil {
		return err
	}
	port, err := eventPort()
	if err != nil {
		return err
	}
	defer port.Close()
	sink := event.NewEncoder(port)
	if err := copies(ctx, sink, rounds()); err != nil {
		sink.Emit(event.Event{Phase: event.Copy, State: event.Failed, Message: err.Error()})
	}
	sink.Emit(event.Event{Phase: event.Finish, State: event.Done})
	return sink.Err()
}

// rounds is bench.rounds= of the kernel's command line, or 1.
func rounds() int {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return 1
	}
	for _, word := range strings.Fields(string(line)) {
		if v, ok := strings.CutPrefix(word, "bench.rounds="); ok {
			if n, err := strconv.Atoi(v); err == nil {
				return n
			}
		}
	}
	return 1
}

// errNoPort is what a machine without event.Port ends with.
var errNoPort = errors.New("find port " + event.Port + ": this machine has none")
