package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/agent/storage"
	planned "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool"
)

// diskFlags are those of the verbs of `vic disk` that take a layout.
type diskFlags struct {
	layout  layoutFlags
	secrets secretFlags
	root    string
	anew    bool
	json    bool
	yes     bool
}

// diskVerb is one of them.
type diskVerb struct {
	name, short, long string
	writes, mounts    bool
	run               func(*diskJob, context.Context) error
}

var diskVerbs = []diskVerb{
	{name: "plan", short: "Show the steps that a layout takes, and each disk before and after",
		long: "Nothing is touched. Everything that is wrong with the layout, or that does not fit\nthe disks, is reported at once.",
		run:  (*diskJob).show},
	{name: "format", short: "Bring disks into the shape of a layout", writes: true,
		long: "What is already as the layout says stays as it is, with its data; what is left\nhalf-made by an interrupted run is made again; everything else on the disks is\nreplaced, after a confirmation. A second run changes nothing. With --anew\neverything that the layout does not keep is made again.",
		run:  (*diskJob).format},
	{name: "mount", short: "Mount everything of a layout below a directory, and turn its swap on", mounts: true,
		long: "Containers, volume groups and arrays are opened first. What is mounted already\nstays mounted.",
		run:  (*diskJob).mount},
	{name: "umount", short: "Undo vic disk mount: unmount, turn swap off, close", mounts: true,
		long: "What is not mounted or open is left alone.",
		run:  (*diskJob).umount},
	{name: "destroy", short: "Make disks of a layout blank: unmount, close, wipe tables and signatures", writes: true, mounts: true,
		long: "Partitions that the layout keeps are lost too.",
		run:  (*diskJob).destroy},
	{name: "verify", short: "Say where disks differ from a layout",
		long: "Nothing is written. The exit code is 3 when something differs.",
		run:  (*diskJob).verify},
}

// newDiskVerbs are the verbs that take a layout.
func newDiskVerbs(a *app) []*cobra.Command {
	var list []*cobra.Command
	for _, v := range diskVerbs {
		list = append(list, newDiskVerb(a, v))
	}
	return list
}

func newDiskVerb(a *app, v diskVerb) *cobra.Command {
	var f diskFlags
	cmd := &cobra.Command{
		Use: v.name + " LAYOUT", Short: v.short,
		Long:    v.short + ".\n\n" + v.long,
		Example: fmt.Sprintf("  vic disk %s raid.yaml --disk a=/dev/sda --disk b=/dev/disk/by-id/wwn-0x5000c500a0b1c2d3", v.name),
		Args:    args("LAYOUT"),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), a, v, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.layout.disks, "disk", nil, "`DISK` of the layout: a device, or match:serial=...; NAME=DISK where the layout has several (default: what the layout says)")
	flags.BoolVar(&f.json, "json", false, "write events (of plan: the plan) as JSON on stdout")
	if v.name == "plan" || v.name == "format" {
		flags.BoolVar(&f.anew, "anew", false, "make everything again that the layout does not keep")
	}
	if v.writes {
		flags.BoolVar(&f.yes, "yes", false, "do not ask before something is lost")
	}
	if v.mounts {
		flags.StringVar(&f.root, "root", "/mnt", "`DIR` that the layout is mounted below")
	}
	if v.name == "format" || v.name == "mount" {
		f.secrets.add(cmd, "give a key of the layout, luks-CONTAINER")
	}
	return cmd
}

func (f *diskFlags) run(ctx context.Context, a *app, v diskVerb, file string) error {
	run := func(events *clock) error {
		j := diskJob{app: a, flags: f, clock: events}
		if err := j.prepare(ctx, v, file); err != nil {
			return untouched(err)
		}
		return v.run(&j, ctx)
	}
	if f.json && (v.name == "plan" || v.name == "verify") {
		return a.withDocument(run)
	}
	return a.withEvents(f.json, run)
}

// diskJob is one run of a verb.
type diskJob struct {
	*app
	flags *diskFlags
	clock *clock
	plan  planned.Plan
	names []string // kernel names of the disks
	// degraded: disks may be absent, by name, when arrays can do without them.
	degraded bool
	absent   []string
	secrets  secret.Set
}

// prepare reads the layout, looks at the disks, and computes the plan.
func (j *diskJob) prepare(ctx context.Context, v diskVerb, file string) error {
	l, err := layout.Load(ctx, tool.Exec{}, file)
	if err != nil {
		return fail(exitUsage, err, "docs/layouts.md explains the schema; nothing was touched")
	}
	given, err := j.flags.layout.assign(l)
	if err != nil {
		return err
	}
	if v.writes && os.Getuid() != 0 {
		return fail(exitRefused, fmt.Errorf("vic disk %s: not root", v.name), "run it with sudo")
	}
	j.degraded = v.mounts && !v.writes
	disks, err := j.disks(ctx, l, given)
	if err != nil {
		return err
	}
	if v.name == "format" || v.name == "mount" {
		if j.secrets, err = j.givenKeys(l); err != nil {
			return err
		}
	}
	j.plan, err = planned.New(planned.Config{Layout: l, Disks: disks, Absent: j.absent, Seed: seedOf(disks), Anew: j.flags.anew || v.name == "destroy"})
	return fail(exitRefused, err, "nothing was touched")
}

func (j *diskJob) givenKeys(l layout.Layout) (secret.Set, error) {
	given, err := j.flags.secrets.read(j.app)
	if err != nil {
		return given, fail(exitUsage, err, "")
	}
	return j.keys(l, given)
}

// show is vic disk plan.
func (j *diskJob) show(context.Context) error {
	if j.flags.json {
		return j.writeJSON(j.plan)
	}
	for _, d := range j.plan.Disks {
		fmt.Fprintln(j.stdout, d.Picture())
	}
	for _, d := range j.plan.Disks {
		for _, l := range d.Lost {
			fmt.Fprintf(j.stdout, "lost on %s: %s\n", d.Disk.Device, l)
		}
	}
	for i, s := range j.plan.Create {
		if i == 0 || j.plan.Create[i-1].Phase != s.Phase {
			fmt.Fprintf(j.stdout, "\n%s\n", s.Phase)
		}
		fmt.Fprintf(j.stdout, "  %s\n", s.Name)
	}
	return nil
}

// format is vic disk format.
func (j *diskJob) format(ctx context.Context) error {
	if err := j.confirm(j.loss()); err != nil {
		return err
	}
	journal, path, err := j.journal()
	if err != nil {
		return untouched(err)
	}
	err = errors.Join(j.execute(ctx, j.plan.Create, journal), journal.Close())
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil { // the next run looks at the disks alone
		return err
	}
	// Everything was opened for the formatting only.
	return j.execute(ctx, j.closing(), nil)
}

// closing are the steps that close what making has opened.
func (j *diskJob) closing() []planned.Step {
	return slices.DeleteFunc(slices.Clone(j.plan.Unmount), func(s planned.Step) bool {
		switch s.Action.(type) {
		case planned.Close, planned.Flush:
			return false
		}
		return true
	})
}

// journalDir is where the journals of runs on this machine are: they are of no
// use after a restart, when the disk alone tells what was done.
const journalDir = "/run/vic/disk"

func (j *diskJob) journal() (journal *storage.Journal, path string, err error) {
	if err := os.MkdirAll(journalDir, 0o700); err != nil {
		return nil, "", fmt.Errorf("make the journal's folder: %w", err)
	}
	hash, err := storage.Hash(j.identities(), j.plan.Create)
	if err != nil {
		return nil, "", err
	}
	path = filepath.Join(journalDir, hash[:32]+".journal")
	journal, err = storage.OpenJournal(path, hash)
	return journal, path, err
}

func (j *diskJob) identities() map[string]planned.Disk {
	m := map[string]planned.Disk{}
	for _, d := range j.plan.Disks {
		m[d.Name] = d.Disk
	}
	return m
}

func (j *diskJob) mount(ctx context.Context) error {
	if err := os.MkdirAll(j.flags.root, 0o755); err != nil {
		return err
	}
	return j.execute(ctx, j.plan.Mount, nil)
}

func (j *diskJob) umount(ctx context.Context) error { return j.execute(ctx, j.plan.Unmount, nil) }

// destroy is vic disk destroy.
func (j *diskJob) destroy(ctx context.Context) error {
	var loss strings.Builder
	for _, d := range j.plan.Disks {
		fmt.Fprintf(&loss, "Everything on %s will be lost.\n", d.Disk)
	}
	if err := j.confirm(loss.String()); err != nil {
		return err
	}
	return j.execute(ctx, j.plan.Destroy(), nil)
}

// verify is vic disk verify.
func (j *diskJob) verify(ctx context.Context) error {
	found, err := storage.New(j.config(j.plan.Create, nil)).Differences(ctx)
	if err != nil {
		return untouched(err)
	}
	if j.flags.json {
		err = j.writeJSON(struct {
			Differences []storage.Difference `json:"differences"`
		}{append([]storage.Difference{}, found...)})
	} else {
		for _, d := range found {
			fmt.Fprintf(j.stdout, "%s: %s\n", d.Step, d.What)
		}
	}
	different := len(slices.DeleteFunc(found, func(d storage.Difference) bool { return d.Unseen }))
	if err != nil || different == 0 {
		return err
	}
	return fail(exitRefused, fmt.Errorf("the disks differ from the layout: %d steps", different), "`vic disk plan` shows what `vic disk format` would do")
}

func (j *diskJob) config(steps []planned.Step, journal *storage.Journal) storage.Config {
	return storage.Config{
		Steps: steps, Disks: j.identities(), Root: j.flags.root, Secrets: j.secrets, Tools: tool.Exec{},
		Machine: storage.Host{Tools: tool.Exec{}, Programs: tool.Exec{}, Also: j.names}, Journal: journal, Sink: j.clock,
	}
}

func (j *diskJob) execute(ctx context.Context, steps []planned.Step, journal *storage.Journal) error {
	err := storage.Run(ctx, j.config(steps, journal))
	var failed *storage.Error
	if errors.As(err, &failed) {
		return fail(failed.Exit, err, exitHint(failed.Exit))
	}
	return err
}

// loss says what is on the disks and will not be there any more; empty when
// nothing is lost.
func (j *diskJob) loss() string {
	var b strings.Builder
	for _, d := range j.plan.Disks {
		if len(d.Lost) == 0 {
			continue
		}
		fmt.Fprintf(&b, "On %s this will be lost:\n", d.Disk)
		for _, l := range d.Lost {
			fmt.Fprintf(&b, "  %s\n", l)
		}
	}
	return b.String()
}

// confirm has a person type the names of the disks.
func (j *diskJob) confirm(loss string) error {
	if j.flags.yes || loss == "" {
		return nil
	}
	var devices []string
	for _, d := range j.plan.Disks {
		devices = append(devices, d.Disk.Device)
	}
	want := strings.Join(devices, " ")
	return j.app.confirm(loss, want)
}
