package ramsys

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/ramsys/reap"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
)

// system is what init works with for the whole life of the machine.
type system struct {
	cmdline  Cmdline
	consoles []*console
	reaper   *reap.Reaper
	signals  <-chan os.Signal
}

// runInit is the life of PID 1.
func runInit(cfg Config) {
	defer lastResort()
	began := uptime()
	problem := errors.Join(mountAll(early()), prepareTree())
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo") // without it, a real one
	problem = errors.Join(problem, steadyAddresses(cpuinfo))
	s := start()
	s.print("\n%s\n%s\n\n", title(cfg.Version), machine("/sys"))
	if s.cmdline.Debug {
		s.print("init: started %s after the kernel, ready to start the agent at %s\n", seconds(began), seconds(uptime()))
	}
	if problem != nil {
		s.print("%v\n", problem)
	}
	how := s.live()
	s.print("\nUnmounting everything: %s.\n", how)
	err := shutdown(how, s.print)
	s.print("%v\n", err)
	select {} // PID 1 must not end
}

func start() system {
	line, _ := os.ReadFile("/proc/cmdline") // without /proc, the agent says so
	s := system{cmdline: ParseCmdline(string(line)), reaper: reap.New()}
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
	return s
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

func title(version string) string {
	if version == "" {
		version = "(development)"
	}
	return "vic " + version + ", RAM system"
}

// live runs the agent and does what follows from it, until it is time to end
// the machine. It returns how: request.FinishPoweroff or FinishReboot.
func (s system) live() string {
	if reason := os.Getenv(panicEnv); reason != "" {
		return s.refuse(reason)
	}
	log, err := createEventLog(runDir + "/events.jsonl")
	if err != nil {
		return s.refuse(err.Error())
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	flush := tell(ctx, s.consoles, log)
	sink := &witness{Sink: event.NewEncoder(log)}
	result, err := s.startAgent(sink)
	if err != nil {
		return s.refuse(err.Error())
	}
	select {
	case sig := <-s.signals:
		sink.fail("interrupted: "+sig.String(), sink.exit(exitUntouched))
		flush()
		return howOf(sig)
	case o := <-result:
		flush()
		return s.next(o)
	}
}

// startAgent starts the agent, and passes on its events until it ends; the
// channel gets the outcome.
func (s system) startAgent(sink *witness) (<-chan outcome, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	log, err := os.OpenFile(agentLog, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	p, err := s.reaper.Start("/proc/self/exe", []string{"vic-init", agentArg}, &syscall.ProcAttr{
		Dir: "/", Env: environment("dumb"),
		Files: []uintptr{null.Fd(), log.Fd(), log.Fd(), reportFd: w.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return nil, err
	}
	result := make(chan outcome, 1)
	guard(func() {
		dec := json.NewDecoder(r)
		o, ok := receive(dec, sink)
		if !ok {
			o = crashed(<-p.Done(), sink.exit(exitInternal))
			o.Error += excerpt(agentLog)
		}
		if o.Error != "" && !o.Told {
			sink.fail(o.Error, o.Exit)
		}
		result <- o
		for ok {
			_, ok = receive(dec, sink)
		}
	})
	return result, nil
}

// agentLog is what the agent writes to its standard output and error: normally
// nothing, and the reason when it panics.
const agentLog = runDir + "/agent.log"

// excerptSize is enough for a panic and the first frames below it.
const excerptSize = 1 << 10

// excerpt is the beginning of the last panic in a log, or the log's end.
func excerpt(path string) string {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return ""
	}
	for _, mark := range []string{"panic: ", "fatal error: "} {
		if i := bytes.LastIndex(b, []byte(mark)); i >= 0 {
			return "\n" + string(b[i:min(len(b), i+excerptSize)])
		}
	}
	return "\n" + string(b[max(0, len(b)-excerptSize):])
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

// next does what follows from an outcome that was told. Where that is to stay, it keeps a
// shell on each console and waits for a signal.
func (s system) next(o outcome) string {
	switch {
	case o.Error != "":
		if s.cmdline.OnError != OnErrorShell {
			return s.cmdline.OnError
		}
		s.print("%s", rescueHelp)
	case o.Idle:
		s.print("%s", idleHelp(addresses()))
	case o.Finish != request.FinishStay:
		return o.Finish
	default:
		s.print("\nDone; the request asks to stay.\n%s", endHelp)
	}
	for _, c := range s.consoles {
		guard(func() { keepShell(s.reaper, c) })
	}
	return howOf(<-s.signals)
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
