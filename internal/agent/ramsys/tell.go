package ramsys

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// flushPatience is how long the machine stays on for a listener that is slow
// to take the last events.
const flushPatience = 3 * time.Second

// tell shows the events of log on all consoles and sends them to the event
// port, each at its own pace. The function that it returns ends that, once
// everything has been told or flushPatience is over.
func tell(ctx context.Context, consoles []*console, log *eventLog) (flush func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	follower := func(f func()) {
		wg.Add(1)
		guard(func() { defer wg.Done(); f() })
	}
	for _, c := range consoles {
		follower(func() { show(c, log.follow(ctx)) })
	}
	follower(func() {
		if err := feedPort(ctx, log, eventPort); err != nil && ctx.Err() == nil {
			printAll(consoles, "event port: %v\n", err)
		}
	})
	return sync.OnceFunc(func() {
		log.end()
		timer := time.AfterFunc(flushPatience, cancel)
		defer timer.Stop()
		wg.Wait()
		cancel()
	})
}

const endHelp = "The commands poweroff and reboot end this machine.\n"

const rescueHelp = `
This is a rescue shell. All events are in /run/vic/events.jsonl, the kernel's
messages in dmesg. ` + endHelp

// idleHelp is what a machine shows that was not asked to do anything.
func idleHelp(addresses []string) string {
	at := "none yet (`ip addr` tells)"
	if len(addresses) > 0 {
		at = strings.Join(addresses, " ")
	}
	return fmt.Sprintf(`
Nothing to do: no request came with this system. To install from here:

  vic install PAYLOAD --disk DISK    install onto a disk of this machine
  vic-env dump                       what this machine is

Addresses: %s
%s
`, at, endHelp)
}

// addresses are the global addresses of this machine.
func addresses() []string {
	var found []string
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			found = append(found, n.IP.String())
		}
	}
	return found
}
