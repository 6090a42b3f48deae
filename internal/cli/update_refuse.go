package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/victorinix/vic/builder/raspberry"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/service"
	"github.com/victorinix/vic/internal/slot"
)

// refusal is a refusal with what can be done about it.
type refusal struct {
	error
	hint string
}

func (h refusal) Unwrap() error { return h.error }
func (h refusal) Hint() string  { return h.hint }

func refuse(hint, format string, args ...any) error {
	return refusal{fmt.Errorf(format, args...), hint}
}

func updateHint(err error) string {
	var h hinter
	if errors.As(err, &h) {
		return h.Hint()
	}
	return "nothing was written"
}

// refuseChange refuses what no update and no way back can be made of.
func refuseChange(s slot.Status) error {
	running, other := slot.Name(s.Running), slot.Name(slot.Other(s.Running))
	if s.Refuses != "" {
		return refuse("flash its card again", "no slot can be tried on this board: %s", s.Refuses)
	}
	if _, ok := s.Slot(slot.Other(s.Running)); !ok {
		return refuse("flash a card of at least 512 MB", "the card has no slot %s: it is too small", other)
	}
	if s.Trial() && s.Back != 0 {
		return refuse(fmt.Sprintf("`vic update --on HOST --keep` keeps it; it goes back by itself within %v", slot.TrialLimit), "an update is on trial: slot %s runs, and goes back to slot %s", running, slot.Name(s.Back))
	}
	if s.Trial() {
		return refuse("`vic update --on HOST --keep` keeps it; a restart goes back to slot "+slot.Name(s.Default), "an update is on trial: slot %s runs, and slot %s is the default", running, slot.Name(s.Default))
	}
	return nil
}

// refuseUpdate refuses an item that does not belong onto the card.
func refuseUpdate(s slot.Status, c *config.Config) error {
	if err := refuseChange(s); err != nil {
		return err
	}
	running, _ := s.Slot(s.Running)
	switch m := running.System; {
	case m == nil:
		return refuse("flash its card again, once", "slot %s does not say what is in it: it is older than updates", slot.Name(s.Running))
	case m.Type != raspberry.CardType:
		return refuse("`vic flash` makes a card of the item", "the card is for a %s, and not for a %s", m.Type, raspberry.CardType)
	case m.Item != c.Item().Name:
		return refuse("`vic flash` makes a card of the item", "the appliance is %s, and not %s: its state is another's", m.Item, c.Item().Name)
	case s.Arch != c.String("arch"):
		return refuse("leave the architecture out", "the appliance is for %s, and the item for %s", s.Arch, c.String("arch"))
	}
	if len(c.List("sshkey")) == 0 {
		return refuse("add -o sshkey=@~/.ssh/id_ed25519.pub", "nobody could log in to the new system to keep it: it has no sshkey")
	}
	return nil
}

// refuseBack refuses to go where nothing is.
func refuseBack(s slot.Status) error {
	if err := refuseChange(s); err != nil {
		return err
	}
	if other, _ := s.Slot(slot.Other(s.Running)); other.System == nil {
		return refuse("there is no way back before the first update", "slot %s has no system", slot.Name(other.Number))
	}
	return nil
}

// describeSlots is --status.
func describeSlots(host string, s slot.Status) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, Linux %s, card %s\n", host, orDash(s.Board), s.Kernel, s.Disk)
	for _, x := range s.Slots {
		what := "empty"
		if m := x.System; m != nil {
			what = fmt.Sprintf("%s %.12s, kernel %s", m.Item, m.System, m.Kernel)
		}
		fmt.Fprintf(&b, "  slot %s, %d MiB: %s", slot.Name(x.Number), x.Size>>20, what)
		if state := s.State(x.Number); state != "" {
			fmt.Fprintf(&b, " (%s)", state)
		}
		b.WriteByte('\n')
	}
	if err := refuseChange(s); err != nil {
		fmt.Fprintf(&b, "  %v\n", err)
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(&b, "  warning: %s\n", w)
	}
	return b.String()
}

// describeUpdate is the plan for people.
func describeUpdate(host string, s slot.Status, made *raspberry.Slot) string {
	var b strings.Builder
	var written int64
	for _, e := range made.Order.Extents {
		if !e.Keep {
			written += e.Size
		}
	}
	number := made.Order.Slot
	fmt.Fprintf(&b, "%s runs from slot %s of card %s, which stays as it is.\n", host, slot.Name(s.Running), s.Disk)
	fmt.Fprintf(&b, "  write    slot %s: %s %.12s, kernel %s, %.1f MB of %d MiB", slot.Name(number), made.Manifest.Item, made.Manifest.System, made.Manifest.Kernel, float64(written)/1e6, made.Order.Size>>20)
	if other, ok := s.Slot(number); ok && other.System != nil {
		fmt.Fprintf(&b, "; in place of %.12s", other.System.System)
	}
	fmt.Fprintf(&b, "\n  try      restart into slot %s\n  keep     slot %s, when it answers with the services that run now\n", slot.Name(number), slot.Name(number))
	return b.String()
}

// missing are the services that ran before, are still there, and do not run.
func missing(before, now service.Status) []string {
	ran := map[string]bool{}
	for _, s := range before.Services {
		ran[s.Name] = runs(s)
	}
	var names []string
	for _, s := range now.Services {
		if ran[s.Name] && !runs(s) {
			names = append(names, fmt.Sprintf("%s (%s)", s.Name, s.State))
		}
	}
	return names
}

func runs(s service.ServiceStatus) bool { return s.State == service.Running || s.State == service.Done }
