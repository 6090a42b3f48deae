package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
)

// installFlags are the flags of `vic install`.
type installFlags struct {
	item    itemFlags
	archive archiveFlags

	disk   string
	phases []string
	dryRun bool
	json   bool
	yes    bool

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

With --vm it is tried first: DISK is an image file, the whole installation runs
in a throw-away virtual machine, then the disk is booted by itself, and the
system on it has to answer with the SSH host key that was made for it.`,
		Example: `  vic install debian --vm --disk out/x.img,size=8G --firmware bios --memory 256M
  vic install debian -o hostname=web1 -o sshkey=@~/.ssh/id_ed25519.pub --disk /dev/sdb
  vic install out/debian --disk /dev/disk/by-id/nvme-eui.0025 --dry-run`,
		Args: args("ITEM|DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), a, args[0]) },
	}
	f.item.add(a, cmd)
	f.item.addSecrets(cmd)
	f.archive.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.disk, "disk", "", "`DISK` to install onto: a device; with --vm an image file, with ,size=8G to make it")
	flags.StringSliceVar(&f.phases, "phases", nil, "run only these `PHASES` ("+phaseNames()+")")
	flags.BoolVar(&f.dryRun, "dry-run", false, "show what would be done, and write nothing to the disk")
	flags.BoolVar(&f.json, "json", false, "write events (with --dry-run: the plan) as JSON on stdout")
	flags.BoolVar(&f.yes, "yes", false, "do not ask before the disk is overwritten")
	flags.BoolVar(&f.vm, "vm", false, "install in a throw-away virtual machine, onto an image file")
	flags.StringVar(&f.firmware, "firmware", "", "with --vm: uefi or bios (short for -o firmware=)")
	flags.StringVar(&f.memory, "memory", "", "with --vm: memory of the machine, such as 256M (short for -o memory=)")
	flags.DurationVar(&f.proveTimeout, "prove-timeout", 5*time.Minute, "how long the installed system has to answer")
	return cmd
}

func phaseNames() string {
	var names []string
	for _, p := range event.Phases() {
		names = append(names, string(p))
	}
	return strings.Join(names, ",")
}

func (f *installFlags) run(ctx context.Context, a *app, item string) error {
	if err := f.check(); err != nil {
		return err
	}
	source, err := f.source(a, item)
	if err != nil {
		return err
	}
	sink, done := a.events(f.json && !f.dryRun)
	job := installJob{app: a, flags: f, source: source, clock: newClock(sink)}
	job.sink = job.clock
	if f.vm {
		err = job.inVM(ctx)
	} else {
		err = job.here(ctx)
	}
	return errors.Join(err, done())
}

// check refuses flags that contradict each other, before any slow work.
func (f *installFlags) check() error {
	if f.disk == "" {
		return usage("name it with --disk /dev/... (or --vm --disk FILE,size=8G)", "vic install needs a disk")
	}
	for _, p := range f.phases {
		if !slices.Contains(event.Phases(), event.Phase(p)) {
			return usage("phases: "+phaseNames(), "unknown phase %q%s", p, didYouMean("", p, strings.Split(phaseNames(), ",")))
		}
	}
	for key, value := range map[string]string{"firmware": f.firmware, "memory": f.memory} {
		if value == "" {
			continue
		}
		if !f.vm {
			return usage("", "--%s goes with --vm", key)
		}
		f.item.options = append(f.item.options, key+"="+value)
	}
	return nil
}

// wants tells whether a phase is to be run.
func (f *installFlags) wants(p event.Phase) bool {
	return len(f.phases) == 0 || slices.Contains(f.phases, string(p))
}

// installSource is what gets installed: an item to be built, or a payload that
// was built before.
type installSource struct {
	config  *config.Config // nil for a payload
	dir     string         // of the payload
	secrets secret.Set
	machine vmOptions
}

// vmOptions are the options of the type vm.
type vmOptions struct {
	memory   int64 // bytes
	cpus     int64
	firmware string
}

func (f *installFlags) source(a *app, item string) (installSource, error) {
	if st, err := os.Stat(filepath.Join(item, builder.PayloadFile)); err == nil && st.Mode().IsRegular() {
		return f.payloadSource(a, item)
	}
	c, secrets, err := f.item.load(a, item)
	if err != nil {
		return installSource{}, err
	}
	if !c.Is("linux-distro") {
		return installSource{}, usage("`vic items` shows the types of each item", "item %s cannot be installed: it is not a linux-distro", item)
	}
	return installSource{config: c, secrets: secrets, machine: machineOptions(c)}, nil
}

func machineOptions(c *config.Config) vmOptions {
	return vmOptions{memory: c.Size("memory"), cpus: c.Int("cpus"), firmware: c.String("firmware")}
}

// payloadSource takes a payload as it was built. Of the options only those of
// the virtual machine make sense: they are read from the item debian.
func (f *installFlags) payloadSource(a *app, dir string) (installSource, error) {
	for _, o := range f.item.options {
		key, _, _ := strings.Cut(o, "=")
		if !slices.Contains([]string{"memory", "cpus", "firmware"}, key) {
			return installSource{}, usage("give it to vic build", "-o %s: %s was built already", o, dir)
		}
	}
	c, err := f.item.config(a, "debian")
	if err != nil {
		return installSource{}, err
	}
	secrets, err := readSecrets(dir)
	if err != nil {
		return installSource{}, err
	}
	given, err := secret.Parse(f.item.secrets, secret.Host{})
	if err != nil {
		return installSource{}, fail(exitUsage, err, "")
	}
	for _, name := range given.Names() {
		v, _ := given.Get(name)
		secrets = secrets.With(name, v)
	}
	a.secrets = secrets
	return installSource{dir: dir, secrets: secrets, machine: machineOptions(c)}, nil
}

// readSecrets reads what vic build wrote for the owner alone.
func readSecrets(dir string) (secret.Set, error) {
	in, err := os.Open(filepath.Join(dir, builder.SecretsFile))
	if errors.Is(err, os.ErrNotExist) {
		return secret.Set{}, nil
	}
	if err != nil {
		return secret.Set{}, fmt.Errorf("read secrets: %w", err)
	}
	defer in.Close()
	return secret.Decode(in)
}

// installJob is one run of vic install.
type installJob struct {
	*app
	flags  *installFlags
	source installSource
	sink   event.Sink
	clock  *clock
	env    builder.Env
}

// payload builds the payload, or verifies the one that was given.
func (j *installJob) payload(ctx context.Context) (p *builder.Payload, err error) {
	j.phase(event.Build, event.Start)
	if j.source.config != nil {
		p, err = builder.CachePayload(ctx, j.env, payloadSpec(j.source.config, j.source.secrets, j.env.APT))
	} else if p, err = builder.OpenPayload(j.source.dir); err != nil {
		err = fail(exitRefused, err, "")
	}
	if err != nil {
		return nil, err
	}
	j.phase(event.Build, event.Done)
	return p, nil
}

func (j *installJob) phase(p event.Phase, s event.State) {
	j.sink.Emit(event.Event{Phase: p, State: s})
}

// request is what the target is asked to do with a payload.
func (j *installJob) request(p *builder.Payload, from request.Source, disk request.DiskSelector, finish string) (request.Request, error) {
	image, err := p.Image()
	if err != nil {
		return request.Request{}, err
	}
	l, err := defaultLayout(p.Arch)
	if err != nil {
		return request.Request{}, err
	}
	r := request.Request{
		Version: request.Version,
		Item:    p.Item,
		Payload: request.Payload{
			Format: p.Format, Size: image.Size, SHA256: image.SHA256, TreeSize: p.TreeSize,
			Arch: p.Arch, Kernel: p.Kernel, Source: from,
		},
		Disk: disk, Layout: l, System: p.System, Phases: j.flags.phases, Finish: finish,
	}
	return r, fail(exitRefused, r.Validate(), "")
}
