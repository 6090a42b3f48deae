package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool"
)

// layoutFlags say how disks are cut, and which disks.
type layoutFlags struct {
	file  string
	disks []string // DISK, or NAME=DISK
}

func (f *layoutFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "layout", "", "how the disks are cut: a `FILE` in disko's schema, .yaml, .json or .nix (default: one disk for BIOS and UEFI, root on ext4)")
}

// load reads the layout, and checks that it is one for a whole system.
func (f *layoutFlags) load(ctx context.Context, arch string) (layout.Layout, error) {
	if f.file == "" {
		return defaultLayout(arch)
	}
	l, err := layout.Load(ctx, tool.Exec{}, f.file)
	if err == nil {
		err = l.ValidateSystem()
	}
	return l, fail(exitUsage, err, "docs/layouts.md explains the schema; nothing was touched")
}

// assign says which argument of --disk is for which disk of the layout. A disk
// that has none is found by the layout itself.
func (f *layoutFlags) assign(l layout.Layout) (map[string]string, error) {
	names := slices.Sorted(maps.Keys(l.Disk))
	given := map[string]string{}
	for _, arg := range f.disks {
		name, disk, named := strings.Cut(arg, "=")
		if !named || strings.ContainsAny(name, "/,:") {
			name, disk = "", arg
			if len(names) == 1 {
				name = names[0]
			}
		}
		switch {
		case name == "":
			return nil, usage("write --disk NAME=DISK", "--disk %s: the layout has several disks: %s", arg, strings.Join(names, ", "))
		case !slices.Contains(names, name):
			return nil, usage("", "--disk %s: the layout has no disk %q%s", arg, name, didYouMean("", name, names))
		case given[name] != "":
			return nil, usage("", "--disk %s: disk %q of the layout is given already: %s", arg, name, given[name])
		}
		given[name] = disk
	}
	var errs []error
	for _, name := range names {
		if d := l.Disk[name]; given[name] == "" && d.Device == "" && d.Match == nil {
			errs = append(errs, usage("name it with "+diskFlag(names, name), "nothing says which disk %q of the layout is", name))
		}
	}
	return given, errors.Join(errs...)
}

func diskFlag(names []string, name string) string {
	if len(names) == 1 {
		return "--disk /dev/..."
	}
	return "--disk " + name + "=/dev/..."
}

// selectors are the disks of this machine that the arguments of --disk mean: a
// device, or match:KEY=VALUE,....
func selectors(l layout.Layout, given map[string]string) (map[string]request.DiskSelector, error) {
	chosen := map[string]request.DiskSelector{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(given)) {
		arg := given[name]
		words, match := strings.CutPrefix(arg, "match:")
		switch {
		case match:
			m, err := parseMatch(words)
			if err != nil {
				errs = append(errs, usage("write --disk match:serial=... or match:transport=nvme,size=>100G", "--disk %s: %w", arg, err))
			}
			d := l.Disk[name]
			d.Match, d.Device = &m, ""
			l.Disk[name] = d
		case strings.HasPrefix(arg, "/dev/"):
			chosen[name] = request.DiskSelector{Device: arg}
		default:
			errs = append(errs, usage("--vm installs onto an image file", "--disk %s: it is no device (/dev/...)", arg))
		}
	}
	return chosen, errors.Join(errs...)
}

// defaultLayout is the layout for a whole disk.
func defaultLayout(arch string) (layout.Layout, error) {
	doc, err := images.Layout(images.DefaultLayout, arch)
	if err != nil {
		return layout.Layout{}, err
	}
	return layout.Parse(images.DefaultLayout+".yaml", doc)
}

// keys adds the keys that a layout needs to the secrets: from the files that it
// names, or asked for on the terminal.
func (a *app) keys(l layout.Layout, given secret.Set) (secret.Set, error) {
	var errs []error
	var known []string
	for _, k := range storage.Keys(l) {
		known = append(known, k.Secret)
	}
	for _, name := range given.Unknown(known) {
		if storage.IsKey(name) {
			errs = append(errs, usage("", "-s %s: the layout has no such container%s", name, didYouMean("", name, known)))
		}
	}
	for _, k := range storage.Keys(l) {
		if _, ok := given.Get(k.Secret); ok {
			continue
		}
		value, err := a.key(k)
		if err != nil {
			errs = append(errs, fail(exitUsage, err, "give it with -s "+k.Secret+"=@FILE"))
			continue
		}
		given = given.With(k.Secret, value)
	}
	a.secrets = given // hidden from now on
	return given, errors.Join(errs...)
}

func (a *app) key(k storage.KeyFile) (secret.Value, error) {
	switch {
	case k.File != "":
		b, err := os.ReadFile(k.File)
		if err != nil {
			return secret.Value{}, fmt.Errorf("read key %s of the layout: %w", k.Secret, err)
		}
		return secret.NewValue(string(b)), nil
	case k.Ask && a.canAsk():
		return a.askTwice(k.Secret)
	}
	return secret.Value{}, fmt.Errorf("secret %q is missing: the layout names no file, and there is no terminal to ask on", k.Secret)
}

// parseMatch reads the words of --disk match:KEY=VALUE,.... What the values
// mean is checked with the layout.
func parseMatch(words string) (layout.Match, error) {
	var m layout.Match
	text := map[string]*string{
		"serial": &m.Serial, "wwn": &m.WWN, "model": &m.Model, "size": &m.Size, "transport": &m.Transport, "table": &m.Table,
	}
	flags := map[string]**bool{"rotational": &m.Rotational, "removable": &m.Removable}
	known := slices.Concat(slices.Collect(maps.Keys(text)), slices.Collect(maps.Keys(flags)))
	for word := range strings.SplitSeq(words, ",") {
		key, value, _ := strings.Cut(word, "=")
		switch {
		case value == "":
			return m, fmt.Errorf("%q is not KEY=VALUE", word)
		case text[key] != nil:
			*text[key] = value
		case flags[key] != nil:
			b, err := strconv.ParseBool(value)
			if err != nil {
				return m, fmt.Errorf("%s: expected true or false", word)
			}
			*flags[key] = &b
		default:
			return m, fmt.Errorf("unknown key %q%s", key, didYouMean("", key, known))
		}
	}
	return m, nil
}

// toolsOption is the option that asks for them; none when the layout needs
// nothing beyond what every system has.
func toolsOption(l layout.Layout) []string {
	if list := builder.LayoutFeatures(l); len(list) > 0 {
		return []string{"tools=" + strings.Join(list, ",")}
	}
	return nil
}
