package storage

import (
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
)

// site is where hooks of the layout stand.
type site struct {
	at    string // "disk.main.content", a mount point
	dev   Device
	hooks layout.Hooks
	vars  layout.Variables
}

// contentSite is the one of a content.
func contentSite(at string, dev Device, c *layout.Content) site {
	s := site{at, dev, hooksOf(c), layout.VariablesOf(c.Spec, "type", c.ContentType())}
	if l, ok := specOf[*layout.LUKS](c); ok && keyOf(l).Ask {
		s.vars.Text["askPassword"] = "1"
	}
	return s
}

// step is a hook that runs; ok is false when the layout has none.
func (s site) step(phase event.Phase, when, script string) (step Step, ok bool) {
	vars := s.vars
	if s.dev != (Device{}) { // the path that it has is known later
		delete(vars.Text, "device")
	}
	return Step{phase, when + "Hook of " + s.at, Hook{When: when, At: s.at, Device: s.dev, Script: script, Vars: vars}}, script != ""
}

// hook adds a hook to what is made.
func (w *walker) hook(phase event.Phase, when, script string, s site) {
	if step, ok := s.step(phase, when, script); ok {
		w.plan.Create = append(w.plan.Create, step)
	}
}

// making puts the hooks of what is made around the steps that make it.
func (w *walker) making(s site, body func()) {
	w.hook(event.Format, "preCreate", s.hooks.PreCreate, s)
	body()
	w.hook(event.Format, "postCreate", s.hooks.PostCreate, s)
}

// opening puts the hooks of what is mounted around the steps that open it and
// what stands in it, and of what is unmounted around those that close it. Those
// of a file system or a swap stand where that is mounted.
func (w *walker) opening(s site, body func()) {
	add := func(to *[]Step, phase event.Phase, when, script string) {
		if step, ok := s.step(phase, when, script); ok {
			*to = append(*to, step)
		}
	}
	add(&w.plan.Mount, event.Copy, "preMount", s.hooks.PreMount)
	add(&w.undo, event.Finish, "postUnmount", s.hooks.PostUnmount) // undo is done backwards
	body()
	add(&w.undo, event.Finish, "preUnmount", s.hooks.PreUnmount)
	add(&w.plan.Mount, event.Copy, "postMount", s.hooks.PostMount)
}

func hooksOf(c *layout.Content) layout.Hooks {
	switch s := c.Spec.(type) {
	case *layout.GPT:
		return s.Hooks
	case *layout.MBR:
		return s.Hooks
	case *layout.Filesystem:
		return s.Hooks
	case *layout.Btrfs:
		return s.Hooks
	case *layout.Swap:
		return s.Hooks
	case *layout.LUKS:
		return s.Hooks
	case *layout.LVMPV:
		return s.Hooks
	case *layout.MDRaid:
		return s.Hooks
	case *layout.ZFS:
		return s.Hooks
	case *layout.BcachefsMember:
		return s.Hooks
	}
	return layout.Hooks{}
}

// mounted says whether the hooks of a content stand where it is mounted.
func mounted(c *layout.Content) bool {
	switch c.Spec.(type) {
	case *layout.Filesystem, *layout.Btrfs, *layout.Swap:
		return true
	}
	return false
}
