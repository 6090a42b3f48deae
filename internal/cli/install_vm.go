package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/envscan"
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

// inVM runs the installation in a virtual machine, then boots the disk.
func (j *installJob) inVM(ctx context.Context) error {
	disks, err := j.vmDisks()
	if err != nil {
		return err
	}
	if err := j.checkRequiresInVM(disks); err != nil {
		return err
	}
	if !j.reaches(event.Build) {
		return j.stopped()
	}
	bundle, stop := j.bundleAside(ctx)
	defer stop()
	p, err := j.payload(ctx)
	if err != nil {
		return err
	}
	req, err := j.request(p, request.Source{Serial: payloadSerial}, disks.selectors(), request.FinishPoweroff)
	if err != nil {
		return err
	}
	// The same plan as in the machine, from the facts that it is going to
	// find: what it would refuse is refused before it is started.
	facts, err := j.facts(p.Arch, disks)
	if err != nil {
		return err
	}
	steps, err := plan.New(req, facts, j.source.secrets.Names())
	switch {
	case err != nil:
		return fail(exitRefused, err, "nothing was written")
	case j.flags.dryRun:
		return j.showPlan(steps)
	case !j.reaches(event.Enter):
		return j.stopped()
	}
	b, err := bundle(p.Arch)
	if err != nil {
		return err
	}
	return j.installAndProve(ctx, b, p, req, disks)
}

func (j *installJob) installAndProve(ctx context.Context, bundle *builder.Bundle, p *builder.Payload, req request.Request, disks vmDisks) error {
	tmp, err := os.MkdirTemp("", "vic-vm-") // 0700: the secrets pass through it
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if !event.Writes(j.phases) {
		disks = disks.stand(tmp)
	}
	if err := disks.create(); err != nil {
		return err
	}
	m := vmRun{installJob: j, dir: tmp, disks: disks, arch: p.Arch}
	result, err := m.install(ctx, bundle, p, req)
	switch {
	case err != nil:
		return err
	case j.reaches(event.Prove):
		return m.prove(ctx, result)
	}
	return j.tell(result)
}

// facts are those of the virtual machine, as far as they are known before there
// is one.
func (j *installJob) facts(arch string, disks vmDisks) (envscan.Facts, error) {
	f := envscan.Facts{Schema: envscan.Schema, Scan: envscan.Report{Version: plan.Prediction}, OS: envscan.OS{Type: "linux", RAM: true}, HW: envscan.HW{
		Arch:     arch,
		Firmware: envscan.Firmware{Type: j.source.machine.firmware},
		Memory:   envscan.Memory{Total: j.source.machine.memory},
		NIC:      []envscan.NIC{{Name: "eth0", Driver: "virtio_net", HWAddr: vmMAC, HWAddrFrom: "permanent"}},
	}}
	for i, d := range disks {
		disk := envscan.Disk{Name: "vd" + string(rune('a'+i)), Path: "(virtual machine)", Serial: d.serial, Size: d.bytes(), SectorSize: d.sector, Transport: "virtio"}
		if d.size == 0 {
			now, err := envscan.ScanImage(d.path)
			if err != nil {
				return f, fail(exitRefused, fmt.Errorf("look at --disk %s: %w", d.path, err), "nothing was written")
			}
			disk.Contents, disk.TableGUID = now.Contents, now.TableGUID
		}
		f.HW.Disk = append(f.HW.Disk, disk)
	}
	return f, nil
}

// vmMAC is the network card's address (locally administered).
const vmMAC = "52:54:00:76:69:00"

// bundle builds the RAM system for a virtual machine.
func (j *installJob) bundle(ctx context.Context, sink event.Sink, arch string) (*builder.Bundle, error) {
	return j.ramSystem(ctx, j.flags.archive, sink, arch, nil, append([]string{"kernel=cloud"}, toolsOption(j.layout)...)...)
}

// bundleAside builds the RAM system beside a payload that is built, most of
// which is work for one processor. What it returns waits for it, or builds it
// then when there was nothing to build beside; stop ends it.
func (j *installJob) bundleAside(ctx context.Context) (wait func(arch string) (*builder.Bundle, error), stop func()) {
	if j.source.config == nil || j.flags.dryRun || !j.reaches(event.Enter) {
		return func(arch string) (*builder.Bundle, error) { return j.bundle(ctx, j.clock, arch) }, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	// Both have steps of the same names.
	sink := event.SinkFunc(func(e event.Event) {
		if e.Step != "" {
			e.Step = "RAM system: " + e.Step
		}
		j.clock.Emit(e)
	})
	var built *builder.Bundle
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		built, err = j.bundle(ctx, sink, j.source.config.String("arch"))
	}()
	wait = func(string) (*builder.Bundle, error) {
		<-done
		return built, err
	}
	return wait, func() {
		cancel()
		<-done
	}
}

// vmRun is the two machines of one installation.
type vmRun struct {
	*installJob
	dir   string // private, temporary
	disks vmDisks
	arch  string
}

// config is what both machines have in common.
func (r *vmRun) config(name string) vm.Config {
	c := vm.Config{
		Name: name, Arch: r.arch, Dir: filepath.Join(r.dir, name),
		MemoryMiB: int(r.source.machine.memory >> 20), CPUs: int(r.source.machine.cpus),
		Firmware: r.source.machine.firmware, NoReboot: true,
		NICs: []vm.NIC{{MAC: vmMAC, Restrict: true}}, EasyToEmulate: true,
	}
	for _, d := range r.disks {
		c.Disks = append(c.Disks, vm.Disk{Path: d.path, Format: "raw", Serial: d.serial, SectorSize: d.sector, Cache: "unsafe"})
	}
	if c.Firmware == "uefi" {
		c.Vars = r.disks[0].vars()
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
	var doc, secrets bytes.Buffer
	if err := errors.Join(req.Encode(&doc), r.source.secrets.EncodeForTarget(&secrets)); err != nil {
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
		r.clock.Emit(e)
	}
	died := errors.Join(m.Wait(ctx), m.Err())
	if err := r.outcome(result, failed, died, func() string { return m.ConsoleTail(20) }); err != nil || result == nil {
		return event.Result{}, err
	}
	return *result, nil
}

// outcome says how the run in the machine ended, from what it told and from how
// the machine died (nil: it powered off).
func (j *installJob) outcome(result *event.Result, failed *event.Event, died error, console func() string) error {
	if failed != nil {
		return fail(failed.Exit, fmt.Errorf("%s: %s: %s", failed.Phase, failed.Step, failed.Message), exitHint(failed.Exit))
	}
	if died == nil && result == nil && j.reaches(event.Finish) {
		died = errors.New("it ended without a result")
	}
	if died == nil {
		return nil
	}
	code := exitUntouched
	if j.clock.reached(event.Partition) {
		code = exitResumable
	}
	return fail(code, fmt.Errorf("virtual machine: %w\n%s", died, console()), exitHint(code))
}
