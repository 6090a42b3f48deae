package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/remote"
)

type rescueFlags struct {
	on      string
	enter   enterFlags
	archive archiveFlags
	leave   bool
	yes     bool
}

func newRescue(a *app) *cobra.Command {
	var f rescueFlags
	cmd := &cobra.Command{
		Use:   "rescue --on HOST",
		Short: "Take another machine into RAM, over SSH, for a shell",
		Long: `Take another machine from the system that it runs into a RAM system, and log in
there. Nothing is written to its disks; addresses, routes and SSH host keys are those
that it had. It stays like that until it is told to leave: any reboot brings the
system before back.`,
		Example: `  vic rescue --on root@web1.example.org
  vic rescue --on root@web1.example.org --leave    # back to the system that it had`,
		Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), a) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.on, "on", "", "`[USER@]HOST[:PORT]`, or an alias of the SSH configuration")
	flags.BoolVar(&f.leave, "leave", false, "reboot the machine into the system that it had")
	flags.BoolVar(&f.yes, "yes", false, "do not ask before its system ends")
	f.enter.add(cmd)
	f.archive.add(cmd)
	return cmd
}

func (f *rescueFlags) run(ctx context.Context, a *app) error {
	if f.on == "" {
		return usage("vic rescue --on root@HOST", "vic rescue needs --on HOST")
	}
	host, err := remote.Parse(f.on)
	if err != nil {
		return usage("", "--on %w", err)
	}
	if err := errors.Join(f.enter.check(), f.archive.check()); err != nil {
		return err
	}
	return a.withEvents(false, func(c *clock) error {
		m := &otherMachine{app: a, host: host, flags: f.enter, archive: f.archive, clock: c, building: new(sync.Mutex)}
		defer m.close()
		return untouched(f.visit(ctx, m))
	})
}

func (f *rescueFlags) visit(ctx context.Context, m *otherMachine) error {
	if err := m.scan(ctx); err != nil {
		return err
	}
	if f.leave {
		return f.back(ctx, m)
	}
	if m.ram == nil {
		b, err := m.bundleFor(ctx, layout.Layout{})
		if err != nil {
			return err
		}
		if err := m.mayEnter(b); err != nil {
			return err
		}
		if !f.yes {
			const loss = "This ends the running system of %s and all that it does; nothing is written to its disks.\n"
			if err := m.confirm(fmt.Sprintf(loss, m.host), m.host.Name); err != nil {
				return err
			}
		}
		if err := m.enter(ctx, b); err != nil {
			return err
		}
	}
	if err := m.visit().Stay(ctx); err != nil {
		return err
	}
	if !m.canAsk() {
		_, err := fmt.Fprintf(m.stdout, "%s is in the RAM system; vic rescue --on %s --leave brings it back\n", m.host, m.host)
		return err
	}
	return m.ram.Shell(ctx)
}

// back has the machine leave the RAM system.
func (f *rescueFlags) back(ctx context.Context, m *otherMachine) error {
	if m.ram == nil {
		return fail(exitRefused, fmt.Errorf("%s is not in the RAM system: it runs %s", m.host, m.facts.OS.Hostname), "")
	}
	if err := m.visit().Leave(ctx); err != nil {
		return err
	}
	_, err := fmt.Fprintf(m.stdout, "%s reboots into the system that it had\n", m.host)
	return err
}
