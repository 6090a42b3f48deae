package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/secret"
)

// buildFlags are the flags of `vic build`.
type buildFlags struct {
	item    itemFlags
	archive archiveFlags
	arch    string
	format  string
	out     string
	json    bool

	machine string // facts
	layout  layoutFlags
	image   imageFlags
}

func newBuild(a *app) *cobra.Command {
	var f buildFlags
	cmd := &cobra.Command{
		Use:   "build ITEM --out DIR",
		Short: "Build the artefacts of an item, and nothing else",
		Long: `Build the artefacts of an item, and nothing else.

An item that runs in RAM becomes a bundle (kernel, initramfs, system image), or
with --format one of the forms of it. An item that gets installed becomes a
payload: its root file system as one image. Beside them are bundle.json or
payload.json, which say where every byte comes from (see vic size), and
lock.json, with which --lock builds the same again.

The password given with -s password=... is left beside the payload as a hash,
in secrets.json, which only its owner can read. vic install DIR finds it there.
It is private: everything else in the folder may be shared, secrets.json may
not.

With --format disk it becomes a disk that boots on any machine, by UEFI and by
BIOS: DIR/disk.img, which vic flash or dd writes to a disk or a card. It is what
vic install makes, cut by --layout, and grows at its first boot. A secret in it
could be read by whoever gets it: see --with-secrets.

With --for the bundle is for one machine: the smallest kernel that drives its
disks and network cards, the kernel modules that its devices ask for, and the
programs that the layout (--layout) needs. FACTS is what vic-env dump or vic facts
wrote there.

It needs no root. The same input gives the same bytes; the time stamps in them
are $SOURCE_DATE_EPOCH, or a constant.`,
		Example: `  vic build installer --out out/installer
  vic build installer -o kernel=cloud --format usb --out out/usb
  vic build debian -o sshkey=@~/.ssh/id_ed25519.pub --format disk --out out/disk
  vic build installer --for web1.json --layout raid.yaml --out out/web1
  vic build debian -o hostname=web1 -o sshkey=@~/.ssh/id_ed25519.pub --out out/debian
  vic build debian --lock out/debian/lock.json --offline --out out/again`,
		Args: args("ITEM"),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd.Context(), a, args[0]) },
	}
	f.item.add(a, cmd)
	f.item.addSecrets(cmd)
	f.archive.add(cmd)
	cmd.Flags().StringVar(&f.arch, "arch", "", "processor: amd64 or arm64 (short for -o arch=)")
	cmd.Flags().StringVar(&f.format, "format", "", "disk; or bundle, netboot, uki or usb (short for -o format=)")
	cmd.Flags().StringVar(&f.out, "out", "", "`DIR` for the artefacts")
	cmd.Flags().StringVar(&f.machine, "for", "", "build the RAM system for the machine in `FACTS` alone, a file that vic-env dump wrote")
	f.layout.add(cmd)
	f.image.add(cmd)
	cmd.Flags().BoolVar(&f.json, "json", false, "write events as JSON lines on stdout")
	return cmd
}

func (f *buildFlags) run(ctx context.Context, a *app, item string) error {
	return a.withEvents(f.json, func(events *clock) error {
		events.Emit(event.Event{Phase: event.Build, State: event.Start})
		if err := untouched(f.build(ctx, a, item, events)); err != nil {
			return err
		}
		events.Emit(event.Event{Phase: event.Build, State: event.Done, Message: "artefacts are in " + f.out})
		return nil
	})
}

func (f *buildFlags) build(ctx context.Context, a *app, item string, sink event.Sink) error {
	if f.out == "" {
		return usage("name a folder with --out DIR", "vic build needs --out")
	}
	f.item.short("arch", f.arch)
	if err := f.image.check(f.format); err != nil {
		return err
	}
	if f.format == diskFormat {
		return f.disk(ctx, a, item, sink)
	}
	f.item.short("format", f.format)
	ram, err := f.readMachine()
	if err != nil {
		return err
	}
	c, secrets, err := f.item.load(a, item)
	if err != nil {
		return err
	}
	if err := checkSystem(installSource{config: c, secrets: secrets}); err != nil {
		return err
	}
	if secrets, err = hashPassword(secrets); err != nil {
		return err
	}
	if err := checkOut(f.out); err != nil {
		return err
	}
	env, err := f.archive.buildEnv(sink, origin(c))
	if err != nil {
		return err
	}
	if ram == nil {
		return buildItem(ctx, env, c, secrets, f.out)
	}
	spec, err := f.forMachine(ctx, a, item, env, c, ram)
	if err != nil {
		return err
	}
	return buildInstaller(ctx, env, spec, c.String("format"), f.out)
}

// readMachine reads --for; nil without it.
func (f *buildFlags) readMachine() (*ramFor, error) {
	if f.machine == "" {
		if f.layout.file != "" {
			return nil, usage("-o tools= adds what a layout needs to the RAM system for any machine", "--layout goes with --for, or with --format disk")
		}
		return nil, nil
	}
	facts, err := readFacts("--for", f.machine)
	if err != nil {
		return nil, err
	}
	if len(facts.HW.Modalias) == 0 {
		return nil, fail(exitRefused, fmt.Errorf("--for %s: it has no hw.modalias: nothing says which modules the machine needs", f.machine), "write all facts: vic-env dump > FILE")
	}
	if f.arch == "" {
		f.item.short("arch", facts.HW.Arch)
	}
	return &ramFor{facts: facts}, nil
}

// forMachine is the specification for the machine of --for.
func (f *buildFlags) forMachine(ctx context.Context, a *app, item string, env builder.Env, c *config.Config, ram *ramFor) (spec builder.InstallerSpec, err error) {
	if !c.Is("provision") {
		return spec, usage("an installed system is made for any machine", "--for goes with items that run in RAM, such as installer")
	}
	if arch := c.String("arch"); arch != ram.facts.HW.Arch {
		return spec, usage("leave --arch out", "--for %s: it is of an %s machine, and the item is for %s", f.machine, ram.facts.HW.Arch, arch)
	}
	if ram.layout, err = f.layout.load(ctx, ram.facts.HW.Arch); err != nil {
		return spec, err
	}
	return ram.spec(ctx, env, func(options ...string) (*config.Config, error) {
		with := f.item
		with.options = append(slices.Clone(with.options), options...)
		return with.config(a, item)
	})
}

// checkOut refuses a folder that cannot be written to, before the slow work,
// and without making it.
func checkOut(dir string) error {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		st, err := os.Stat(at)
		if errors.Is(err, os.ErrNotExist) && filepath.Dir(at) != at {
			continue
		}
		if err == nil && !st.IsDir() {
			err = errors.New("it is no folder")
		}
		if err == nil {
			err = unix.Access(at, unix.W_OK|unix.X_OK)
		}
		if err != nil {
			return fail(exitRefused, fmt.Errorf("write --out %s: %s: %w", dir, at, err), "name another folder; nothing was built")
		}
		return nil
	}
}

// buildItem builds what the item's type says.
func buildItem(ctx context.Context, env builder.Env, c *config.Config, secrets secret.Set, out string) error {
	switch {
	case c.Is("provision"):
		spec, err := installerSpec(c)
		if err != nil {
			return err
		}
		return buildInstaller(ctx, env, spec, c.String("format"), out)
	case c.Is("linux-distro"):
		spec, err := payloadSpec(c, secrets, env.APT)
		if err != nil {
			return err
		}
		_, err = builder.BuildPayload(ctx, env, spec, out)
		if err != nil {
			return err
		}
		return writeSecrets(out, secrets)
	case isAppliance(c):
		return buildAppliance(ctx, env, c, secrets, out)
	}
	return usage("`vic items` shows the types of each item", "item %s is of no type that can be built", c.Item().Name)
}

// buildInstaller builds a bundle, or one of its other forms.
func buildInstaller(ctx context.Context, env builder.Env, spec builder.InstallerSpec, format, out string) error {
	if format == "bundle" {
		_, err := builder.BuildInstaller(ctx, env, spec, out)
		return err
	}
	bundle, err := builder.CacheInstaller(ctx, env, spec)
	if err != nil {
		return err
	}
	switch format {
	case "netboot":
		_, err = bundle.WriteNetboot(out)
	case "uki":
		_, err = bundle.WriteUKI(ctx, env, out)
	case "usb":
		_, err = bundle.WriteUSB(ctx, env, out)
	default:
		err = usage("", "format %q cannot be written", format)
	}
	return err
}

// writeSecrets puts the secrets that were given to a build beside the payload,
// for the owner alone: they are no part of what may be shared.
func writeSecrets(dir string, secrets secret.Set) (err error) {
	if len(secrets.Names()) == 0 {
		return nil
	}
	f, err := os.CreateTemp(dir, "."+builder.SecretsFile+".*") // 0600
	if err != nil {
		return fmt.Errorf("write secrets: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := secrets.EncodeForTarget(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("write secrets: %w", err)
	}
	return os.Rename(f.Name(), filepath.Join(dir, builder.SecretsFile))
}

// hashPassword replaces the password by its hash.
func hashPassword(secrets secret.Set) (secret.Set, error) {
	password, ok := secrets.Get(passwordSecret)
	if !ok {
		return secrets, nil
	}
	hash, err := secret.HashPassword(password)
	if err != nil {
		return secrets, fail(exitUsage, err, "")
	}
	return secrets.With(passwordSecret, hash), nil
}
