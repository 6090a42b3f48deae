package ramsys

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/control"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/request"
)

// The pipes between the agent and init: on one it reports, on the other its
// notices are answered.
const (
	reportFd = 3
	answerFd = 4
)

// runAgent is the main function of the agent. Once it has sent the outcome, it
// stays for the sake of the network and of devices that are plugged in: for
// the person at the rescue shell. Init ends it.
func runAgent(cfg Config) error {
	unix.CloseOnExec(reportFd)
	unix.CloseOnExec(answerFd)
	debug.SetMemoryLimit(memory("MemTotal") / 4)
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
	defer stop()
	rep := newReporter(os.NewFile(reportFd, "reports"))
	o, err := agent(ctx, cfg, rep, newLine(rep, os.NewFile(answerFd, "answers")))
	if err != nil { // before Run
		setPriority(calm)
		o = outcome{Error: err.Error(), Exit: exitUntouched}
	}
	if err := rep.send(report{Outcome: &o}); err != nil {
		return fmt.Errorf("report to init: %w", err)
	}
	<-ctx.Done()
	return nil
}

// agent brings the machine to where it can run a request, and runs it.
func agent(ctx context.Context, cfg Config, sink event.Sink, init *line) (outcome, error) {
	cmdline, before, err := circumstances(sink)
	if err != nil {
		return outcome{}, err
	}
	hw, err := startHotplug(ctx, cmdline, sink)
	if err != nil {
		return outcome{}, err
	}
	trial := onProbation(before)
	if trial {
		go noticeSettled(ctx, hw.settled, init, noticeEarly, sink)
	}
	env, err := startNetwork(ctx, cmdline, before, hw.need(ctx), sink)
	if err != nil {
		return outcome{}, err
	}
	settled, err := openSystem(ctx, cmdline, hw, env.Online, sink)
	if err != nil {
		return outcome{}, err
	}
	if trial {
		go noticeSettled(ctx, settled, init, noticeDevices, sink)
	}
	if cmdline.Net == NetWait {
		if err := env.Online(ctx); err != nil {
			return outcome{}, err
		}
	}
	setPriority(calm)
	sink.Emit(event.Event{Phase: event.Enter, State: event.Done, Message: fmt.Sprintf(
		"agent ready %s after the kernel started, %s of memory available", seconds(uptime()), size(memory("MemAvailable")))})
	if trial {
		calls := control.Config{Sink: sink, Version: version(versionPath), Hooks: hooks(init, sink)}
		return serveRequests(ctx, cfg, env, calls, settled)
	}
	if !absent(servicesProgram) {
		return outcome{Finish: request.FinishStay, Services: true}, nil
	}
	awaitDevices(ctx, settled)
	return runRequest(ctx, cfg, env)
}

// circumstances are what the kernel was started with, and by whom.
func circumstances(sink event.Sink) (Cmdline, *handover.Handover, error) {
	text, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return Cmdline{}, nil, err
	}
	cmdline := ParseCmdline(string(text))
	if cmdline.Debug {
		sink.Emit(event.Event{Phase: event.Enter, Step: "agent", State: event.Done, Message: "started " + seconds(uptime()) + " after the kernel"})
	}
	warn(sink, cmdline.Warnings)
	before, err := readHandover(handover.Path)
	if err != nil { // there is a probation all the same
		warn(sink, []string{err.Error()})
	}
	return cmdline, before, nil
}

// runRequest runs the request that came with the system, if there is one.
func runRequest(ctx context.Context, cfg Config, env Env) (outcome, error) {
	if absent(env.RequestPath) && absent(env.StagePath) {
		return outcome{Finish: request.FinishStay, Idle: true}, nil
	}
	if cfg.Run == nil {
		return outcome{}, errNoInstaller
	}
	finish, told, err := runTold(ctx, cfg, env)
	o := outcomeOf(finish, err)
	o.Told = o.Error != "" && told
	return o, nil
}

var errNoInstaller = errors.New("run the request: this vic-init was built without an installer")

// runTold runs a request; told says whether the last event was about its failure.
func runTold(ctx context.Context, cfg Config, env Env) (finish string, told bool, err error) {
	var last atomic.Bool
	sink := env.Sink
	env.Sink = event.SinkFunc(func(e event.Event) {
		last.Store(e.State == event.Failed && e.Exit != 0)
		sink.Emit(e)
	})
	finish, err = cfg.Run(ctx, env)
	return finish, last.Load(), err
}

func warn(sink event.Sink, warnings []string) {
	for _, w := range warnings {
		sink.Emit(event.Event{Phase: event.Enter, Step: "warning", State: event.Done, Message: w})
	}
}

// openSystem finds, verifies and mounts the system erofs, and starts to load
// what the devices need from it: settled is closed when they have that.
func openSystem(ctx context.Context, c Cmdline, hw hardware, online func(context.Context) error, sink event.Sink) (settled <-chan struct{}, err error) {
	src := c.System
	if src.URL != "" {
		if err := online(ctx); err != nil {
			return nil, fmt.Errorf("download %s: %w", src.URL, err)
		}
	}
	start := event.Event{Phase: event.Enter, Step: "system", State: event.Start}
	sink.Emit(start)
	for _, module := range systemModules {
		// Beside the verification. The loader remembers how it went: the error
		// comes from mountSystem.
		go hw.need(ctx)(module)
	}
	card, err := openCard(ctx, src.Slot, hw, sink)
	if err != nil {
		return nil, err
	}
	img, err := findSystem(ctx, src, card.System, throttled(sink, start))
	if err != nil {
		return nil, err
	}
	message := "none: only the rescue commands of the initramfs"
	if img.path != "" {
		if err := mountSystem(img, hw.need(ctx)); err != nil {
			return nil, err
		}
		message = img.path + " verified and mounted"
		if err := rescan(ctx, &hw); err != nil {
			return nil, err
		}
	}
	sink.Emit(event.Event{Phase: event.Enter, Step: "system", State: event.Done, Message: message})
	if err := mountState(ctx, card, hw, sink); err != nil {
		return nil, err
	}
	for _, module := range c.Load {
		if err := hw.need(ctx)(module); err != nil {
			warn(sink, []string{err.Error()})
		}
	}
	return hw.settled, mountEFI(ctx, hw)
}

// throttled emits progress at most ten times a second.
func throttled(sink event.Sink, ev event.Event) func(done, total int64) {
	var last time.Time
	return func(done, total int64) {
		if now := time.Now(); now.Sub(last) >= 100*time.Millisecond {
			last = now
			ev.State, ev.Done, ev.Total = event.Progress, done, total
			sink.Emit(ev)
		}
	}
}

// uptime is the time since the kernel started.
func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
