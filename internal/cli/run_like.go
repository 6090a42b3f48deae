package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/cli/like"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// likeFlags say which machine the virtual one is to be like.
type likeFlags struct {
	file               string
	memory, disk       string
	cpus               int
	maxMemory, maxDisk int64
}

func (f *likeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.file, "like", "", "make the machine like the one in `FACTS`, a file that vic-env dump wrote")
	flags.StringVar(&f.memory, "max-memory", "", "with --like: `SIZE` that its memory has at most")
	flags.StringVar(&f.disk, "max-disk", "", "with --like: `SIZE` that each of its disks has at most")
	flags.IntVar(&f.cpus, "max-cpus", 0, "with --like: how many processors it has at most")
}

// check reads the sizes.
func (f *likeFlags) check() error {
	if f.file == "" && (f.memory != "" || f.disk != "" || f.cpus != 0) {
		return usage("-o memory= and -o cpus= are for a machine that is like no other", "--max-memory, --max-disk and --max-cpus go with --like")
	}
	if f.cpus < 0 {
		return usage("", "--max-cpus %d: a machine has at least one", f.cpus)
	}
	for _, s := range []struct {
		flag, value string
		size        *int64
	}{{"max-memory", f.memory, &f.maxMemory}, {"max-disk", f.disk, &f.maxDisk}} {
		if s.value == "" {
			continue
		}
		size, err := config.ParseSize(s.value)
		if err == nil && size < 1<<20 {
			err = errors.New("less than 1 MiB is no size for it")
		}
		if err != nil {
			return usage("write 512M or 8G", "--%s %s: %w", s.flag, s.value, err)
		}
		*s.size = size
	}
	return nil
}

// runMachine is the machine to run, and the blank disks that it needs.
type runMachine struct{ like.Machine }

// machine is what the options or the facts say.
func (j *runJob) machine(ctx context.Context) (runMachine, error) {
	f := &j.flags.like
	if err := f.check(); err != nil {
		return runMachine{}, err
	}
	if f.file == "" {
		return j.plainMachine(), nil
	}
	facts, err := readFacts("--like", f.file)
	if err != nil {
		return runMachine{}, err
	}
	if arch := j.config.String("arch"); facts.HW.Arch != arch {
		return runMachine{}, usage("add -o arch="+facts.HW.Arch, "--like %s: it is of an %s machine, and the item is for %s", f.file, facts.HW.Arch, arch)
	}
	m, err := like.New(facts, like.Options{MaxMemory: f.maxMemory, MaxCPUs: f.cpus, MaxDisk: f.maxDisk, IGB: hasIGB(ctx, facts.HW.Arch)})
	if err != nil {
		return runMachine{}, fail(exitRefused, fmt.Errorf("--like %s: %w", f.file, err), "")
	}
	if m.Config.Disks, err = j.placeDisks(m.Config.Disks); err != nil {
		return runMachine{}, err
	}
	return runMachine{m}, fitsMemory(m.Config.MemoryMiB)
}

// placeDisks puts the images that were given in the place of the first disks.
func (j *runJob) placeDisks(disks []vm.Disk) ([]vm.Disk, error) {
	if len(j.disks) > len(disks) {
		return nil, usage("leave some out", "%d images for the %d disks of the machine", len(j.disks), len(disks))
	}
	for i, d := range j.disks {
		if d.sector != disks[i].SectorSize {
			return nil, usage(fmt.Sprintf("write --disk %s,sector=%d if the image is for such", d.path, disks[i].SectorSize),
				"--disk %s: it has sectors of %d bytes, the machine's disk of %d", d.path, d.sector, disks[i].SectorSize)
		}
	}
	return disks, nil
}

// plainMachine is the machine of the item's options.
func (j *runJob) plainMachine() runMachine {
	c := vm.Config{
		Name: j.config.Item().Name, Arch: j.config.String("arch"), MemoryMiB: int(j.config.Size("memory") >> 20), CPUs: int(j.config.Int("cpus")),
		Firmware: j.config.String("firmware"), NICs: []vm.NIC{{MAC: vmMAC}},
	}
	m := runMachine{like.Machine{Config: c}}
	for i, d := range j.disks {
		m.Config.Disks = append(m.Config.Disks, vm.Disk{Path: d.path, SectorSize: d.sector, Serial: fmt.Sprintf("vic-disk-%d", i+1)})
		m.Disks = append(m.Disks, like.Disk{Name: d.path, Size: d.bytes()})
	}
	return m
}

// fitsMemory refuses a machine that this one has no memory for.
func fitsMemory(mib int) error {
	here, err := envscan.Scan(context.Background(), envscan.Config{Only: []string{"hw.memory.total"}})
	if err != nil {
		return err
	}
	if have := here.HW.Memory.Total >> 20; have > 0 && int64(mib) > have {
		return fail(exitRefused, fmt.Errorf("the machine has %d MiB of memory, this one %d", mib, have), "--max-memory 2G makes it smaller")
	}
	return nil
}

// emulated notes what an emulated processor lacks.
func (m *runMachine) emulated(ctx context.Context) {
	if m.Config.Arch == "amd64" && m.Config.CPUs > 1 && (m.Config.Arch != runtime.GOARCH || vm.ProbeAccel(ctx) == "tcg") {
		m.Differences = append(m.Differences, like.Difference{Fact: "hw.cpu.count", Was: fmt.Sprint(m.Config.CPUs), Is: "1", Why: "the processor is emulated"})
	}
}

// tell lists what is different, for people.
func (m runMachine) tell(a *app) error {
	for _, d := range m.Differences {
		if _, err := fmt.Fprintf(a.stderr, "different: %s\n", d); err != nil {
			return err
		}
	}
	return nil
}

// show writes what --dry-run asks for.
func (m runMachine) show(a *app, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(a.stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(m)
	}
	c := m.Config
	if _, err := fmt.Fprintf(a.stdout, "%s machine with %s: %d processors, %d MiB of memory, %d disks, %d network cards, %d wireless\n",
		c.Arch, c.Firmware, c.CPUs, c.MemoryMiB, len(c.Disks), len(c.NICs), m.Radios); err != nil {
		return err
	}
	return m.tell(a)
}
