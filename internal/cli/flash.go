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

	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/flash"
	"github.com/victorinix/vic/internal/nearest"
)

// flashFlags are the flags of `vic flash`.
type flashFlags struct {
	item    itemFlags
	archive archiveFlags
	layout  layoutFlags
	size    string

	signature string
	keyring   string
	consent   flash.Consent
	yes       bool
	verify    string
	keepGPT   bool
	list      bool
	json      bool
}

func newFlash(a *app) *cobra.Command {
	var f flashFlags
	cmd := &cobra.Command{
		Use:   "flash ITEM|FILE|URL DEVICE|FILE...",
		Short: "Write a system or an image onto memory cards and disks, and prove that it is there",
		Long: `Write a system or an image onto memory cards, USB sticks and disks.

What is written is an item, which is built first; an image, raw, .gz, .xz, .zst
or qcow2, told by its content; or the URL of one, followed by #sha256=HEX, or
with --signature and --keys.

Everything on the devices is lost. Refused are disks that the running system is
on or needs, devices in use (--umount unmounts removable ones), devices that are
not removable (--yes-i-mean DEVICE), too small, write-protected, or smaller than
they say. Several devices are written at once; one that fails does not stop the
others.

Holes are skipped where the device can make them read as zeroes. Everything is
read back past the page cache and compared (--verify=no leaves that out); the
first sectors are written last, so that a card that was pulled half-way starts
nothing. A backup GPT goes to the end of the device (--keep-gpt leaves it at the
end of the image).

A FILE in place of a device is made with holes: FILE,size=8G as large as a card.`,
		Example: `  vic flash --list
  vic flash debian -o hostname=box -o sshkey=@~/.ssh/id_ed25519.pub /dev/sdb
  vic flash debian -o board=pi4 -o hostname=pi /dev/mmcblk0
  vic flash out/disk/disk.img.zst /dev/sdb /dev/sdc --umount
  vic flash https://example.org/a.img.xz#sha256=9f86d081... /dev/mmcblk0
  vic flash a.img.xz --signature a.img.xz.sig --keys keys.gpg /dev/sdb
  vic flash a.qcow2 out/card.img,size=8G`,
		Args: f.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.list {
				return f.printList(a)
			}
			return f.run(cmd.Context(), a, args[0], args[1:])
		},
	}
	f.item.add(a, cmd)
	cmd.ValidArgsFunction = func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault // devices and files
		}
		return a.itemNames(), cobra.ShellCompDirectiveDefault
	}
	f.item.addSecrets(cmd)
	f.archive.add(cmd)
	f.layout.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.size, "size", "", "`SIZE` of the image of an item, such as 8G (default: what the system needs)")
	flags.StringVar(&f.signature, "signature", "", "detached OpenPGP signature of the image, a `FILE` or a URL")
	flags.StringVar(&f.keyring, "keys", "", "`FILE` with the OpenPGP keys that may have made the signature")
	flags.BoolVar(&f.consent.Umount, "umount", false, "unmount removable devices")
	flags.StringArrayVar(&f.consent.Mean, "yes-i-mean", nil, "write to this `DEVICE` although it is not removable")
	flags.BoolVar(&f.yes, "yes", false, "do not ask before the devices are overwritten; overwrite files")
	flags.StringVar(&f.verify, "verify", "yes", "read back and compare: `yes` or no")
	flags.BoolVar(&f.keepGPT, "keep-gpt", false, "leave the backup GPT at the end of the image")
	flags.BoolVar(&f.list, "list", false, "list the disks of this machine, and what speaks against each")
	flags.BoolVar(&f.json, "json", false, "write events (with --list: the disks) as JSON on stdout")
	return cmd
}

// args checks the number of arguments.
func (f *flashFlags) args(cmd *cobra.Command, given []string) error {
	hint := "usage: " + cmd.UseLine()
	switch {
	case f.list && len(given) > 0:
		return usage(hint, "vic flash --list: unexpected argument %q", given[0])
	case f.list:
		return nil
	case len(given) == 0:
		return usage(hint+"; `vic items` lists the items", "vic flash needs ITEM, FILE or URL, and DEVICE")
	case len(given) == 1:
		return usage("`vic flash --list` lists the devices", "vic flash %s needs DEVICE", given[0])
	}
	return nil
}

func (f *flashFlags) run(ctx context.Context, a *app, source string, targets []string) error {
	return a.withEvents(f.json, func(events *clock) error { return untouched(f.flash(ctx, a, source, targets, events)) })
}

func (f *flashFlags) flash(ctx context.Context, a *app, source string, targets []string, events *clock) (err error) {
	item, err := f.check(a, source)
	if err != nil {
		return err
	}
	chosen, err := f.targets(targets, item)
	if err != nil {
		return err
	}
	image, err := f.open(ctx, a, source, item, events)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, image.Close()) }()
	cfg := flash.Config{
		Image: image.Image, Overlays: image.overlays, NoVerify: f.verify == "no", KeepGPT: f.keepGPT, Sink: events,
	}
	for _, t := range chosen {
		cfg.Targets = append(cfg.Targets, t.target)
	}
	job, err := flash.Prepare(cfg)
	if err != nil {
		return fail(exitRefused, err, "nothing was written")
	}
	if err := f.allow(ctx, a, job, chosen, events); err != nil {
		return err
	}
	results, err := job.Run(ctx)
	return f.tell(ctx, a, source, results, err)
}

// check refuses flags that contradict each other, and says whether the source
// is an item.
func (f *flashFlags) check(a *app, source string) (item bool, err error) {
	if f.verify != "yes" && f.verify != "no" {
		return false, usage("", "--verify=%s: expected yes or no", f.verify)
	}
	if (f.signature == "") != (f.keyring == "") {
		return false, usage("give both", "--signature and --keys go together")
	}
	if _, err := f.bytes(); err != nil {
		return false, fail(exitUsage, fmt.Errorf("--size: %w", err), "")
	}
	if item, err = a.flashesItem(source); err != nil {
		return false, err
	}
	if item {
		if f.signature != "" {
			return false, usage("", "--signature goes with an image, not with item %s", source)
		}
		return true, f.archive.check()
	}
	for flag, given := range map[string]bool{
		"-o": len(f.item.options) > 0, "-n": len(f.item.inline) > 0, "-s": len(f.item.secrets.args)+len(f.item.secrets.files) > 0,
		"--layout": f.layout.file != "", "--size": f.size != "", "--lock": f.archive.lock != "",
	} {
		if given {
			return false, usage("`vic items` lists the items", "%s goes with an item, and %s is an image", flag, source)
		}
	}
	return false, nil
}

func (f *flashFlags) bytes() (int64, error) {
	if f.size == "" {
		return 0, nil
	}
	return config.ParseSize(f.size)
}

// flashesItem tells items from files. A file that is named like an item is
// given as ./NAME.
func (a *app) flashesItem(source string) (bool, error) {
	switch {
	case flash.IsURL(source):
		return false, nil
	case slices.Contains(a.itemNames(), source), strings.HasSuffix(source, ".yaml"):
		return true, nil
	}
	name, _, _ := strings.Cut(source, "#sha")
	if _, err := os.Stat(name); err != nil {
		suggestion := ""
		if near := nearest.Name(source, a.itemNames()); near != "" {
			suggestion = fmt.Sprintf("; did you mean the item %q?", near)
		}
		return false, usage("`vic items` lists the items", "%s is neither an item nor a file%s", source, suggestion)
	}
	return false, nil
}

// flashImage is what is written, and what goes away with it.
type flashImage struct {
	flash.Image
	overlays []flash.Overlay
	built    *diskImage // nil for an image that was there
}

// Close also removes an image that was built.
func (i *flashImage) Close() error {
	err := i.Image.Close()
	if i.built != nil {
		err = errors.Join(err, i.built.Close())
	}
	return err
}

// open builds an item, into a file that only its owner can read because it may
// hold secrets, or opens an image.
func (f *flashFlags) open(ctx context.Context, a *app, source string, item bool, events *clock) (*flashImage, error) {
	image := &flashImage{}
	from := flash.Source{Path: source, Signature: f.signature, Keyring: f.keyring, Warn: func(message string) {
		events.Emit(event.Event{Phase: event.Build, Step: "download", State: event.Done, Message: message})
	}}
	if item {
		size, err := f.bytes()
		if err != nil {
			return nil, err
		}
		of := diskImageOf{name: source, item: f.item, archive: f.archive, layout: f.layout, size: size, secrets: true}
		if image.built, err = a.makeDiskImage(ctx, of, events); err != nil {
			return nil, err
		}
		for _, w := range image.built.Warnings {
			events.Emit(event.Event{Phase: event.Build, Step: "disk image", State: event.Done, Message: "warning: " + w})
		}
		from.Path, image.overlays = image.built.Path, image.built.overlays
	}
	opened, err := flash.Open(ctx, from)
	if err != nil {
		if image.built != nil {
			err = errors.Join(err, image.built.Close())
		}
		return nil, fail(openCode(ctx, err), err, openHint(err))
	}
	image.Image = opened
	return image, nil
}

// openCode: an image that is wrong was refused; a network that broke, broke.
func openCode(ctx context.Context, err error) int {
	if ctx.Err() != nil || errors.Is(err, flash.ErrDownload) {
		return exitUntouched
	}
	return exitRefused
}

func openHint(err error) string {
	if errors.Is(err, flash.ErrUnverified) {
		return "add #sha256=HEX to the URL, or give --signature and --keys"
	}
	return "nothing was written"
}

// flashTarget is a device or a file to be written.
type flashTarget struct {
	target flash.Target
	device *flash.Candidate // nil for a file
	size   int64            // of a file; 0: that of the image
}

// targets finds the devices and files, and refuses all that must not be written
// to, before anything is built. What is made of an item may hold secrets.
func (f *flashFlags) targets(names []string, private bool) ([]flashTarget, error) {
	var list []flashTarget
	var errs []error
	seen := map[string]bool{}
	for _, name := range names {
		t, err := f.find(name, private)
		switch {
		case err != nil:
			errs = append(errs, err)
		case seen[t.target.Name]:
			errs = append(errs, usage("", "%s is given twice", t.target.Name))
		}
		seen[t.target.Name] = true
		list = append(list, t)
	}
	return list, errors.Join(append(errs, f.meant(list))...)
}

// meant refuses a --yes-i-mean that is for no device given.
func (f *flashFlags) meant(list []flashTarget) error {
	for _, name := range f.consent.Mean {
		if !slices.ContainsFunc(list, func(t flashTarget) bool { return t.device != nil && t.device.Is(name) }) {
			return usage("name exactly the device that is written to", "--yes-i-mean %s: that is none of the devices given", name)
		}
	}
	return nil
}

func (f *flashFlags) find(name string, private bool) (flashTarget, error) {
	path, option, sized := strings.Cut(name, ",")
	st, err := os.Stat(path)
	switch {
	case err == nil && st.Mode()&os.ModeType == os.ModeDevice:
		return f.findDevice(name)
	case err == nil && !st.Mode().IsRegular():
		return flashTarget{}, fail(exitRefused, fmt.Errorf("%s: it is neither a disk nor a file", path), "")
	case err == nil && !f.yes:
		return flashTarget{}, fail(exitRefused, fmt.Errorf("%s: it exists", path), "--yes overwrites it")
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return flashTarget{}, fail(exitRefused, err, "")
	case strings.HasPrefix(filepath.Clean(path), "/dev/"):
		return flashTarget{}, fail(exitRefused, fmt.Errorf("%s: there is no such device", path), "`vic flash --list` lists the devices")
	}
	d := vmDisk{path: path}
	if sized {
		if err := d.set(option); err != nil || d.size == 0 {
			return flashTarget{}, usage("write FILE,size=8G", "%s: %s: no size of a file", name, option)
		}
	}
	return flashTarget{target: flash.FileTarget(path, d.size, private), size: d.size}, nil
}

func (f *flashFlags) findDevice(path string) (flashTarget, error) {
	c, err := flash.Find(path)
	if err != nil {
		return flashTarget{}, fail(exitRefused, err, "give a whole disk; `vic flash --list` lists them")
	}
	t := flashTarget{target: c.Target(f.consent), device: &c}
	if err := c.Refuse(f.consent); err != nil {
		return t, fail(exitRefused, err, "")
	}
	if !c.Writable() {
		return t, fail(exitRefused, fmt.Errorf("%s: you may not write to it", path), "run it with sudo")
	}
	return t, nil
}
