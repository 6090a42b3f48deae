package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/config"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// The serial numbers by which the RAM system finds the disks.
const (
	targetSerial  = "vic-target"
	payloadSerial = "vic-payload"
)

// vmDisk is --disk FILE[,size=8G][,sector=4096] with --vm.
type vmDisk struct {
	path   string
	size   int64 // bytes; 0: the file must be there
	sector int
}

func parseVMDisk(arg string) (vmDisk, error) {
	words := strings.Split(arg, ",")
	d := vmDisk{path: words[0], sector: 512}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		var err error
		switch key {
		case "size":
			d.size, err = config.ParseSize(value)
		case "sector":
			d.sector, err = strconv.Atoi(value)
			if err == nil && d.sector != 512 && d.sector != 4096 {
				err = errors.New("512 or 4096 is needed")
			}
		default:
			err = fmt.Errorf("unknown key%s", didYouMean("", key, []string{"size", "sector"}))
		}
		if err != nil {
			return d, usage("write --disk FILE,size=8G or FILE,size=8G,sector=4096", "--disk %s: %s: %v", arg, w, err)
		}
	}
	if d.path == "" || strings.HasPrefix(d.path, "/dev/") {
		return d, usage("without --vm a device is installed onto", "--disk %s: --vm needs an image file", arg)
	}
	return d, nil
}

// inVM runs the installation in a virtual machine, then boots the disk.
func (j *installJob) inVM(ctx context.Context) (err error) {
	disk, err := parseVMDisk(j.flags.disk)
	if err != nil {
		return err
	}
	if err := disk.check(j.flags); err != nil {
		return err
	}
	if j.env, err = j.flags.archive.buildEnv(j.sink); err != nil {
		return err
	}
	p, err := j.payload(ctx)
	if err != nil {
		return err
	}
	req, err := j.request(p, request.Source{Serial: payloadSerial}, request.DiskSelector{Serial: targetSerial}, request.FinishPoweroff)
	if err != nil {
		return err
	}
	// The same plan as in the machine, from the facts that it is going to
	// find: what it would refuse is refused before it is started.
	steps, err := plan.New(req, j.facts(p.Arch, disk), j.source.secrets.Names())
	if err != nil {
		return fail(exitRefused, err, "nothing was written")
	}
	if j.flags.dryRun {
		return j.showPlan(steps)
	}
	return j.installAndProve(ctx, p, req, disk)
}

func (j *installJob) installAndProve(ctx context.Context, p *builder.Payload, req request.Request, disk vmDisk) error {
	bundle, err := j.bundle(ctx, p.Arch)
	if err != nil {
		return err
	}
	if err := disk.create(); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp("", "vic-vm-") // 0700: the secrets pass through it
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	m := vmRun{installJob: j, dir: tmp, disk: disk, arch: p.Arch}
	result, err := m.install(ctx, bundle, p, req)
	if err != nil || !j.flags.wants(event.Prove) {
		return err
	}
	return m.prove(ctx, result)
}

// check refuses a file that would be lost.
func (d vmDisk) check(f *installFlags) error {
	st, err := os.Stat(d.path)
	switch {
	case errors.Is(err, os.ErrNotExist) && d.size == 0:
		return usage("add ,size=8G to make it", "--disk %s: it does not exist", d.path)
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fail(exitRefused, err, "")
	case !st.Mode().IsRegular():
		return fail(exitRefused, fmt.Errorf("--disk %s: it is no file", d.path), "--vm needs an image file")
	case !f.yes && !f.dryRun:
		return fail(exitRefused, fmt.Errorf("--disk %s: it exists", d.path), "--yes overwrites it")
	}
	return nil
}

// bytes is the size of the disk in the machine.
func (d vmDisk) bytes() int64 {
	if d.size > 0 {
		return d.size
	}
	if st, err := os.Stat(d.path); err == nil {
		return st.Size()
	}
	return 0
}

// create makes a blank disk, or leaves the one that is there.
func (d vmDisk) create() error {
	if d.size == 0 {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(d.path), 0o755); err != nil {
		return err
	}
	return errors.Join(removeIfThere(d.path), removeIfThere(d.vars()), vm.BlankDisk(d.path, d.size))
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// vars is where the machine's UEFI variables are kept, beside the disk: the
// boot entry is in them.
func (d vmDisk) vars() string {
	return strings.TrimSuffix(d.path, filepath.Ext(d.path)) + ".vars.fd"
}

// facts are those of the virtual machine.
func (j *installJob) facts(arch string, d vmDisk) envscan.Facts {
	return envscan.Facts{Schema: envscan.Schema, HW: envscan.HW{
		Arch:     arch,
		Firmware: envscan.Firmware{Type: j.source.machine.firmware},
		Memory:   envscan.Memory{Total: j.source.machine.memory},
		Disk: []envscan.Disk{{
			Name: "vda", Path: "(virtual machine)", Serial: targetSerial, Size: d.bytes(), SectorSize: d.sector, Transport: "virtio",
		}},
		NIC: []envscan.NIC{{Name: "eth0", Driver: "virtio_net", HWAddr: vmMAC, HWAddrFrom: "permanent"}},
	}}
}

// vmMAC is the network card's address (locally administered).
const vmMAC = "52:54:00:76:69:00"

// bundle builds the RAM system for a virtual machine.
func (j *installJob) bundle(ctx context.Context, arch string) (*builder.Bundle, error) {
	c, err := j.registry.Load("installer", config.Layers{Options: []string{"kernel=cloud", "arch=" + arch}})
	if err != nil {
		return nil, err
	}
	return builder.CacheInstaller(ctx, j.env, installerSpec(c))
}

// vmRun is the two machines of one installation.
type vmRun struct {
	*installJob
	dir  string // private, temporary
	disk vmDisk
	arch string
}

// config is what both machines have in common.
func (r *vmRun) config(name string) vm.Config {
	c := vm.Config{
		Name: name, Arch: r.arch, Dir: filepath.Join(r.dir, name),
		MemoryMiB: int(r.source.machine.memory >> 20), CPUs: int(r.source.machine.cpus),
		Firmware: r.source.machine.firmware, NoReboot: true,
		Disks: []vm.Disk{{Path: r.disk.path, Format: "raw", Serial: targetSerial, SectorSize: r.disk.sector, Cache: "unsafe"}},
		NICs:  []vm.NIC{{MAC: vmMAC, Restrict: true}},
	}
	if c.Firmware == "uefi" {
		c.Vars = r.disk.vars()
	}
	return c
}

// install boots the RAM system with the request and waits for its result.
func (r *vmRun) install(ctx context.Context, bundle *builder.Bundle, p *builder.Payload, req request.Request) (event.Result, error) {
	initrd, err := r.initrd(bundle, req)
	if err != nil {
		return event.Result{}, err
	}
	c := r.config("installer")
	c.Kernel, c.Initrd, c.Events = bundle.Path(builder.KernelFile), []string{initrd}, true
	c.Cmdline = bundle.Cmdline + " " + serialConsole(r.arch) + " vic.onerror=poweroff"
	c.Disks = append(c.Disks, vm.Disk{Path: p.Path(builder.ImageFile), Format: "raw", Serial: payloadSerial, ReadOnly: true})
	r.phase(event.Enter, event.Start)
	m, err := vm.Run(ctx, c)
	if err != nil {
		return event.Result{}, fail(exitRefused, err, "")
	}
	defer m.Close()
	return r.follow(ctx, m)
}

func serialConsole(arch string) string {
	if arch == "arm64" {
		return "console=ttyAMA0"
	}
	return "console=ttyS0"
}

// initrd writes what the machine unpacks into RAM: the bundle's own, and the
// request with its secrets, in a file that only this user can read and that is
// removed at the end.
func (r *vmRun) initrd(bundle *builder.Bundle, req request.Request) (string, error) {
	hashed, err := hashPassword(r.source.secrets)
	if err != nil {
		return "", err
	}
	var doc, secrets bytes.Buffer
	if err := errors.Join(req.Encode(&doc), hashed.EncodeForTarget(&secrets)); err != nil {
		return "", err
	}
	path := filepath.Join(r.dir, "initrd")
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if err := errors.Join(bundle.Initrd(f), builder.RequestSegment(f, doc.Bytes(), secrets.Bytes())); err != nil {
		return "", err
	}
	return path, f.Close()
}

// follow passes the target's events on until it has ended.
func (r *vmRun) follow(ctx context.Context, m *vm.Machine) (event.Result, error) {
	var result *event.Result
	var failed *event.Event
	for e := range m.Events() {
		if e.State == event.Failed && e.Exit != 0 {
			failed = &e
		}
		if e.Result != nil {
			result = e.Result
		}
		r.sink.Emit(e)
	}
	ended := errors.Join(m.Wait(ctx), m.Err())
	switch {
	case failed != nil:
		return event.Result{}, fail(failed.Exit, fmt.Errorf("%s: %s: %s", failed.Phase, failed.Step, failed.Message), exitHint(failed.Exit))
	case ended != nil:
		return event.Result{}, fmt.Errorf("virtual machine: %w\n%s", ended, m.ConsoleTail(20))
	case result == nil && r.flags.wants(event.Finish):
		return event.Result{}, fmt.Errorf("virtual machine: it ended without a result\n%s", m.ConsoleTail(20))
	case result == nil:
		return event.Result{}, nil
	}
	return *result, nil
}
