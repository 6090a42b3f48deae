package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/remote"
	"github.com/victorinix/vic/internal/service"
	"github.com/victorinix/vic/internal/slot"
)

// updateFlags are the flags of `vic update`.
type updateFlags struct {
	item      itemFlags
	archive   archiveFlags
	on        string
	sshConfig string
	wait      time.Duration
	status    bool
	back      bool
	keep      bool
	noTryboot bool
	dryRun    bool
	yes       bool
	json      bool
}

func newUpdate(a *app) *cobra.Command {
	var f updateFlags
	cmd := &cobra.Command{
		Use:   "update [ITEM] --on [USER@]HOST[:PORT]",
		Short: "Write a new system into the other slot of an appliance's card, try it, and keep it",
		Long: `Update an appliance that runs from a card of vic flash, over SSH, from its
Ethernet side.

The item is built with the options given: those that the card was flashed with,
or others. It is written into the slot that does not run, flushed, read back and
compared; then the appliance restarts into that slot, once. When the new system
answers, and all services run that ran before, it is kept. If it does not, the
next start is the old system's: nothing has to be done for that.

What is in the state, such as the secrets, stays as it is.

--status shows the slots. --back restarts into the other slot as it is, and keeps
it, when its files are whole. --keep keeps the slot that runs: for an update that
was interrupted while it was on trial. docs/raspberry-pi.md explains all of it.`,
		Example: `  vic update reverse-wifi-access-point -o country=DE -o sshkey=@~/.ssh/id_ed25519.pub --on root@192.168.77.1
  vic update reverse-wifi-access-point -o country=DE --on access-point --dry-run
  vic update --on access-point --status
  vic update --on access-point --back`,
		Args: f.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			item := ""
			if len(args) > 0 {
				item = args[0]
			}
			if f.status {
				return a.withDocument(func(events *clock) error { return untouched(f.showStatus(cmd.Context(), a)) })
			}
			return a.withEvents(f.json, func(events *clock) error { return untouched(f.run(cmd.Context(), a, item, events)) })
		},
	}
	f.item.add(a, cmd)
	f.archive.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.on, "on", "", "the appliance, over SSH: `[USER@]HOST[:PORT]`, or an alias of the SSH configuration")
	flags.StringVar(&f.sshConfig, "ssh-config", "", "`FILE` in place of the user's own SSH configuration")
	flags.DurationVar(&f.wait, "prove-timeout", 5*time.Minute, "how long the new system may take to answer, with its services")
	flags.BoolVar(&f.status, "status", false, "show the slots, and change nothing")
	flags.BoolVar(&f.back, "back", false, "go back to the system in the other slot")
	flags.BoolVar(&f.keep, "keep", false, "keep the system that runs on trial")
	flags.BoolVar(&f.noTryboot, "no-tryboot", false, "for kernels that do not tell the firmware of tryboot: make the new slot the default before it is tried; one that does not start at all has to be flashed")
	flags.BoolVar(&f.dryRun, "dry-run", false, "look and build, and write nothing")
	flags.BoolVar(&f.yes, "yes", false, "do not ask before the other slot is overwritten")
	flags.BoolVar(&f.json, "json", false, "write events (with --status: the slots) as JSON on stdout")
	return cmd
}

// args checks the arguments and what goes with what.
func (f *updateFlags) args(cmd *cobra.Command, given []string) error {
	hint := "usage: " + cmd.UseLine()
	chosen := 0
	for _, is := range []bool{f.status, f.back, f.keep} {
		if is {
			chosen++
		}
	}
	switch {
	case len(given) > 1:
		return usage(hint, "vic update: unexpected argument %q", given[1])
	case chosen > 1:
		return usage("choose one", "--status, --back and --keep are three different things")
	case chosen == 1 && len(given) > 0:
		return usage(hint, "vic update %s: --status, --back and --keep take no item", given[0])
	case chosen == 0 && len(given) == 0:
		return usage(hint+"; `vic items` lists the items", "vic update needs ITEM, or one of --status, --back, --keep")
	case f.on == "":
		return usage("add --on root@ADDRESS: the appliance's, on its Ethernet side", "vic update needs --on")
	case f.wait < minProbation:
		return usage("", "--prove-timeout %v: an appliance needs at least %v to start", f.wait, minProbation)
	case f.wait >= slot.TrialLimit:
		return usage("", "--prove-timeout %v: an appliance goes back by itself after %v", f.wait, slot.TrialLimit)
	}
	if _, err := remote.Parse(f.on); err != nil {
		return fail(exitUsage, fmt.Errorf("--on: %w", err), "")
	}
	return f.archive.check()
}

// connect opens the session.
func (f *updateFlags) connect() (*slotted, error) {
	host, err := remote.Parse(f.on)
	if err != nil {
		return nil, err
	}
	s, err := remote.Open(host, f.sshConfig)
	if err != nil {
		return nil, err
	}
	return &slotted{session: s, host: host.String()}, nil
}

func (f *updateFlags) showStatus(ctx context.Context, a *app) (err error) {
	m, err := f.connect()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.session.Close()) }()
	s, err := m.look(ctx)
	if err != nil {
		return err
	}
	if f.json {
		return a.writeJSON(s)
	}
	_, err = fmt.Fprint(a.stdout, describeSlots(m.host, s))
	return err
}

// updateRun is one run.
type updateRun struct {
	*app
	flags  *updateFlags
	there  *slotted
	before slot.Status
	ran    service.Status // the services before
	events *clock
}

func (f *updateFlags) run(ctx context.Context, a *app, item string, events *clock) (err error) {
	var source *updateSource
	if item != "" {
		if source, err = f.source(a, item); err != nil {
			return err
		}
	}
	m, err := f.connect()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.session.Close()) }()
	u := &updateRun{app: a, flags: f, there: m, events: events}
	if err := u.look(ctx); err != nil {
		return err
	}
	switch {
	case f.keep:
		return u.confirmTrial(ctx)
	case f.back:
		return u.goBack(ctx)
	}
	return u.install(ctx, source)
}

// look finds out how the appliance stands.
func (u *updateRun) look(ctx context.Context) (err error) {
	u.phase(event.Scan, event.Start, "")
	if u.before, err = u.there.look(ctx); err != nil {
		return err
	}
	if u.ran, err = u.there.services(ctx); err != nil {
		return err
	}
	u.phase(event.Scan, event.Done, fmt.Sprintf("%s: slot %s runs", u.there.host, slot.Name(u.before.Running)))
	for _, w := range u.before.Warnings {
		u.events.Emit(event.Event{Phase: event.Scan, Step: "warning", State: event.Done, Message: w})
	}
	return nil
}

func (u *updateRun) phase(p event.Phase, s event.State, message string) {
	u.events.Emit(event.Event{Phase: p, State: s, Message: message})
}

// install builds the item, writes it, and has it tried.
func (u *updateRun) install(ctx context.Context, source *updateSource) error {
	if err := refuseUpdate(u.before, source.config); err != nil {
		return fail(exitRefused, err, updateHint(err))
	}
	target, err := u.there.target(ctx, u.before)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(source.env.Cache, "update-") // 0700
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	made, err := source.build(ctx, u.events, target, filepath.Join(dir, "slot"))
	if err != nil {
		return err
	}
	if running, _ := u.before.Slot(u.before.Running); running.System != nil && running.System.System == made.Manifest.System {
		return u.say("%s runs this system already: nothing was written\n", u.there.host)
	}
	if u.flags.dryRun {
		return u.say("%s", describeUpdate(u.there.host, u.before, made))
	}
	if !u.flags.yes {
		if err := u.confirm(describeUpdate(u.there.host, u.before, made), u.there.host); err != nil {
			return err
		}
	}
	if err := u.there.write(ctx, made, u.events); err != nil {
		return err
	}
	return u.try(ctx, made.Manifest.System)
}

// goBack tries the system that is in the other slot.
func (u *updateRun) goBack(ctx context.Context) error {
	if err := refuseBack(u.before); err != nil {
		return fail(exitRefused, err, updateHint(err))
	}
	other, _ := u.before.Slot(slot.Other(u.before.Running))
	if u.flags.dryRun {
		return u.say("%s would restart into slot %s: %s\n", u.there.host, slot.Name(other.Number), other.System.System[:12])
	}
	if err := u.there.change(ctx, "check", u.events); err != nil {
		return err
	}
	return u.try(ctx, other.System.System)
}

// confirmTrial keeps what runs on trial.
func (u *updateRun) confirmTrial(ctx context.Context) error {
	running := slot.Name(u.before.Running)
	if !u.before.Trial() {
		return u.say("%s: slot %s runs, and is the default: there is nothing to keep\n", u.there.host, running)
	}
	if u.flags.dryRun {
		return u.say("%s: slot %s would be kept\n", u.there.host, running)
	}
	if err := u.there.change(ctx, "keep", u.events); err != nil {
		return err
	}
	return u.say("%s: slot %s is kept\n", u.there.host, running)
}

// say tells people how it ended; programs have the events.
func (u *updateRun) say(format string, args ...any) error {
	if u.flags.json {
		return nil
	}
	_, err := fmt.Fprintf(u.stdout, format, args...)
	return err
}
