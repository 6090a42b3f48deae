package service

import (
	"fmt"
	"maps"
	"time"
)

// State is where a service stands.
type State string

// The states of a service.
const (
	Waiting   State = "waiting"  // for what it needs
	Starting  State = "starting" // runs, and is not ready
	Running   State = "ready"    // runs, and is ready
	Done      State = "done"     // a one-shot that succeeded
	InBackoff State = "backoff"  // ended by itself, and waits to be started again
	Stopping  State = "stopping" // was told to end
	Failed    State = "failed"   // ended by itself, and is not started again
	Stopped   State = "stopped"  // with everything else
)

// up: it is there for those that need it, or is about to be.
func (s State) up() bool { return s == Starting || s == Running || s == Done }

// alive: it has a process.
func (s State) alive() bool { return s == Starting || s == Running || s == Stopping }

// Do is what an Action does.
type Do string

// The actions.
const (
	// Start starts the service; Machine.Started or Exited follows.
	Start Do = "start"
	// Terminate asks all its processes to end, Kill ends them. Exited follows.
	Terminate Do = "terminate"
	Kill      Do = "kill"
	// Clear removes its outputs.
	Clear Do = "clear"
)

// Action is something to do.
type Action struct {
	Do      Do
	Service string
	Run     int               // which run of the service it is about
	Values  map[string]string // Start: of the outputs that it needs
}

// Machine decides what the services of a graph do. It holds no locks and starts
// nothing; all times are since an arbitrary moment, the same for all calls.
//
// Every method returns what is to be done now, in this order. Run numbers tell a
// late word about an earlier run from one about this.
type Machine struct {
	units  []*unit // each after what it depends on
	byName map[string]*unit
	ending bool
}

// unit is a service and where it stands.
type unit struct {
	Service
	needs     []need
	after     []*unit
	users     []*unit // that need it
	followers []*unit // that come after it

	state    State
	since    time.Duration // in this state
	run      int           // counts from 1
	pid      int
	started  time.Duration // the last start; meaningful when run > 0
	ready    time.Duration // when it became ready last
	wasReady bool          // in this run
	due      time.Duration // not before; Stopping: killed then; Starting: failed then (0: never)
	failures int           // in a row
	overdue  bool          // it is stopped because it did not get ready
	leave    bool          // see Machine.mark
	reason   string        // of the last failure, or what it waits for
	outputs  map[string]string
	took     map[string]string // what it was started with
}

// need is a service, and perhaps an output of it.
type need struct {
	ref, key string
	unit     *unit
}

// NewMachine makes the machine of a graph that is valid; see Decode.
func NewMachine(g Graph) (*Machine, error) {
	order, err := g.Order()
	if err != nil {
		return nil, err
	}
	m := &Machine{byName: map[string]*unit{}}
	for _, s := range g.Services {
		m.byName[s.Name] = &unit{Service: s.filled(), state: Waiting, outputs: map[string]string{}}
	}
	for _, name := range order {
		u := m.byName[name]
		if err := m.link(u); err != nil {
			return nil, err
		}
		m.units = append(m.units, u)
	}
	return m, nil
}

func (m *Machine) link(u *unit) error {
	for _, ref := range u.Needs {
		name, key := splitRef(ref)
		dep, ok := m.byName[name]
		if !ok {
			return fmt.Errorf("service %s: there is no service %q", u.Name, name)
		}
		u.needs = append(u.needs, need{ref, key, dep})
		dep.users = append(dep.users, u)
	}
	for _, name := range u.After {
		dep, ok := m.byName[name]
		if !ok {
			return fmt.Errorf("service %s: there is no service %q", u.Name, name)
		}
		u.after = append(u.after, dep)
		dep.followers = append(dep.followers, u)
	}
	return nil
}

// Begin starts what can be started.
func (m *Machine) Begin(now time.Duration) []Action { return m.settle(now) }

// Tick is for the time that Next named.
func (m *Machine) Tick(now time.Duration) []Action { return m.settle(now) }

// Shutdown stops everything, what others need last. Over says when that is done.
func (m *Machine) Shutdown(now time.Duration) []Action {
	m.ending = true
	return m.settle(now)
}

// Over: after Shutdown, nothing runs any more.
func (m *Machine) Over() bool {
	for _, u := range m.units {
		if u.state.alive() {
			return false
		}
	}
	return m.ending
}

// Started: a run has a process. One without a condition is ready with it.
func (m *Machine) Started(now time.Duration, name string, run, pid int) []Action {
	u := m.current(name, run)
	if u == nil || u.state != Starting {
		return nil
	}
	u.pid = pid
	if u.Service.Ready == nil {
		u.becomeReady(now)
	}
	return m.settle(now)
}

// Ready: the condition of a run came true. Conditions on outputs are the
// machine's own.
func (m *Machine) Ready(now time.Duration, name string, run int) []Action {
	u := m.current(name, run)
	if u == nil || u.state != Starting || u.overdue {
		return nil
	}
	u.becomeReady(now)
	return m.settle(now)
}

// Output: a service wrote an output, or (there is false) took it back.
func (m *Machine) Output(now time.Duration, name string, run int, key, value string, there bool) []Action {
	u := m.current(name, run)
	if u == nil || !u.state.up() || !u.has(key) {
		return nil
	}
	if there {
		u.outputs[key] = value
	} else {
		delete(u.outputs, key)
	}
	if r := u.Service.Ready; r != nil && r.Output == key {
		switch {
		case there && u.state == Starting:
			u.becomeReady(now)
		case !there && u.state == Running:
			u.enter(now, Starting, "output "+key+" is gone")
			u.due = u.deadline(now)
		}
	}
	return m.settle(now)
}

// Exited: a run has ended, all of it; ok with status 0. how says it in words. A
// run that did not even start ends like this, too.
func (m *Machine) Exited(now time.Duration, name string, run int, ok bool, how string) []Action {
	u := m.current(name, run)
	if u == nil || !u.state.alive() {
		return nil
	}
	u.pid = 0
	var actions []Action
	switch {
	case u.state == Stopping && !u.overdue:
		actions = u.down(now, Waiting, "")
	case u.state != Stopping && u.Oneshot() && ok:
		u.becomeReady(now)
		u.enter(now, Done, "")
		u.failures = 0
	default:
		if u.overdue {
			how = "not ready within " + time.Duration(u.Service.Ready.Within).String()
		}
		actions = u.fail(now, how)
	}
	return append(actions, m.settle(now)...)
}

// current is a service, if this is its present run.
func (m *Machine) current(name string, run int) *unit {
	if u := m.byName[name]; u != nil && u.run == run {
		return u
	}
	return nil
}

func (u *unit) has(key string) bool {
	for _, k := range u.Outputs {
		if k == key {
			return true
		}
	}
	return false
}

func (u *unit) enter(now time.Duration, s State, reason string) {
	u.state, u.since, u.reason, u.due = s, now, reason, 0
}

func (u *unit) becomeReady(now time.Duration) {
	u.enter(now, Running, "")
	u.ready, u.wasReady = now, true
}

// deadline is when a run that is not ready by then has failed.
func (u *unit) deadline(now time.Duration) time.Duration {
	if r := u.Service.Ready; r != nil && r.Within > 0 {
		return now + time.Duration(r.Within)
	}
	return 0
}

// down: nothing of it is there any more.
func (u *unit) down(now time.Duration, s State, reason string) []Action {
	u.enter(now, s, reason)
	u.overdue = false
	u.outputs = map[string]string{}
	if len(u.Outputs) == 0 {
		return nil
	}
	return []Action{{Do: Clear, Service: u.Name, Run: u.run}}
}

// fail: it ended by itself, or was overdue.
func (u *unit) fail(now time.Duration, how string) []Action {
	if u.wasReady && now-u.ready >= time.Duration(u.Service.Backoff.Longest) {
		u.failures = 0
	}
	u.failures++
	if u.Restart == RestartNever {
		return u.down(now, Failed, how)
	}
	actions := u.down(now, InBackoff, how)
	u.due = now + u.pause()
	return actions
}

// pause is the time before the next start.
func (u *unit) pause() time.Duration {
	first, longest := time.Duration(u.Service.Backoff.First), time.Duration(u.Service.Backoff.Longest)
	for n := 1; n < u.failures && first < longest; n++ {
		first *= 2
	}
	return min(first, longest)
}

// start is the next run.
func (u *unit) start(now time.Duration) Action {
	u.run++
	u.enter(now, Starting, "")
	u.started, u.wasReady, u.overdue, u.leave = now, false, false, false
	u.due = u.deadline(now)
	u.took = u.wants()
	values := map[string]string{}
	for _, n := range u.needs {
		if n.key != "" {
			values[n.ref] = n.unit.outputs[n.key]
		}
	}
	return Action{Do: Start, Service: u.Name, Run: u.run, Values: maps.Clone(values)}
}
