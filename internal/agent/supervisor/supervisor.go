// Package supervisor runs the services of an appliance: it starts their
// processes, sees what becomes of them, and does what package service says.
//
//	/etc/vic/services.json ─> service.Machine ── start, terminate, kill, clear ──┐
//	                              ^                                              v
//	                              └── exited, ready, output, time ── processes, files
//
// Everything that others may want to see is files:
//
//	/run/vic/services/state.json          service.Status, replaced at each change
//	/run/vic/services/NAME/outputs/KEY    the outputs of a service
//	/run/vic/services/NAME/log, log.old   what it printed last
//	/run/vic/services/NAME/notify         the socket for sd_notify(3), if it is to use it
//
// so that looking at them needs nobody's help, see Command.
//
// Each run of a service is a session in a control group of its own. When its
// first process has ended, all others of the group are killed: nothing of a run
// is left when the next one starts.
package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/ramsys/reap"
	"github.com/victorinix/vic/internal/service"
)

// Where things are in an appliance.
const (
	GraphPath = "/etc/vic/services.json"
	Dir       = "/run/vic/services"
)

// Config is what a supervisor needs to know.
type Config struct {
	// Graph is the file of the graph. Empty: GraphPath.
	Graph string
	// Dir is where the files above are; what is in it is removed. Empty: Dir.
	Dir string
	// Builtin is the program and its first arguments, which the words of a built-in
	// step are appended to: {"/proc/self/exe", "step"}.
	Builtin []string
	// Env is the environment of all services, with a PATH to look programs up in.
	// VIC_SERVICE, VIC_SERVICES and VIC_OUTPUTS are added: the name of the service,
	// Dir, and where it writes its outputs.
	Env []string
	// Console gets a line for each change, and what services print. A console that
	// takes nothing delays nobody: lines are dropped. nil: nobody listens.
	Console io.Writer
	// Reaper starts the processes. nil: one is made; there can be only one in a
	// process, which should be PID 1, or a subreaper.
	Reaper *reap.Reaper
	// Cgroup is a folder of a cgroup2 file system to make the groups in. Empty:
	// there are none, and killing ends just the processes of the session.
	Cgroup string
}

// Run runs the services until ctx ends and then stops them, those that others
// need last. It returns when nothing runs any more. An error means that it
// started nothing: the graph is wrong, or Dir cannot be used.
func Run(ctx context.Context, cfg Config) error {
	s, err := start(cfg)
	if err != nil {
		return fmt.Errorf("run services: %w", err)
	}
	defer s.close()
	s.loop(ctx)
	return nil
}

// supervisor is a Run at work. Its loop owns all of it; others pass functions to
// it by call.
type supervisor struct {
	cfg     Config
	graph   map[string]service.Service
	machine *service.Machine
	runs    map[string]*run
	calls   chan func()
	over    chan struct{} // closed when nobody takes calls any more
	watch   *watch
	cgroups cgroups
	console *console
	rings   map[string]*ring
	shown   string // state.json as it was written last
	states  map[string]service.State
}

// Load reads the graph of a file.
func Load(path string) (service.Graph, error) {
	f, err := os.Open(path)
	if err != nil {
		return service.Graph{}, fmt.Errorf("read services: %w", err)
	}
	defer f.Close()
	g, err := service.Decode(f)
	if err != nil {
		return g, fmt.Errorf("%s: %w", path, err)
	}
	return g, nil
}

func start(cfg Config) (*supervisor, error) {
	if cfg.Graph == "" {
		cfg.Graph = GraphPath
	}
	if cfg.Dir == "" {
		cfg.Dir = Dir
	}
	g, err := Load(cfg.Graph)
	if err != nil {
		return nil, err
	}
	m, err := service.NewMachine(g)
	if err != nil {
		return nil, err
	}
	s := &supervisor{
		cfg: cfg, machine: m, graph: map[string]service.Service{}, runs: map[string]*run{}, rings: map[string]*ring{},
		calls: make(chan func()), over: make(chan struct{}), states: map[string]service.State{},
	}
	for _, one := range g.Services {
		s.graph[one.Name] = one
	}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	if s.cfg.Reaper == nil {
		s.cfg.Reaper = reap.New()
	}
	s.console = newConsole(cfg.Console)
	return s, nil
}

// prepare makes the folders, and watches those of the outputs.
func (s *supervisor) prepare() (err error) {
	if err := os.RemoveAll(s.cfg.Dir); err != nil {
		return err
	}
	s.cgroups, err = openCgroups(s.cfg.Cgroup)
	if err != nil {
		return err
	}
	s.watch, err = newWatch()
	if err != nil {
		return err
	}
	for name := range s.graph {
		if err := os.MkdirAll(s.outputs(name), 0o755); err != nil {
			return errors.Join(err, s.watch.close())
		}
		if err := s.watch.add(name, s.outputs(name)); err != nil {
			return errors.Join(err, s.watch.close())
		}
		s.rings[name] = newRing(filepath.Join(s.cfg.Dir, name, logName))
	}
	return nil
}

func (s *supervisor) outputs(name string) string { return filepath.Join(s.cfg.Dir, name, "outputs") }

func (s *supervisor) close() {
	close(s.over)
	for _, r := range s.rings {
		r.close()
	}
	if err := errors.Join(s.watch.close(), s.cgroups.close()); err != nil {
		s.console.printf("services: %v\n", err)
	}
	s.console.close()
}

// call has f run by the loop; false when the loop is over.
func (s *supervisor) call(f func()) bool {
	select {
	case s.calls <- f:
		return true
	case <-s.over:
		return false
	}
}

// loop does what happens, one thing after the other.
func (s *supervisor) loop(ctx context.Context) {
	go s.watch.run(func(name, key string) bool {
		return s.call(func() { s.output(name, key) })
	})
	s.do(s.machine.Begin(now()))
	ending := ctx.Done()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !s.machine.Over() {
		timer.Reset(s.untilTick())
		select {
		case f := <-s.calls:
			f()
		case <-timer.C:
			s.do(s.machine.Tick(now()))
		case <-ending:
			ending = nil
			s.do(s.machine.Shutdown(now()))
		}
	}
}

// untilTick is the time until the machine wants to be called.
func (s *supervisor) untilTick() time.Duration {
	at, ok := s.machine.Next()
	if !ok {
		return time.Hour
	}
	return max(0, at-now())
}

// now is the time since boot: nobody sets that clock.
func now() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // Linux has had this clock since 2.6.39
	return time.Duration(ts.Nano())
}

// do does what the machine says, and shows where things stand.
func (s *supervisor) do(actions []service.Action) {
	for len(actions) > 0 {
		a := actions[0]
		actions = append(actions[1:], s.act(a)...)
	}
	s.show()
}

// act does one thing. What follows from it at once is more to do.
func (s *supervisor) act(a service.Action) []service.Action {
	switch a.Do {
	case service.Start:
		r, err := s.start(a)
		if err != nil {
			s.note(a.Service, err.Error())
			return s.machine.Exited(now(), a.Service, a.Run, false, err.Error())
		}
		s.runs[a.Service] = r
		return s.machine.Started(now(), a.Service, a.Run, r.process.Pid)
	case service.Terminate:
		s.problem(a.Service, s.runs[a.Service].terminate())
	case service.Kill:
		s.problem(a.Service, s.runs[a.Service].kill())
	case service.Clear:
		s.problem(a.Service, clearOutputs(s.outputs(a.Service)))
	}
	return nil
}

// output is for an output that was written or removed.
func (s *supervisor) output(name, key string) {
	r := s.runs[name]
	if r == nil {
		return
	}
	for _, k := range s.graph[name].Outputs {
		if key != "" && k != key {
			continue
		}
		value, there, err := readOutput(filepath.Join(s.outputs(name), k))
		s.problem(name, err)
		s.do(s.machine.Output(now(), name, r.number, k, value, there))
	}
}

// show tells what has changed.
func (s *supervisor) show() {
	st := s.machine.Status()
	for _, one := range st.Services {
		if s.states[one.Name] != one.State {
			s.states[one.Name] = one.State
			s.tell(one)
		}
	}
	b, err := json.MarshalIndent(st, "", "  ")
	if err != nil || string(b) == s.shown {
		s.problem("services", err)
		return
	}
	s.problem("services", replaceFile(filepath.Join(s.cfg.Dir, stateName), append(b, '\n'), 0o644))
	s.shown = string(b)
}

// tell says on the console and in the log that a service is in another state.
func (s *supervisor) tell(one service.ServiceStatus) {
	text := string(one.State)
	switch one.State {
	case service.InBackoff:
		text = fmt.Sprintf("%s; it is started again in %.0f s", one.Reason, max(0, one.Again-now().Seconds()))
	case service.Failed:
		text = one.Reason + "; it is not started again"
	case service.Waiting:
		if one.Reason != "" {
			text += " for " + one.Reason
		}
	}
	s.note(one.Name, text)
}

// note is a line about a service that it did not print itself.
func (s *supervisor) note(name, text string) {
	if r := s.rings[name]; r != nil {
		r.line("-- " + text)
	}
	s.console.printf("%s: -- %s\n", name, text)
}

func (s *supervisor) problem(name string, err error) {
	if err != nil {
		s.note(name, err.Error())
	}
}
