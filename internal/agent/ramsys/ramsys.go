// Package ramsys is PID 1 of the RAM system: it turns a kernel that has just
// started into a machine that can run a request, runs it, and ends the machine.
//
// It is two processes of one program. init, PID 1, does what must not fail: it
// mounts, waits for orphans, talks to people and to the host, keeps shells, and
// ends the machine. The agent, its child, does what may fail: modules, network,
// the system erofs, the request. A panic of the agent, a bug of a library, or
// the kernel's out-of-memory killer end the agent, and init says why and leaves
// a rescue shell.
//
//	kernel ─> init: mount /proc /sys /dev /run, consoles
//	           │  fork                     events ^        ^ stderr
//	           └─> agent: modules ─┬─> system erofs, /usr ─┴─> ready ─> Config.Run
//	                               └─> network (beside)
//	          init: /run/vic/events.jsonl ─> consoles, port org.vic.events
//	          init: outcome ─> poweroff | reboot | stay | rescue shell
//
// What the initramfs has to hold:
//
//	/init -> bbin/vic-init         this program, in a busybox
//	/bin /sbin /lib -> usr/...     so that all programs are in the overlay
//	/usr/lib/modules/RELEASE/      modules.dep, .alias, .softdep, .builtin; erofs, overlay, loop
//	/system.erofs                  the system (or vic.system=), and
//	/vic/system.json               its {"sha256": "...", "size": bytes}
//	/vic/request.json              what to do; absent: help and a shell
//
// With rootfstype=ramfs on the kernel command line the system is mounted
// without a loop device. The keys vic.* of the command line are in cmdline.go.
//
// The package installs nothing: that is Config.Run.
package ramsys

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/ramsys/network"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
)

// Config is what the RAM system is made of.
type Config struct {
	// Version is shown on the consoles.
	Version string
	// Run executes the request, in the agent, and returns what to do next:
	// request.FinishPoweroff, FinishReboot or FinishStay. An error may have a
	// method ExitCode() int (see the design; without it: 1). When Run returns
	// one, it need not have emitted an event about it. With a nil Run every
	// request fails.
	Run func(ctx context.Context, env Env) (finish string, err error)
}

// Env is what Run works with.
type Env struct {
	RequestPath string
	SecretsPath string // may be absent
	Sink        event.Sink
	Cmdline     Cmdline
	// Online waits for the first DHCP lease; with vic.net=no it fails.
	Online func(ctx context.Context) error
	// Leases are those that there are.
	Leases func() []network.Lease
}

// agentArg makes this program the agent.
const agentArg = "agent"

// Main is the main function of vic-init. As PID 1 it does not return. Without
// being it, it is the agent, or the commands poweroff and reboot, which ask
// PID 1.
func Main(cfg Config) error {
	switch command := word(os.Args, 1); {
	case os.Getpid() == 1:
		runInit(cfg)
		return nil
	case command == agentArg && os.Getppid() == 1:
		return runAgent(cfg)
	case command == request.FinishPoweroff:
		return signalInit(unix.SIGTERM)
	case command == request.FinishReboot:
		return signalInit(unix.SIGINT)
	}
	return errors.New("vic-init is PID 1 of vic's RAM system; there, `vic-init poweroff` and `vic-init reboot` end it")
}

func word(words []string, i int) string {
	if i < len(words) {
		return words[i]
	}
	return ""
}

func signalInit(sig unix.Signal) error {
	if err := unix.Kill(1, sig); err != nil {
		return fmt.Errorf("signal PID 1: %w", err)
	}
	return nil
}
