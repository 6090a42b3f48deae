package service

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

func splitRef(ref string) (name, key string) {
	name, key, _ = strings.Cut(ref, "/")
	return name, key
}

// settle does what follows from the present state, until nothing does.
func (m *Machine) settle(now time.Duration) []Action {
	var actions []Action
	for again := true; again; {
		again = false
		m.mark()
		for _, u := range m.units {
			step, moved := m.step(u, now)
			actions = append(actions, step...)
			again = again || moved
		}
	}
	return actions
}

// step does the next thing about one service; moved says whether anything is
// another than before.
func (m *Machine) step(u *unit, now time.Duration) (actions []Action, moved bool) {
	switch u.state {
	case Starting, Running, Done:
		return m.stepUp(u, now)
	case Stopping:
		if now < u.due {
			return nil, false
		}
		u.due = now + killAgain
		return []Action{{Do: Kill, Service: u.Name, Run: u.run}}, false
	case Waiting, InBackoff:
		return m.stepDown(u, now)
	case Failed:
		if !m.ending && u.missing() == "" && !maps.Equal(u.took, u.wants()) {
			return nil, u.move(now, Waiting)
		}
		return nil, m.ending && u.move(now, Stopped)
	}
	return nil, false
}

// killAgain is for processes that SIGKILL does not end at once.
const killAgain = 5 * time.Second

func (u *unit) move(now time.Duration, s State) bool {
	u.enter(now, s, "")
	return true
}

// stepUp stops a service that has to leave, after those that use it.
func (m *Machine) stepUp(u *unit, now time.Duration) ([]Action, bool) {
	late := u.state == Starting && u.due != 0 && now >= u.due
	if !u.leave && !late || m.inUse(u) {
		return nil, false
	}
	if u.state == Done {
		return u.down(now, Waiting, ""), true
	}
	u.enter(now, Stopping, "")
	u.overdue = late
	u.due = now + time.Duration(u.Stop)
	return []Action{{Do: Terminate, Service: u.Name, Run: u.run}}, true
}

// stepDown starts a service that may run.
func (m *Machine) stepDown(u *unit, now time.Duration) ([]Action, bool) {
	if m.ending {
		return nil, u.move(now, Stopped)
	}
	missing := u.missing()
	if u.state == Waiting {
		u.reason = missing
	}
	switch {
	case now < u.earliest():
		return nil, false
	case missing != "":
		moved := u.state == InBackoff
		if moved {
			u.enter(now, Waiting, missing)
		}
		return nil, moved
	}
	return []Action{u.start(now)}, true
}

// earliest is when a service may be started.
func (u *unit) earliest() time.Duration {
	if u.run == 0 {
		return 0
	}
	return max(u.due, u.started+Spacing)
}

// mark finds out which services must not go on as they are: what they need
// leaves, too, or is gone, or is another one than they were started with.
func (m *Machine) mark() {
	for _, u := range m.units {
		u.leave = m.ending || !maps.Equal(u.took, u.wants())
		for _, n := range u.needs {
			u.leave = u.leave || !n.there()
		}
	}
}

// there: the need is met, and stays so.
func (n need) there() bool {
	if n.unit.leave || n.unit.state != Running && n.unit.state != Done {
		return false
	}
	_, has := n.unit.outputs[n.key]
	return n.key == "" || has
}

// missing says which need is not met, or what it comes after; "" is none.
func (u *unit) missing() string {
	for _, n := range u.needs {
		if !n.there() {
			return n.ref
		}
	}
	for _, a := range u.after {
		if !a.settled() {
			return a.Name
		}
	}
	return ""
}

// settled: whoever comes after it need not wait any longer.
func (u *unit) settled() bool {
	return u.wasReady || u.failures > 0 || u.state == Failed
}

// wants is what it would be started with now.
func (u *unit) wants() map[string]string {
	all := map[string]string{}
	for _, n := range u.needs {
		all[n.ref] = fmt.Sprintf("%d %s", n.unit.run, n.unit.outputs[n.key])
	}
	return all
}

// Next is when Tick is due; false: not before something happens.
func (m *Machine) Next() (at time.Duration, ok bool) {
	for _, u := range m.units {
		var t time.Duration
		switch u.state {
		case Stopping:
			t = u.due
		case Starting:
			if u.due == 0 {
				continue
			}
			t = u.due
			if m.inUse(u) {
				continue // late, and stopped as soon as its users are
			}
		case InBackoff:
			t = u.earliest()
		case Waiting:
			if u.run == 0 || u.missing() != "" {
				continue
			}
			t = u.earliest()
		default:
			continue
		}
		if !ok || t < at {
			at, ok = t, true
		}
	}
	return at, ok
}

// inUse: services that need it still run; when everything ends, or that come
// after it.
func (m *Machine) inUse(u *unit) bool {
	users := u.users
	if m.ending {
		users = slices.Concat(users, u.followers)
	}
	return slices.ContainsFunc(users, func(o *unit) bool { return o.state.up() || o.state == Stopping })
}
