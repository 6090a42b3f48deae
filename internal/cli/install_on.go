package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
)

// onFlags say which other machines are installed, and how they are entered.
type onFlags struct {
	hosts     []string
	inventory string
	enter     enterFlags
	network   string
	anew      bool
	// payloadURL is where a machine has the payload's image from; empty: from here.
	payloadURL string
}

// enterFlags say how a machine is taken into RAM.
type enterFlags struct {
	sshConfig string
	probation time.Duration
	generic   bool
}

func (f *enterFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.sshConfig, "ssh-config", "", "with --on: `FILE` in place of the user's own SSH configuration")
	flags.DurationVar(&f.probation, "probation", 5*time.Minute, "with --on: how long the RAM system waits for this command, before it goes back to the system that was there")
	flags.BoolVar(&f.generic, "generic", false, "with --on: send the RAM system for any machine, not the small one for this hardware")
}

func (f *onFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.hosts, "on", nil, "install another machine, over SSH: `[USER@]HOST[:PORT]`, or an alias of the SSH configuration; several in parallel")
	flags.StringVar(&f.inventory, "inventory", "", "install the machines that a `FILE` lists, each with its own options (docs/remote.md)")
	flags.StringVar(&f.network, "network", networkKeep, "with --on, and onto the disk that this system runs from: keep the network configuration of the system before, or dhcp")
	flags.BoolVar(&f.anew, "new-identity", false, "with --on, and onto the disk that this system runs from: new SSH host keys and machine-id; without it the machine keeps those that it has")
	flags.StringVar(&f.payloadURL, "payload-url", "", "with --on: `URL` that the machine downloads the payload's payload.erofs from by itself, in place of over SSH: http, https, or oci://HOST/NAME for a registry; size and hash have to be those of the payload here")
	f.enter.add(cmd)
}

// The values of --network.
const (
	networkKeep = "keep"
	networkDHCP = "dhcp"
)

// minProbation is what a boot and a login take at least.
const minProbation = 30 * time.Second

func (f *onFlags) asked() bool { return len(f.hosts) > 0 || f.inventory != "" }

// check refuses flags that contradict each other.
func (f *onFlags) check(all *installFlags) error {
	switch {
	case !f.asked() && f.payloadURL != "":
		return usage("", "--payload-url is for another machine: with --on")
	case !f.asked():
		return nil
	case all.vm:
		return usage("", "--vm and --on: choose one")
	case f.network != networkKeep && f.network != networkDHCP:
		return usage("", "--network: expected keep or dhcp, got %q", f.network)
	}
	if err := (request.Source{URL: blobURL(f.payloadURL, "0")}).ValidateURL(); err != nil {
		return usage("give one such as http://192.0.2.1:8000/payload.erofs", "--payload-url: %v", err)
	}
	return f.enter.check()
}

func (f *enterFlags) check() error {
	if f.probation < minProbation {
		return usage("", "--probation %v: a machine needs at least %v to start", f.probation, minProbation)
	}
	return nil
}

// onMachines installs other machines: first all of them are looked at, then
// people are asked, then those that can be are installed, side by side.
func (f *installFlags) onMachines(ctx context.Context, a *app, item string, events *clock) error {
	visits, err := f.visits(ctx, a, item, events)
	if err != nil {
		return err
	}
	defer func() {
		for _, v := range visits {
			v.there.close()
		}
	}()
	each(visits, func(v *visitor) error { return v.prepare(ctx) })
	switch {
	case f.dryRun:
		return f.showVisits(a, visits)
	case len(willing(visits)) > 0 && event.Writes(visits[0].phases):
		if err := f.confirmVisits(a, willing(visits)); err != nil {
			return err
		}
	}
	each(willing(visits), func(v *visitor) error { return v.install(ctx) })
	return results(a, visits, f.json)
}

// visits reads what is wanted of each machine, before any of them is talked to.
func (f *installFlags) visits(ctx context.Context, a *app, item string, events *clock) ([]*visitor, error) {
	machines, err := f.on.machines()
	if err != nil {
		return nil, err
	}
	var visits []*visitor
	var errs []error
	var building sync.Mutex
	for _, m := range machines {
		v, err := f.visit(ctx, a, item, m, events, len(machines) > 1)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		v.there.building = &building
		visits = append(visits, v)
	}
	return visits, errors.Join(errs...)
}

// each runs do for all machines, side by side. What fails stops that machine
// alone.
func each(visits []*visitor, do func(*visitor) error) {
	var wg sync.WaitGroup
	for _, v := range visits {
		wg.Go(func() {
			// Of one machine alone, the error is told when the command ends.
			if v.err = untouched(do(v)); v.err != nil && (v.flags.json || len(visits) > 1) {
				v.clock.fail(v.err)
			}
		})
	}
	wg.Wait()
}

// willing are those that nothing has stopped.
func willing(all []*visitor) []*visitor {
	var list []*visitor
	for _, v := range all {
		if v.err == nil && !v.stopsEarly {
			list = append(list, v)
		}
	}
	return list
}

// showVisits is what --dry-run prints.
func (f *installFlags) showVisits(a *app, visits []*visitor) error {
	var errs []error
	plans := map[string]plan.Plan{}
	for _, v := range visits {
		if v.err != nil {
			errs = append(errs, v.err)
			continue
		}
		plans[v.there.host.String()] = v.steps
		if !f.json {
			_, err := io.WriteString(a.stdout, v.describe())
			errs = append(errs, err)
		}
	}
	if f.json {
		errs = append(errs, a.writeJSON(plans))
	}
	return worst(errs)
}

// confirmVisits has a person type how many machines are overwritten, or the name
// of the one.
func (f *installFlags) confirmVisits(a *app, visits []*visitor) error {
	if f.yes {
		return nil
	}
	var loss strings.Builder
	for _, v := range visits {
		fmt.Fprintf(&loss, "%s (%s):\n%s", v.there.host, v.there.facts.OS.Hostname, v.steps.Loss())
	}
	word := visits[0].there.host.Name
	if len(visits) > 1 {
		word = fmt.Sprintf("%d machines", len(visits))
	}
	return a.confirm(loss.String(), word)
}

// results tells how each machine ended, and is the worst of their errors.
func results(a *app, visits []*visitor, asJSON bool) error {
	var errs []error
	for _, v := range visits {
		switch {
		case v.err != nil && len(visits) > 1:
			errs = append(errs, fail(exitCode(v.err), fmt.Errorf("%s: %w", v.there.host, v.err), hintOf(v.err)))
		case v.err != nil:
			errs = append(errs, v.err)
		case !asJSON:
			if _, err := fmt.Fprintln(a.stdout, v.summary); err != nil {
				return err
			}
		}
	}
	return worst(errs)
}

// worst joins errors, with the highest of their exit codes.
func worst(errs []error) error {
	all := errors.Join(errs...)
	if all == nil {
		return nil
	}
	code, hint := 0, ""
	for _, err := range errs {
		if err != nil && exitCode(err) > code {
			code, hint = exitCode(err), hintOf(err)
		}
	}
	return fail(code, all, hint)
}

// hintOf is what an error says to do.
func hintOf(err error) string {
	var exit *exitError
	var h hinter
	if errors.As(err, &exit) && exit.Hint != "" {
		return exit.Hint
	}
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
