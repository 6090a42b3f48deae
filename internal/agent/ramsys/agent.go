package ramsys

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/control"
	"github.com/victorinix/vic/internal/agent/ramsys/hotplug"
	"github.com/victorinix/vic/internal/agent/ramsys/network"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/kmod"
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
	text, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return outcome{}, err
	}
	cmdline := ParseCmdline(string(text))
	if cmdline.Debug {
		sink.Emit(event.Event{Phase: event.Enter, Step: "agent", State: event.Done, Message: "started " + seconds(uptime()) + " after the kernel"})
	}
	warn(sink, cmdline.Warnings)
	before, err := readHandover(handover.Path)
	if err != nil {
		warn(sink, []string{err.Error()})
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
	sink.Emit(event.Event{Phase: event.Enter, State: event.Done, Message: fmt.Sprintf(
		"agent ready %s after the kernel started, %s of memory available", seconds(uptime()), size(memory("MemAvailable")))})
	if trial {
		calls := control.Config{Sink: sink, Version: cfg.Version, Hooks: hooks(init, sink)}
		return serveRequests(ctx, cfg, env, calls, settled)
	}
	await(ctx, settled)
	return runRequest(ctx, cfg, env)
}

// await waits until the devices have what they need. A controller takes a second
// to find that nothing is attached to it. Only a request has to see all disks.
func await(ctx context.Context, settled <-chan struct{}) {
	if settled == nil {
		return
	}
	select {
	case <-settled:
	case <-ctx.Done():
	}
}

// noticeSettled lets init know when devices have their drivers: the watchdog is
// one of them.
func noticeSettled(ctx context.Context, settled <-chan struct{}, init *line, n notice, sink event.Sink) {
	await(ctx, settled)
	if _, err := init.ask(n); err != nil {
		warn(sink, []string{err.Error()})
	}
}

// runRequest runs the request that came with the system, if there is one.
func runRequest(ctx context.Context, cfg Config, env Env) (outcome, error) {
	if absent(env.RequestPath) {
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

// hardware loads modules, for devices and for whoever needs one by name.
type hardware struct {
	loader  *kmod.Loader
	watcher *hotplug.Watcher
	early   *kmod.Tree // nil: no modules in the initramfs
	settled <-chan struct{}
}

// modulesDir is where the modules of the running kernel are: first those of
// the initramfs, then, below the overlay, those of the system too.
func modulesDir() string { return filepath.Join("/usr/lib/modules", release()) }

// startHotplug starts to load the modules of all devices. It does not wait.
func startHotplug(ctx context.Context, c Cmdline, sink event.Sink) (hardware, error) {
	socket, err := hotplug.Listen()
	if err != nil {
		return hardware{}, err
	}
	loader := &kmod.Loader{Insert: kmod.Finit, Params: c.ModuleParams, Parallel: runtime.NumCPU()}
	hw := hardware{loader: loader, watcher: hotplug.Start(ctx, hotplug.Config{
		Sys: "/sys", Loader: loader, Skip: c.Blacklist, Socket: socket,
		Report: func(b hotplug.Batch) { reportModules(sink, c.Debug, b) },
	})}
	hw.early, err = kmod.Open(modulesDir())
	if errors.Is(err, fs.ErrNotExist) {
		warn(sink, []string{"the initramfs has no modules for Linux " + release()})
		return hw, nil
	}
	if err == nil {
		hw.settled = hw.watcher.Plug(ctx, hw.early)
	}
	return hw, err
}

// need loads a module by name; one that is built in, or that is nowhere, is
// left to fail where it is used.
func (hw hardware) need(ctx context.Context) func(module string) error {
	return func(module string) error {
		if hw.early == nil {
			return nil
		}
		_, err := hw.loader.Load(ctx, hw.early, module)
		return err
	}
}

func reportModules(sink event.Sink, debug bool, b hotplug.Batch) {
	ev := event.Event{Phase: event.Enter, Step: "modules", State: event.Done, Message: strings.Join(b.Loaded, " ")}
	if debug {
		ev.Message = fmt.Sprintf("%d devices, %v to match, %v to load: %s", b.Modaliases,
			b.Match.Round(time.Millisecond), b.Load.Round(time.Millisecond), ev.Message)
	}
	if len(b.Loaded) > 0 {
		sink.Emit(ev)
	}
	if b.Err != nil {
		warn(sink, strings.Split(b.Err.Error(), "\n"))
	}
}

func warn(sink event.Sink, warnings []string) {
	for _, w := range warnings {
		sink.Emit(event.Event{Phase: event.Enter, Step: "warning", State: event.Done, Message: w})
	}
}

// startNetwork starts the network beside everything else: that of the system
// before, where there was one.
func startNetwork(ctx context.Context, c Cmdline, before *handover.Handover, need func(module string) error, sink event.Sink) (Env, error) {
	env := Env{RequestPath: request.Path, SecretsPath: request.SecretsPath, Sink: sink, Cmdline: c,
		Online: func(context.Context) error { return errors.New("the network is needed, but vic.net=no") },
		Leases: func() []network.Lease { return nil },
	}
	if c.Net == NetNo {
		return env, nil
	}
	cfg := network.Config{
		Sys: "/sys", ResolvConf: runDir + "/resolv.conf", Need: need,
		Report: func(iface string, l *network.Lease, err error) { reportNetwork(sink, iface, l, err) },
	}
	late := fmt.Errorf("no DHCP server answered for %v", onlinePatience)
	if before != nil && len(before.Network.Links) > 0 {
		cfg.Handover = &before.Network
		late = fmt.Errorf("the network of the system before did not come up within %v", onlinePatience)
	}
	n, err := network.Start(ctx, cfg)
	if err != nil {
		return env, err
	}
	env.Online = func(ctx context.Context) error {
		ctx, cancel := context.WithTimeoutCause(ctx, onlinePatience, late)
		defer cancel()
		return n.Wait(ctx)
	}
	env.Leases = n.Leases
	return env, nil
}

// onlinePatience allows for switches that take half a minute to open a port
// (spanning tree), and for slow NICs.
const onlinePatience = 90 * time.Second

func reportNetwork(sink event.Sink, iface string, l *network.Lease, err error) {
	ev := event.Event{Phase: event.Enter, Step: "network", State: event.Done}
	if err != nil {
		ev.Message = "warning: " + err.Error()
	} else {
		ev.Message = l.String()
	}
	sink.Emit(ev)
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
	img, err := findSystem(ctx, src, throttled(sink, start))
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
	for _, module := range c.Load {
		if err := hw.need(ctx)(module); err != nil {
			warn(sink, []string{err.Error()})
		}
	}
	return hw.settled, mountEFI(ctx, hw)
}

// rescan loads modules from the tree that has those of the system too.
func rescan(ctx context.Context, hw *hardware) error {
	all, err := kmod.Open(modulesDir())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		hw.early, hw.settled = all, hw.watcher.Plug(ctx, all)
	}
	return err
}

func mountEFI(ctx context.Context, hw hardware) error {
	if _, err := os.Stat("/sys/firmware/efi"); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(hw.need(ctx)("efivarfs"), mountEFIVars())
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
