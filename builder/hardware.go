package builder

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/internal/event"
)

// Hardware is what a machine is made of, as far as a kernel has to drive it.
type Hardware struct {
	// Modaliases are those of all its devices (/sys/devices/**/modalias). Of
	// the set hardware of the package initramfs, the modules that they ask for
	// are taken.
	Modaliases []string
	// Modules are taken by name: the drivers that carry its disks and its
	// networks at present, and what its links are made of (bonding, 8021q). A
	// kernel without one of them is the wrong one; see Lacking.
	Modules []string
}

// The module sets of a bundle for one machine, see initramfs.Sets.
const (
	machineModules = "machine"       // in place of those for any machine
	machineEarly   = "machine-early" // in the initramfs
	hardwareSet    = "hardware"      // those that devices may ask for
	earlyHardware  = "early-network" // those of them that the initramfs has too
)

// chosen are the names of the modules for one machine.
type chosen struct {
	all     []string // with those of the layout's features
	early   []string // in the initramfs
	drivers []string // what the hardware asked for alone
}

// Lacking names the modules that the hardware of the specification needs and
// its kernel does not have, neither as a module nor built in. Debian's cloud
// kernel has the drivers of virtual machines only, so it is tried first, and
// the generic one is for the machines that it lacks something for.
func Lacking(ctx context.Context, env Env, spec InstallerSpec) ([]string, error) {
	if spec.Hardware == nil {
		return nil, nil
	}
	b := &installerBuild{env: env, spec: spec}
	if err := env.step("resolve packages", func() error { return b.resolveKernel(ctx) }); err != nil {
		return nil, err
	}
	if err := b.openKernel(ctx); err != nil {
		return nil, err
	}
	return initramfs.LackingModules(b.kernel.modules(), spec.Hardware.Modules)
}

// choose says which modules are taken: those of the specification's sets, or,
// when it is for one machine, what the kernel has for that.
func (b *installerBuild) choose(ctx context.Context) error {
	if b.spec.Hardware != nil {
		return b.env.step("choose modules", func() error { return b.chooseForMachine(ctx) })
	}
	b.chosen = chosen{
		all:   append([]string{earlyModules}, b.spec.Modules...),
		early: append([]string{earlyModules}, b.spec.Early...),
	}
	return nil
}

func (b *installerBuild) chooseForMachine(ctx context.Context) error {
	if err := b.openKernel(ctx); err != nil {
		return err
	}
	tree, hw := b.kernel.modules(), b.spec.Hardware
	lacking, err := initramfs.LackingModules(tree, hw.Modules)
	if err != nil {
		return err
	}
	drivers, err := initramfs.MatchModules(tree, hw.Modaliases, hardwareSet)
	if err != nil {
		return err
	}
	first, err := initramfs.MatchModules(tree, hw.Modaliases, earlyHardware)
	if err != nil {
		return err
	}
	for _, name := range hw.Modules {
		if !slices.Contains(lacking, name) {
			drivers = union(drivers, []string{strings.ReplaceAll(name, "-", "_")})
		}
	}
	b.chosen = chosen{
		all:     slices.Concat([]string{machineModules}, drivers, b.spec.featureModules),
		early:   slices.Concat([]string{machineEarly}, first, b.spec.Early),
		drivers: drivers,
	}
	if len(lacking) > 0 {
		b.env.Sink.Emit(event.Event{Phase: event.Build, Step: "warning", State: event.Done, Message: fmt.Sprintf(
			"Linux %s has no module %s, which this machine uses: what they drive will be missing in RAM", b.kernel.Release, strings.Join(lacking, ", "))})
	}
	return b.dropFirmware()
}

// dropFirmware leaves the packages with firmware out when no chosen module asks
// for any: they are large.
func (b *installerBuild) dropFirmware() error {
	asked, err := initramfs.AsksForFirmware(b.kernel.modules(), b.chosen.all...)
	if err == nil && !asked {
		b.spec.Firmware = nil
	}
	return err
}
