package ramsys

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/ramsys/reap"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/stage"
)

// system is what init works with for the whole life of the machine.
type system struct {
	cmdline     Cmdline
	consoles    []*console
	reaper      *reap.Reaper
	signals     <-chan os.Signal
	began       time.Duration      // after the kernel
	handover    *handover.Handover // nil: no system before sent the machine here
	onProbation bool
	reinstall   bool          // see package stage
	written     string        // writtenMark
	ending      chan struct{} // closed when the machine ends
}

// runInit is the life of PID 1.
func runInit() {
	defer lastResort()
	began := uptime()
	problem := errors.Join(mountAll(early()), prepareTree())
	setPriority(hurried)                       // until the agent is started, which it goes over to
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo") // without it, a real one
	problem = errors.Join(problem, steadyAddresses(cpuinfo))
	s, err := start()
	problem = errors.Join(problem, err)
	s.began = began
	s.print("\n%s\n%s\n\n", title(version(versionPath)), machine("/sys"))
	if s.cmdline.Debug {
		s.print("init: started %s after the kernel, ready to start the agent at %s\n", seconds(began), seconds(uptime()))
	}
	if problem != nil {
		s.print("%v\n", problem)
	}
	how := s.live()
	close(s.ending)
	s.print("\nUnmounting everything: %s.\n", how)
	s.print("%v\n", shutdown(how, s.print))
	select {} // PID 1 must not end
}

func start() (system, error) {
	line, _ := os.ReadFile("/proc/cmdline") // without /proc, the agent says so
	s := system{cmdline: ParseCmdline(string(line)), reaper: reap.New(), ending: make(chan struct{}), written: writtenMark}
	quiet(s.cmdline.Debug)
	var problems []string
	s.consoles, problems = openConsoles(consoleDevices("/sys"))
	for _, p := range problems {
		s.print("%s\n", p)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGPWR)
	s.signals = signals
	// Ctrl-Alt-Del becomes a SIGINT to PID 1 instead of an immediate reboot.
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF); err != nil {
		s.print("catch Ctrl-Alt-Del: %v\n", err)
	}
	var err error
	s.handover, err = readHandover(handover.Path)
	s.onProbation = onProbation(s.handover)
	s.reinstall = !absent(stage.Path)
	return s, errors.Join(err, takeName(s.handover))
}

// quiet keeps the kernel's messages off the consoles, but for errors.
func quiet(debug bool) {
	level := 4
	if debug {
		level = 8
	}
	// The level goes where other actions have the length of their buffer. If
	// it cannot be set, there is only more to read.
	_, _ = unix.Klogctl(unix.SYSLOG_ACTION_CONSOLE_LEVEL, make([]byte, level))
}

func (s system) print(format string, args ...any) { printAll(s.consoles, format, args...) }

func title(version string) string { return "vic " + version + ", RAM system" }

// versionPath has the version of the vic that made this system.
const versionPath = "/vic/version"

func version(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return "(unknown version)"
	}
	return strings.TrimSpace(string(b))
}

// howOf is what a signal to PID 1 asks for.
func howOf(sig os.Signal) string {
	if sig == unix.SIGINT {
		return request.FinishReboot
	}
	return request.FinishPoweroff
}

// refuse is for failures that no event tells about.
func (s system) refuse(reason string) string {
	s.print("\nFAILED %s\n", reason)
	return s.next(outcome{Error: reason, Exit: exitInternal})
}

// next does what follows from an outcome that was told. Where that is to stay, it
// keeps a shell on each console and waits.
func (s system) next(o outcome) string {
	switch {
	case o.Error != "":
		if s.cmdline.OnError != OnErrorShell && !s.onProbation {
			return s.cmdline.OnError
		}
		s.print("%s", rescueHelp)
	case o.Services:
		return s.serve()
	case o.Idle:
		s.print("%s", idleHelp(addresses()))
	case o.Finish != request.FinishStay:
		return o.Finish
	default:
		s.print("\nDone; the request asks to stay.\n%s", endHelp)
	}
	s.keepShells()
	return s.await()
}

// keepShells keeps a shell on each console.
func (s system) keepShells() {
	for _, c := range s.consoles {
		guard(func() { keepShell(s.reaper, c) })
	}
}

// reinstallPatience is how long a person has at a reinstall that could not begin.
const reinstallPatience = time.Minute

// await waits for somebody to end the machine. On probation there is an end also
// when init could not even start the agent, or had to be started anew: then as if
// nothing had been acknowledged. And there is one of a reinstall whose agent died
// before it wrote: before the commit, the system before comes then; after it (a power
// cut), the RAM system, which tries again.
func (s system) await() string {
	var over <-chan time.Time
	var limit time.Duration
	switch {
	case s.onProbation:
		limit = s.limit()
		over = time.After(limit - (uptime() - s.began))
	case s.goesBack():
		limit = reinstallPatience
		over = time.After(limit)
		s.print("Nothing was written since this start: the machine starts again in %v.\n", limit)
	}
	select {
	case sig := <-s.signals:
		return howOf(sig)
	case <-over:
		s.print("\nNobody ended this machine within %v: rebooting.\n", limit)
		return request.FinishReboot
	}
}

// panicEnv carries the reason of a panic of init over to its next life.
const panicEnv = "VIC_INIT_PANIC"

// guard runs f beside the caller; a panic in it is the last resort's.
func guard(f func()) {
	go func() {
		defer lastResort()
		f()
	}()
}

// lastResort turns a panic of init itself, which would be the kernel's too,
// into a new life as a keeper of rescue shells; a panic there, into a shell.
func lastResort() {
	reason := recover()
	if reason == nil {
		return
	}
	text := fmt.Sprintf("init: panic: %v", reason)
	path, argv := "/proc/self/exe", []string{"vic-init"}
	if os.Getenv(panicEnv) != "" {
		path, argv = shells()[0], []string{shells()[0]}
	}
	err := syscall.Exec(path, argv, append(environment("dumb"), panicEnv+"="+text))
	fmt.Fprintln(os.Stderr, text, err)
	select {}
}
