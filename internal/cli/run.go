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

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// runFlags are the flags of `vic run`.
type runFlags struct {
	item    itemFlags
	archive archiveFlags
	like    likeFlags
	disks   []string
	memory  string
	dryRun  bool
	json    bool
}

func newRun(a *app) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run ITEM -o vm",
		Short: "Run an item in a virtual machine",
		Long: `Run an item in a virtual machine, with its console on this terminal.

An item that runs in RAM, such as installer, is built and started. One that gets
installed starts from --disk, the image that vic install --vm left.

With --like FACTS the machine is like the one that vic-env dump described: its
network cards (address, place on the PCI bus, onboard index and label, family of
the driver), its disks (number, size, sectors, serial number, kind), memory,
processors and firmware. Its disks are blank and go when the machine ends;
--disk puts images in the place of the first ones. A wireless card is simulated
by the guest's kernel. What comes out different is listed first; --dry-run does
nothing else, and with --json writes the machine as a document.

Ctrl-] ends the machine.`,
		Example: `  vic run installer -o vm
  vic run installer -o vm --like facts.json --max-memory 2G --max-disk 20G
  vic run debian -o vm --disk out/x.img
  vic run installer -o vm --like facts.json --dry-run --json`,
		Args: args("ITEM"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), a, args[0]) },
	}
	f.item.add(a, cmd)
	f.archive.add(cmd)
	f.like.add(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&f.disks, "disk", nil, "image `FILE` of a disk, with ,size=8G to make it, ,sector=4096")
	flags.StringVar(&f.memory, "memory", "", "memory of the machine, such as 512M (short for -o memory=)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "say what the machine would be, and do not start it")
	flags.BoolVar(&f.json, "json", false, "with --dry-run: write the machine as JSON on stdout")
	return cmd
}

// runJob is one run of an item.
type runJob struct {
	*app
	flags  *runFlags
	config *config.Config
	disks  []vmDisk // that were given
	clock  *clock
	dir    string // private, temporary
}

func (f *runFlags) run(ctx context.Context, a *app, item string) error {
	if f.json && !f.dryRun {
		return usage("the console is on stdout", "--json goes with --dry-run")
	}
	where := func(o string) bool { return o == "vm" || o == "vm=true" }
	if !slices.ContainsFunc(f.item.options, where) {
		return usage("add -o vm", "vic run runs items in virtual machines alone: %s needs -o vm", item)
	}
	f.item.options = slices.DeleteFunc(f.item.options, where)
	f.item.short("memory", f.memory)
	return a.withEvents(false, func(events *clock) error {
		j := runJob{app: a, flags: f, clock: events}
		return untouched(j.run(ctx, item))
	})
}

func (j *runJob) run(ctx context.Context, item string) (err error) {
	if j.config, err = j.flags.item.config(j.app, item); err != nil {
		return err
	}
	if !j.config.Is("vm") {
		return usage("`vic items` shows the types of each item", "item %s does not run in virtual machines", item)
	}
	if j.disks, err = parseRunDisks(j.flags.disks); err != nil {
		return err
	}
	if !j.config.Is("provision") && len(j.disks) == 0 {
		return usage("vic install "+item+" --vm --disk FILE,size=8G makes one", "item %s starts from a disk: name its image with --disk", item)
	}
	machine, err := j.machine(ctx)
	if err != nil {
		return err
	}
	if j.flags.dryRun {
		return machine.show(j.app, j.flags.json)
	}
	machine.emulated(ctx)
	if err := machine.tell(j.app); err != nil {
		return err
	}
	if j.dir, err = os.MkdirTemp("", "vic-vm-"); err != nil {
		return err
	}
	defer os.RemoveAll(j.dir)
	if err := j.prepare(ctx, &machine); err != nil {
		return err
	}
	return j.start(ctx, machine.Config)
}

// parseRunDisks reads --disk.
func parseRunDisks(args []string) ([]vmDisk, error) {
	var list []vmDisk
	for _, arg := range args {
		d, err := parseVMDisk(arg)
		if err != nil {
			return nil, err
		}
		if err := d.check(true); err != nil {
			return nil, err
		}
		if _, err := os.Stat(d.path); d.size > 0 && err == nil {
			return nil, fail(exitRefused, fmt.Errorf("--disk %s: it exists", d.path), "leave out size= to use it as it is")
		}
		list = append(list, d)
	}
	return list, nil
}

// prepare makes the disks and what boots.
func (j *runJob) prepare(ctx context.Context, m *runMachine) error {
	for i := range m.Config.Disks {
		d := &m.Config.Disks[i]
		if i < len(j.disks) {
			d.Path, d.Format = j.disks[i].path, ""
			if err := j.disks[i].create(); err != nil {
				return err
			}
			continue
		}
		d.Path = filepath.Join(j.dir, fmt.Sprintf("disk%d.img", i))
		if err := vm.BlankDisk(d.Path, m.Disks[i].Size); err != nil {
			return err
		}
	}
	m.Config.Dir = filepath.Join(j.dir, "run")
	if m.Config.Firmware == "uefi" && len(j.disks) > 0 {
		m.Config.Vars = j.disks[0].vars()
	}
	if !j.config.Is("provision") {
		return nil
	}
	return j.bootRAM(ctx, m)
}

// bootRAM builds the RAM system, with what simulated radios need.
func (j *runJob) bootRAM(ctx context.Context, m *runMachine) error {
	env, err := j.flags.archive.buildEnv(j.clock, origin(j.config))
	if err != nil {
		return err
	}
	spec, err := installerSpec(j.config)
	if err != nil {
		return err
	}
	words := []string{serialConsole(m.Config.Arch)}
	if m.Radios > 0 {
		spec.Modules = append(slices.Clone(spec.Modules), hwsim)
		words = append(words, "modules-load="+hwsim, fmt.Sprintf("%s.radios=%d", hwsim, m.Radios))
	}
	j.clock.Emit(event.Event{Phase: event.Build, State: event.Start})
	bundle, err := builder.CacheInstaller(ctx, env, spec)
	if err != nil {
		return err
	}
	j.clock.Emit(event.Event{Phase: event.Build, State: event.Done})
	initrd := filepath.Join(j.dir, "initrd")
	out, err := os.OpenFile(initrd, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(bundle.Initrd(out), out.Close()); err != nil {
		return fmt.Errorf("write initrd: %w", err)
	}
	m.Config.Kernel, m.Config.Initrd = bundle.Path(builder.KernelFile), []string{initrd}
	m.Config.Cmdline = strings.Join(append([]string{bundle.Cmdline}, words...), " ")
	return nil
}

// hwsim is the kernel module that simulates wireless cards.
const hwsim = "mac80211_hwsim"

// start runs the machine until it ends, or Ctrl-] is typed.
func (j *runJob) start(ctx context.Context, c vm.Config) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	m, err := vm.Run(ctx, c)
	if err != nil {
		return fail(exitRefused, err, "")
	}
	defer m.Close()
	restore, err := j.attach(ctx, m, cancel)
	if err != nil {
		return err
	}
	defer restore()
	err = m.Wait(ctx)
	if errors.Is(err, vm.ErrKilled) || ctx.Err() != nil {
		return nil // it was asked for
	}
	return err
}

// hasIGB says whether the emulator has the network card igb.
func hasIGB(ctx context.Context, arch string) bool {
	name := map[string]string{"amd64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}[arch]
	out, err := (tool.Exec{}).Run(ctx, tool.Cmd{Name: name, Args: []string{"-device", "help"}})
	return err == nil && strings.Contains(string(out.Stdout), `name "igb"`)
}
