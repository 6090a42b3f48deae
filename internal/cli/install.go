package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
)

// installFlags are the flags of `vic install`.
type installFlags struct {
	item    itemFlags
	archive archiveFlags
	layout  layoutFlags

	phases []string
	dryRun bool
	json   bool
	yes    bool

	nics []string

	on        onFlags
	reinstall reinstallFlags

	vm           bool
	firmware     string
	memory       string
	proveTimeout time.Duration
}

func newInstall(a *app) *cobra.Command {
	var f installFlags
	cmd := &cobra.Command{
		Use:   "install ITEM|DIR --disk DISK",
		Short: "Install an item onto a disk, and prove that it boots",
		Long: `Install an item, or a payload that vic build wrote into DIR, onto a disk.

Everything on the disk is lost. Nothing is written before the disk, the payload
and the machine have been verified; --dry-run stops there and shows the plan.
--phases scan,build,verify verifies for real, and stops before the first write.

DISK may be the one that this system runs from: then the RAM system is put onto
it, with the payload, beside what is there; it is started once, verifies
everything, and installs. Until then a power cycle brings this system back, and
vic undo --all takes everything back. A power cut later is followed by the
installer, which goes on.

With --vm it is tried first: DISK is an image file, the whole installation runs
in a throw-away virtual machine, then the disk is booted by itself, and the
system on it has to answer with the SSH host key that was made for it.

With --on it is another machine, reached over SSH: it is taken into RAM by kexec,
everything is verified there, the payload is streamed to its disk, and the new
system has to answer with the host key that the machine had. Until the first write
nothing is lost: without this command's word it reboots into the system before.`,
		Example: `  vic install debian --vm --disk out/x.img,size=8G --firmware bios --memory 256M
  vic install debian -o hostname=web1 -o sshkey=@~/.ssh/id_ed25519.pub --disk /dev/sdb
  vic install debian --disk /dev/sda --dry-run    # the disk that this system is on
  vic install debian --layout raid.yaml --disk a=/dev/sda --disk b=/dev/sdb
  vic install debian -o hostname=web1 --on root@192.0.2.7 --disk match:transport=nvme
  vic install out/debian --disk /dev/disk/by-id/nvme-eui.0025 --dry-run`,
		Args: args("ITEM|DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), a, args[0]) },
	}
	f.item.add(a, cmd)
	f.item.addSecrets(cmd)
	f.archive.add(cmd)
	flags := cmd.Flags()
	f.layout.add(cmd)
	f.on.add(cmd)
	f.reinstall.add(cmd)
	flags.StringArrayVar(&f.layout.disks, "disk", nil, "`DISK` to install onto: a device, or match:serial=...; with --vm an image file, with ,size=8G to make it; NAME=DISK for each of a layout with several")
	flags.StringArrayVar(&f.nics, "nic", nil, "`NAME=WHICH`: what a network card is called, WHICH being mac:ADDRESS, path:PATH or driver:NAME (in place of -o nic=)")
	flags.StringSliceVar(&f.phases, "phases", nil, "stop early: run only these `PHASES`, without a gap from verify on ("+phaseNames()+")")
	flags.BoolVar(&f.dryRun, "dry-run", false, "show what would be done, and write nothing to the disk")
	flags.BoolVar(&f.json, "json", false, "write events (with --dry-run: the plan) as JSON on stdout")
	flags.BoolVar(&f.yes, "yes", false, "do not ask before the disk is overwritten")
	flags.BoolVar(&f.vm, "vm", false, "install in a throw-away virtual machine, onto an image file")
	flags.StringVar(&f.firmware, "firmware", "", "with --vm: uefi or bios (short for -o firmware=)")
	flags.StringVar(&f.memory, "memory", "", "with --vm: memory of the machine, such as 256M (short for -o memory=)")
	flags.DurationVar(&f.proveTimeout, "prove-timeout", 5*time.Minute, "how long the installed system has to answer")
	return cmd
}

func phaseNames() string { return strings.Join(phaseStrings(event.Phases()), ",") }

func phaseStrings(phases []event.Phase) []string {
	var names []string
	for _, p := range phases {
		names = append(names, string(p))
	}
	return names
}

func (f *installFlags) run(ctx context.Context, a *app, item string) error {
	run := func(events *clock) error { return untouched(f.install(ctx, a, item, events)) }
	if f.json && f.dryRun {
		return a.withDocument(run)
	}
	return a.withEvents(f.json, run)
}

func (f *installFlags) install(ctx context.Context, a *app, item string, events *clock) error {
	if err := f.on.check(f); err != nil {
		return err
	}
	if f.on.asked() {
		return f.onMachines(ctx, a, item, events)
	}
	chosen, err := f.check()
	if err != nil {
		return err
	}
	job := installJob{app: a, flags: f, phases: chosen, clock: events}
	if err := job.prepareLayout(ctx); err != nil {
		return err
	}
	if job.source, err = f.source(a, item, toolsOption(job.layout)); err != nil {
		return err
	}
	if err := checkSystem(job.source); err != nil {
		return err
	}
	if job.source.secrets, err = job.keys(job.layout, job.source.secrets); err != nil {
		return err
	}
	if f.vm {
		return job.inVM(ctx)
	}
	return job.here(ctx)
}

// check refuses flags that contradict each other, before any slow work.
func (f *installFlags) check() ([]event.Phase, error) {
	if len(f.layout.disks) == 0 && f.layout.file == "" {
		return nil, usage("name it with --disk /dev/... (or --vm --disk FILE,size=8G)", "vic install needs a disk")
	}
	chosen, err := event.ParsePhases(f.phases)
	if err != nil {
		return nil, usage("name all phases from verify up to the last one wanted: "+phaseNames(), "--phases: %w", err)
	}
	if !f.vm {
		for _, short := range []struct{ flag, value string }{{"firmware", f.firmware}, {"memory", f.memory}} {
			if short.value != "" {
				return nil, usage("this machine has the "+short.flag+" that it has", "--%s goes with --vm", short.flag)
			}
		}
		if slices.Contains(chosen, event.Prove) && !f.on.asked() {
			return nil, usage("the other phases run without --vm too", "--phases: prove goes with --vm and --on")
		}
	}
	if flag := f.reinstall.asked(); flag != "" && (f.vm || f.on.asked()) {
		return nil, usage("leave it out", "%s is for the disk that this system runs from", flag)
	}
	if err := f.reinstall.check(); err != nil {
		return nil, err
	}
	if _, err := request.ParseNICNames(f.nics...); err != nil {
		return nil, usage("write --nic lan0=mac:52:54:00:12:34:56 or --nic wan0=path:pci-0000:00:03.0", "--nic: %w", err)
	}
	f.item.short("firmware", f.firmware)
	f.item.short("memory", f.memory)
	return chosen, f.archive.check()
}

// installJob is one run of vic install.
type installJob struct {
	*app
	flags  *installFlags
	phases []event.Phase // to run; none: all
	source installSource
	layout layout.Layout
	given  map[string]string // disk of the layout -> argument of --disk
	clock  *clock
}

// prepareLayout reads the layout, before any slow work.
func (j *installJob) prepareLayout(ctx context.Context) (err error) {
	if j.layout, err = j.flags.layout.load(ctx, runtime.GOARCH); err != nil {
		return err
	}
	j.given, err = j.flags.layout.assign(j.layout)
	return err
}

// disks names the disks for people, as they were given.
func (j *installJob) disks() string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(j.layout.Disk)) {
		d := j.layout.Disk[name]
		list = append(list, cmp.Or(j.given[name], d.Device, "disk "+name))
	}
	return strings.Join(list, ", ")
}

func (j *installJob) reaches(p event.Phase) bool { return event.Reaches(j.phases, p) }

// stopped is the end of a run that was not to go further.
func (j *installJob) stopped() error {
	if j.flags.json {
		return nil
	}
	_, err := fmt.Fprintf(j.stdout, "stopped after %s: nothing was written to %s\n", j.phases[len(j.phases)-1], j.disks())
	return err
}

// payload builds the payload, or verifies the one that was given.
func (j *installJob) payload(ctx context.Context) (p *builder.Payload, err error) {
	j.phase(event.Build, event.Start)
	if j.source.config != nil {
		p, err = j.buildPayload(ctx)
	} else {
		p, err = j.openPayload()
	}
	if err != nil {
		return nil, err
	}
	j.phase(event.Build, event.Done)
	return p, nil
}

func (j *installJob) buildPayload(ctx context.Context) (*builder.Payload, error) {
	env, err := j.flags.archive.buildEnv(j.clock, origin(j.source.config))
	if err != nil {
		return nil, err
	}
	spec, err := payloadSpec(j.source.config, j.source.secrets, env.APT)
	if err != nil {
		return nil, err
	}
	return builder.CachePayload(ctx, env, spec)
}

func (j *installJob) openPayload() (*builder.Payload, error) {
	p, err := builder.OpenPayload(j.source.dir)
	if err != nil {
		return nil, fail(exitRefused, err, "nothing was written; `vic build` makes it again")
	}
	known := p.System.SecretNames()
	for _, name := range j.source.given {
		if !slices.Contains(known, name) && !storage.IsKey(name) {
			return nil, usage("give it to vic build", "-s %s: the payload in %s was built without it", name, j.source.dir)
		}
	}
	return p, nil
}

func (j *installJob) phase(p event.Phase, s event.State) {
	j.clock.Emit(event.Event{Phase: p, State: s})
}

// request is what the target is asked to do with a payload.
func (j *installJob) request(p *builder.Payload, from request.Source, disks map[string]request.DiskSelector, finish string) (request.Request, error) {
	image, err := p.Image()
	if err != nil {
		return request.Request{}, err
	}
	l := j.layout
	if j.flags.layout.file == "" { // its root has the type of the architecture
		if l, err = defaultLayout(p.Arch); err != nil {
			return request.Request{}, err
		}
	}
	system, err := j.flags.renamed(p.System)
	if err != nil {
		return request.Request{}, err
	}
	udev, err := udevOf(p)
	if err != nil {
		return request.Request{}, err
	}
	r := request.Request{
		Version: request.Version,
		Item:    p.Item,
		Payload: request.Payload{
			Format: p.Format, Size: image.Size, SHA256: image.SHA256, TreeSize: p.TreeSize,
			Arch: p.Arch, Kernel: p.Kernel, RootFS: p.RootFS, Udev: udev, Source: from,
		},
		Disks: disks, Layout: l, System: system, Phases: phaseStrings(j.phases), Finish: finish,
	}
	return r, fail(exitRefused, r.Validate(), "")
}
