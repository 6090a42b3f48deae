package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
)

// ramFor says which machine a RAM system is for.
type ramFor struct {
	facts  envscan.Facts
	layout layout.Layout
	// modules are needed beside those of the hardware: what the links are made
	// of that the RAM system has to make again (bonding, 8021q, bridge).
	modules []string
}

// ramSystem builds the RAM system that an install runs in: for one machine, or
// with nil for a virtual one here, which has it from this disk.
func (a *app) ramSystem(ctx context.Context, archive archiveFlags, sink event.Sink, arch string, machine *ramFor, options ...string) (*builder.Bundle, error) {
	env, load, err := a.installerEnv(archive, sink, arch, options...)
	if err != nil {
		return nil, err
	}
	var spec builder.InstallerSpec
	if machine == nil {
		var c *config.Config
		if c, err = load(options...); err == nil {
			spec, err = installerSpec(c)
			spec.Quick = true
		}
	} else {
		spec, err = machine.spec(ctx, env, load)
	}
	if err != nil {
		return nil, err
	}
	return builder.CacheInstaller(ctx, env, spec)
}

// installerEnv is what RAM systems for an architecture are built with, and load
// makes their configuration, with options.
func (a *app) installerEnv(archive archiveFlags, sink event.Sink, arch string, options ...string) (env builder.Env, load func(...string) (*config.Config, error), err error) {
	own, err := userEnv()
	if err != nil {
		return env, nil, err
	}
	r, err := a.registry()
	if err != nil {
		return env, nil, err
	}
	load = func(options ...string) (*config.Config, error) {
		return r.Load("installer", config.Layers{UserEnv: own, Facts: knownFact, Options: append([]string{"arch=" + arch}, options...)})
	}
	c, err := load(options...)
	if err != nil {
		return env, nil, err
	}
	archive.lock = "" // is for the payload
	env, err = archive.buildEnv(sink, origin(c))
	return env, load, err
}

// kernels are the values of the option kernel, the smallest first.
var kernels = []string{"cloud", "generic"}

// spec is the RAM system for this machine and no other: the smallest kernel that
// drives it, the modules that its devices ask for, the tools of the layout. load
// makes the configuration with further options; where that says which kernel, it
// is that one.
func (r ramFor) spec(ctx context.Context, env builder.Env, load func(options ...string) (*config.Config, error)) (builder.InstallerSpec, error) {
	var spec builder.InstallerSpec
	given, err := load()
	if err != nil {
		return spec, err
	}
	choice := kernels
	if given.Explicit("kernel") {
		choice = []string{given.String("kernel")}
	}
	tools := builder.LayoutFeatures(r.layout)
	for i, kernel := range choice {
		// What the layout needs and the cloud kernel has not, the generic one may.
		if _, err := builder.ParseFeatures(append(tools, given.List("tools")...), kernel); err != nil && i+1 < len(choice) {
			continue
		}
		options := []string{"kernel=" + kernel, "linux-firmware=true"}
		if all := append(tools, given.List("tools")...); len(all) > 0 {
			options = append(options, "tools="+strings.Join(all, ","))
		}
		c, err := load(options...)
		if err != nil {
			return spec, err
		}
		if spec, err = installerSpec(c); err != nil {
			return spec, err
		}
		spec.Hardware = &builder.Hardware{Modaliases: r.facts.HW.Modalias, Modules: append(driversInUse(r.facts), r.modules...)}
		if i+1 == len(choice) {
			break
		}
		if lacking, err := builder.Lacking(ctx, env, spec); err != nil || len(lacking) == 0 {
			return spec, err
		}
	}
	return spec, nil
}

// driversInUse are the modules that carry the machine's disks and networks, by
// the names of their drivers: those differ from the modules' names hardly ever,
// and where they do, the larger kernel is taken.
func driversInUse(f envscan.Facts) []string {
	var names []string
	for _, nic := range f.HW.NIC {
		if !nic.Wireless {
			names = append(names, nic.Driver)
		}
	}
	for _, p := range f.HW.PCI {
		// PCI Code and ID Assignment: 01 mass storage, 0200 Ethernet, 0805 SD host.
		if strings.HasPrefix(p.Class, "01") || strings.HasPrefix(p.Class, "0200") || strings.HasPrefix(p.Class, "0805") {
			names = append(names, p.Driver)
		}
	}
	for _, d := range f.HW.Disk {
		switch d.Transport {
		case "usb":
			names = append(names, "usb_storage")
		case "mmc":
			names = append(names, "mmc_block")
		}
	}
	for i, name := range names {
		names[i] = strings.ReplaceAll(name, "-", "_")
	}
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool { return name == "" })
}

// readFacts reads what vic-env dump wrote. flag is how the file was given.
func readFacts(flag, path string) (envscan.Facts, error) {
	var f envscan.Facts
	doc, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(doc, &f)
	}
	if err != nil {
		return f, fail(exitRefused, fmt.Errorf("%s %s: %w", flag, path, err), "vic-env dump > FILE writes one")
	}
	return f, nil
}
