package storage

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/victorinix/vic/internal/event"
	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/tool"
)

// creates says whether a hook belongs to what is made, and not to mounting: it
// is then run once.
func creates(a plan.Hook) bool { return strings.HasSuffix(a.When, "Create") }

// hook runs a script of the layout, as disko does: by bash where there is one,
// with the options of what it stands at as variables, its path in $device, and
// the target's root in $rootMountPoint.
func (e *Executor) hook(s plan.Step, a plan.Hook) work {
	return work{
		probe: func(context.Context) (bool, error) { return e.hookDone(s, a) },
		do: func(ctx context.Context) error {
			if creates(a) {
				if err := e.writing(a.Device); err != nil {
					return err
				}
			}
			c, err := e.script(a)
			if err != nil {
				return err
			}
			out := &lines{emit: func(line string) {
				e.Sink.Emit(event.Event{Phase: s.Phase, Step: s.Name, State: event.Progress, Message: line})
			}}
			c.Stdout = out
			_, err = e.Tools.Run(ctx, c)
			out.flush()
			return err
		},
	}
}

// hookDone: a script leaves no trace that is known. It has been run when the
// journal says so, or when everything was finished on the tables beneath.
func (e *Executor) hookDone(s plan.Step, a plan.Hook) (bool, error) {
	if !creates(a) || a.Device == (plan.Device{}) {
		return creates(a) && e.Journal.done(s), nil
	}
	if w, ok := e.stack.tables[thing(a.Device)]; ok && a.Device.Disk != "" {
		d, err := e.disk(a.Device.Disk)
		if err != nil {
			return false, err
		}
		like, err := e.ours(a.Device.Disk, d.Device)
		if err != nil {
			return false, err
		}
		return like == final && len(w.Table.Entries) > 0 || e.Journal.done(s) && like != different && !e.made[thing(a.Device)], nil
	}
	g, err := e.ground(a.Device)
	return !g.lost && (!g.fresh && !g.bare || e.Journal.done(s)), err
}

// script is the command of a hook.
func (e *Executor) script(a plan.Hook) (tool.Cmd, error) {
	c := tool.Cmd{Name: "sh", Args: []string{"-efu", "-c", a.Script}}
	if _, err := e.Machine.LookPath("bash"); err == nil {
		c = tool.Cmd{Name: "bash", Args: []string{"-efu", "-o", "pipefail", "-c", a.Script}}
	}
	c.Args[len(c.Args)-1] = "exec 2>&1\n" + a.Vars.Shell(c.Name == "bash") + a.Script
	c.Env = []string{"rootMountPoint=" + e.Root}
	if a.Device == (plan.Device{}) || a.Device.VG != "" && a.Device.LV == "" {
		return c, nil
	}
	path, err := e.path(a.Device)
	switch {
	case missing(err) && (strings.HasPrefix(a.When, "pre") || a.When == "postUnmount"): // it is not made yet, or closed
		return c, nil
	case err != nil:
		return c, fmt.Errorf("run the %sHook of %s: %w", a.When, a.At, err)
	}
	c.Env = append(c.Env, "device="+path)
	return c, nil
}

// lines emits what is written to it line by line.
type lines struct {
	emit func(string)
	rest []byte
}

// longest is how much of a line without an end is kept, in bytes.
const longest = 4096

func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		at := bytes.IndexByte(p, '\n')
		if at < 0 {
			l.rest = append(l.rest, p...)
			if len(l.rest) > longest {
				l.flush()
			}
			break
		}
		l.rest = append(l.rest, p[:at]...)
		l.flush()
		p = p[at+1:]
	}
	return n, nil
}

func (l *lines) flush() {
	if text := strings.TrimRight(string(l.rest), "\r"); text != "" {
		l.emit(text)
	}
	l.rest = l.rest[:0]
}
