// Package ramsys is PID 1 of the RAM system: it turns a kernel that has just
// started into a machine that can run a request, runs it, and ends the machine.
//
// It is two or three processes of one program. init, PID 1, does what must not
// fail: it mounts, waits for orphans, talks to people and to the host, keeps
// shells, and ends the machine. The agent, its child, does what may fail: modules,
// network, the system erofs, the request. A panic of the agent, a bug of a
// library, or the kernel's out-of-memory killer end the agent, and init says why
// and leaves a rescue shell. The SSH server is another child.
//
//	kernel ─> init: mount /proc /sys /dev /run, consoles
//	           │  fork                     events ^        ^ stderr
//	           ├─> agent: modules ─┬─> system erofs, /usr ─┴─> ready ─> Config.Run
//	           │                   └─> network (beside)
//	           ├─> sshd
//	           └─> supervisor of an appliance's services, from the system erofs
//	          init: /run/vic/events.jsonl ─> consoles, port org.vic.events
//	          init: outcome ─> poweroff | reboot | stay | rescue shell
//
// A machine that another system sent into RAM has a handover (package handover).
// Its network is set up as it was. Without a request it is on probation: it takes
// requests over SSH (package control), and goes back to the system before unless a
// client acknowledges it in time. Until then three things bring that back: init's
// clock, which outlives the agent; the watchdog, which outlives init; and the
// kernel's own reboot after a panic.
//
//	agent ── notices ──> init: probation, watchdog
//	      <── answers ──
//
// What the initramfs has to hold:
//
//	/init -> bbin/vic-init         this program, in a busybox
//	/bin /sbin /lib -> usr/...     so that all programs are in the overlay
//	/usr/lib/modules/RELEASE/      modules.dep, .alias, .softdep, .builtin; erofs, overlay, loop
//	/system.erofs                  the system (or vic.system=), and
//	/vic/system.json               its {"sha256": "...", "size": bytes}
//	/vic/version                   of the vic that made it
//	/vic/request.json              what to do; absent: help and a shell
//	/vic/stage.json                in its place: a reinstall, see package stage
//	/vic/handover.json             of the system before; absent: there was none
//	/vic/ssh/ssh_host_*_key        the SSH server's; absent: one is made
//	/vic/authorized_keys           who may log in, beside those of the handover
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
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/control"
	"github.com/victorinix/vic/internal/agent/ramsys/network"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
)

// Config is what the RAM system is made of.
type Config struct {
	// Run executes a request, in the agent, and returns what to do next:
	// request.FinishPoweroff, FinishReboot or FinishStay. An error may have a
	// method ExitCode() int (see the design; without it: 1). When Run returns
	// one, it need not have emitted an event about it. With a nil Run every
	// request fails.
	Run func(ctx context.Context, env Env) (finish string, err error)
	// Vic is the command vic that people type in the RAM system; nil: there
	// is none. It gets the words after "vic".
	Vic func(args []string) error
	// VicEnv is the command vic-env, alike.
	VicEnv func(args []string) error
}

// Env is what Run works with.
type Env struct {
	RequestPath string
	SecretsPath string // may be absent
	// StagePath is the document of a reinstall (package stage), in the place of
	// a request.
	StagePath string
	// Delivery is a request that a client has delivered; nil: it is in the files
	// above. Who got it from control.Server.Next calls its Done when Run has
	// returned.
	Delivery *control.Delivery
	Sink     event.Sink
	Cmdline  Cmdline
	// Online waits for the first DHCP lease; with vic.net=no it fails.
	Online func(ctx context.Context) error
	// Leases are those that there are.
	Leases func() []network.Lease
}

// vicEnvCommand tells what the machine is.
const vicEnvCommand = "vic-env"

// agentArg makes this program the agent.
const agentArg = "agent"

// Main is the main function of vic-init. As PID 1 it does not return. Without
// being it, it is the agent, or one of the commands below.
func Main(cfg Config) error {
	if os.Getpid() == 1 {
		runInit()
	}
	command, args := "", []string(nil)
	if len(os.Args) > 1 {
		command, args = os.Args[1], scriptArgs(os.Args[1], os.Args[2:])
	}
	switch {
	case command == agentArg && os.Getppid() == 1:
		return runAgent(cfg)
	case command == sshdArg && os.Getppid() == 1:
		return runSSHD()
	case command == servicesCommand, command == slotsCommand:
		return ofAppliance(command, args)
	case command == "vic" && cfg.Vic != nil:
		return cfg.Vic(args)
	case command == vicEnvCommand && cfg.VicEnv != nil:
		return cfg.VicEnv(args)
	case command == modprobeCommand:
		return modprobe(context.Background(), args)
	case command == request.FinishPoweroff, command == "shutdown" && !slices.Contains(args, "-r"):
		return signalInit(unix.SIGTERM)
	case command == request.FinishReboot, command == "shutdown":
		return signalInit(unix.SIGINT)
	}
	return errors.New("this is PID 1 of vic's RAM system; there, the commands poweroff and reboot end it.\n\n" +
		"Kernel command line:\n" + CmdlineHelp())
}

// commandDir has the rescue commands, and the commands that are vic-init's.
const commandDir = "/bbin"

// commands are the names under which vic-init can be called. They are scripts
// for it, not links to it: the busybox forgets by which link it was called.
//
//	#!/bbin/vic-init poweroff
func commands() []string {
	return []string{request.FinishPoweroff, request.FinishReboot, "shutdown", "vic", vicEnvCommand, modprobeCommand}
}

// scriptArgs are the arguments of a command: without the script's own path,
// which the kernel puts in front of them. That may be a link to the script: LVM
// calls /sbin/modprobe.
func scriptArgs(command string, args []string) []string {
	if len(args) > 0 && filepath.IsAbs(args[0]) && filepath.Base(args[0]) == command {
		return args[1:]
	}
	return args
}

// writeCommands makes the scripts. A u-root shutdown would not unmount
// anything, and is replaced.
func writeCommands(dir, program string) error {
	var errs []error
	for _, name := range commands() {
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, os.WriteFile(path, []byte("#!"+program+" "+name+"\n"), 0o755))
	}
	return errors.Join(errs...)
}

func signalInit(sig unix.Signal) error {
	if err := unix.Kill(1, sig); err != nil {
		return fmt.Errorf("signal PID 1: %w", err)
	}
	return nil
}
