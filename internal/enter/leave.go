package enter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/kexec"
)

// How the running system is left. The client has to get its answer before the
// network goes, and the end of the system ends the client's session with all its
// processes. So it is a process outside of the session that waits, has the system
// shut down, and stays to the end:
//
//	vic-env enter --leave ── starts ──> vic-env enter --leave-in-background
//	     └ answers, ends                  1 s later: systemctl kexec, or the jump itself
//	                                      2 min later: the jump, in order or not
//
// With systemd it is a transient service that does not end with the others at
// shutdown (DefaultDependencies=no), and that the last round of signals spares, as
// its name begins with @ (https://systemd.io/ROOT_STORAGE_DAEMONS). It runs from
// RAM and keeps no file system busy. So a service that does not stop, or a file
// system that cannot be unmounted, does not leave a machine that nobody reaches any
// more.
const (
	leaveDelay = time.Second
	// hang is more than what systemd gives one service that does not stop
	// (DefaultTimeoutStopSec, 90 s): then the end is still an orderly one.
	hang = 2 * time.Minute

	backgroundFlag = "leave-in-background"
)

// Starter starts a program that outlives this one.
type Starter struct {
	Tools tool.Runner
	Root  string   // "" or, in tests, where /run is
	Self  []string // this program's file, and what it calls vic-env
	// Detached starts a command in a session of its own.
	Detached func(argv []string) error
}

// Start has this system left in a moment. A warning says that nobody watches over
// its end.
func (s Starter) Start(ctx context.Context) (warning string, err error) {
	argv := append(slices.Clone(s.Self), "enter", "--"+backgroundFlag)
	_, err = os.Stat(s.Root + "/run/systemd/system") // sd_booted(3)
	if err == nil {
		_, runErr := s.Tools.Run(ctx, tool.Cmd{Name: "systemd-run", Args: serviceArgs(argv)})
		if runErr == nil {
			return "", nil
		}
		// Older than systemd 240, or its policy forbids it to run what is in RAM.
		warning = fmt.Sprintf("if this system hangs while it shuts down, nobody ends it: %v", runErr)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("look for systemd: %w", err)
	}
	if err := s.Detached(argv); err != nil {
		return "", fmt.Errorf("start what leaves this system: %w", err)
	}
	return warning, nil
}

// serviceArgs are those of systemd-run(1). With Type=exec it returns when argv runs
// or could not be run.
func serviceArgs(argv []string) []string {
	return append([]string{
		"--quiet", "--collect", "--description=vic: leave this system",
		"--property=Type=exec", "--property=DefaultDependencies=no", "--",
	}, argv...)
}

// detached is Starter.Detached.
func detached(argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// Leaver is the end of this system.
type Leaver struct {
	Delay, Hang time.Duration
	// Leave, Jump and Unload are those of kexec, outside of tests.
	Leave, Jump func(context.Context) error
	Unload      func() error
	Tell        func(text string) // people, on the console
}

func runningLeaver() Leaver {
	h := kexec.Running(tool.Exec{})
	return Leaver{Delay: leaveDelay, Hang: hang, Leave: h.Leave, Jump: h.Jump, Unload: kexec.Unload, Tell: tell}
}

// Run returns when this system could not be left.
func (l Leaver) Run(ctx context.Context) error {
	if err := wait(ctx, l.Delay); err != nil {
		return errors.Join(err, l.Unload())
	}
	l.Tell("this system ends: vic's RAM system takes over")
	if err := l.Leave(ctx); err != nil {
		l.Tell(err.Error())
		return errors.Join(err, l.Unload())
	}
	if err := wait(ctx, l.Hang); err != nil {
		return err // it is on its way out: the kernel stays loaded
	}
	l.Tell(fmt.Sprintf("this system did not end within %v: it is left as it is", l.Hang))
	return l.Jump(ctx)
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// tell writes to the kernel's log, which is on the console and in the journal, and
// works when everything else has ended.
func tell(text string) {
	if f, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0); err == nil {
		_, _ = fmt.Fprintf(f, "<4>vic-env: %s\n", strings.ReplaceAll(text, "\n", "; "))
		_ = f.Close()
	}
}

// spared is how systemd's last round of signals knows whom to spare.
const spared = "@vic-env"

// respawn has this process take the name that begins with @.
func respawn() error {
	return fmt.Errorf("run this program again: %w", syscall.Exec("/proc/self/exe", append([]string{spared}, os.Args[1:]...), os.Environ()))
}
