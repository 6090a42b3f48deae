package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/remote"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/visit"
)

// visitor takes one machine from the system that it has to the new one.
type visitor struct {
	*installJob
	there *otherMachine

	payloadImage *builder.Payload
	bundle       *builder.Bundle
	req          request.Request
	steps        plan.Plan
	login        string // who the new system is asked as

	err        error
	stopsEarly bool // the phases end before the machine is entered
	summary    string
}

// visit reads what is wanted of one machine.
func (f *installFlags) visit(ctx context.Context, a *app, item string, m machineSpec, events *clock, several bool) (*visitor, error) {
	flags, err := m.apply(*f)
	if err != nil {
		return nil, err
	}
	chosen, err := flags.check()
	if err != nil {
		return nil, err
	}
	own := *a // its secrets are its own
	defer func() { a.alsoHide(m.host.String(), own.secrets) }()
	c := newClock(event.SinkFunc(func(e event.Event) {
		if several {
			e.Host, e.Seq = m.host.String(), 0
		}
		events.Emit(e)
	}))
	job := &installJob{app: &own, flags: &flags, phases: chosen, clock: c}
	v := &visitor{installJob: job, there: &otherMachine{app: &own, host: m.host, flags: f.on.enter, archive: f.archive, clock: c}}
	if err := job.prepareLayout(ctx); err != nil {
		return nil, err
	}
	if job.source, err = flags.source(&own, item, toolsOption(job.layout)); err != nil {
		return nil, err
	}
	if err := checkSystem(job.source); err != nil {
		return nil, err
	}
	job.source.secrets, err = job.keys(job.layout, job.source.secrets)
	return v, err
}

// alsoHide hides the secrets of one of several machines: what is told passes
// through one place, and two machines may have different secrets of one name.
func (a *app) alsoHide(host string, secrets secret.Set) {
	for _, name := range secrets.Names() {
		v, _ := secrets.Get(name)
		a.secrets = a.secrets.With(name+" of "+host, v)
	}
}

// prepare finds out everything that can be known before the machine is entered,
// and builds what is sent to it.
func (v *visitor) prepare(ctx context.Context) error {
	v.phase(event.Scan, event.Start)
	if err := v.there.scan(ctx); err != nil {
		return err
	}
	if err := v.forArch(v.there.facts.HW.Arch); err != nil {
		return err
	}
	if err := v.checkRequires(v.there.facts); err != nil {
		return err
	}
	disks, err := v.disksOf(inRAM(v.there.facts))
	if err != nil {
		return err
	}
	v.phase(event.Scan, event.Done)
	if v.stopsEarly = !v.reaches(event.Build); v.stopsEarly {
		return v.early()
	}
	if err := v.build(ctx); err != nil {
		return err
	}
	if v.req, err = v.request(disks); err != nil {
		return err
	}
	// The same plan as in the RAM system, from the same facts: what it would
	// refuse is refused before the machine is entered.
	if v.steps, err = plan.New(v.req, inRAM(v.there.facts), v.source.secrets.Names()); err != nil {
		return fail(exitRefused, err, "nothing was changed")
	}
	v.steps.Warn(v.clock, event.Build)
	if v.there.ram == nil {
		if err := v.there.mayEnter(v.bundle); err != nil {
			return err
		}
	}
	if v.stopsEarly = !v.reaches(event.Enter); v.stopsEarly {
		return v.early()
	}
	return nil
}

// forArch has the item built for the machine's architecture, and not for that of
// this one.
func (v *visitor) forArch(arch string) (err error) {
	if c := v.source.config; c == nil || c.String("arch") == arch {
		return nil
	}
	given := v.source.secrets
	v.flags.item.options = append([]string{"arch=" + arch}, v.flags.item.options...)
	c, err := v.flags.item.config(v.installJob.app, v.source.config.Item().Name)
	if err != nil {
		return err
	}
	v.source = installSource{config: c, secrets: given, machine: v.source.machine}
	return nil
}

// early is the end of a run that was not to enter the machine.
func (v *visitor) early() error {
	v.summary = fmt.Sprintf("%s: stopped after %s: nothing was changed", v.there.host, v.phases[len(v.phases)-1])
	return nil
}

// inRAM are the facts as the RAM system will find them: nothing uses the disks.
func inRAM(f envscan.Facts) envscan.Facts {
	f.HW.Disk = slices.Clone(f.HW.Disk)
	for i := range f.HW.Disk {
		f.HW.Disk[i].InUse = nil
	}
	f.OS.RAM = true
	return f
}

// disksOf are the disks of the layout, by what they are known by after the
// machine has been entered, when names may differ.
func (v *visitor) disksOf(facts envscan.Facts) (map[string]request.DiskSelector, error) {
	chosen, err := selectors(v.layout, v.given)
	if err != nil {
		return nil, err
	}
	found, err := plan.SelectDisks(v.layout, chosen, facts)
	if err != nil {
		return nil, fail(exitRefused, err, "`vic facts --on "+v.there.host.String()+"` tells of its disks")
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		sel := plan.Selector(found[name].Disk)
		for _, d := range facts.HW.Disk {
			if sel.Serial == "" && sel.WWN == "" && "/dev/"+d.Name == found[name].Device {
				sel.Table = d.TableGUID
			}
		}
		chosen[name] = sel
	}
	return chosen, nil
}

// build makes payload and RAM system. Machines take turns: they share a cache.
func (v *visitor) build(ctx context.Context) (err error) {
	v.there.building.Lock()
	v.payloadImage, err = v.payload(ctx)
	v.there.building.Unlock()
	if err != nil || v.there.ram != nil {
		return err
	}
	v.bundle, err = v.there.bundleFor(ctx, v.layout)
	return err
}

// request is what the RAM system is asked to do.
func (v *visitor) request(disks map[string]request.DiskSelector) (request.Request, error) {
	r, err := v.installJob.request(v.payloadImage, request.Source{Stream: true}, disks, request.FinishReboot)
	if err != nil {
		return r, err
	}
	if url := v.flags.on.payloadURL; url != "" {
		r.Payload.Source = request.Source{URL: blobURL(url, r.Payload.SHA256)}
	}
	if v.flags.on.network == networkKeep {
		network := v.there.before.Network
		r.System.Network.Mode, r.System.Network.Config = request.NetworkAsBefore, &network
	}
	r.System.Cmdline = keepConsoles(r.System, v.there.facts)
	v.login = "root"
	if !v.flags.on.anew {
		r.System.Identity = &request.Identity{MachineID: v.there.before.MachineID, HostKeys: true}
		r.System.Users, v.login = keepLogin(r.System.Users, v.there.look.User, v.there.before.AuthorizedKeys)
	}
	return r, fail(exitRefused, r.Validate(), "nothing was changed")
}

// blobURL is where a registry has the file with a hash, when it is asked for by
// oci://HOST/NAME (OCI Distribution Specification, "pulling blobs"). Another URL is
// the file's own.
func blobURL(url, sha256 string) string {
	place, ok := strings.CutPrefix(url, "oci://")
	host, name, _ := strings.Cut(place, "/")
	if !ok {
		return url
	}
	return "https://" + host + "/v2/" + name + "/blobs/sha256:" + sha256
}

// keepLogin lets those log in to the new system who could before: as the user of
// that name, if the item has one, and otherwise as root.
func keepLogin(users []request.User, name string, keys []string) (all []request.User, login string) {
	all = slices.Clone(users)
	i := slices.IndexFunc(all, func(u request.User) bool { return u.Name == name })
	if i < 0 {
		name = "root"
		i = slices.IndexFunc(all, func(u request.User) bool { return u.Name == name })
	}
	if i < 0 {
		all, i = append(all, request.User{Name: name}), len(all)
	}
	have := slices.Clone(all[i].SSHKeys)
	for _, k := range keys {
		if !slices.Contains(have, k) {
			have = append(have, k)
		}
	}
	all[i].SSHKeys = have
	return all, name
}

// describe is the plan for people.
func (v *visitor) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s), ", v.there.host, v.there.facts.OS.Hostname)
	if v.bundle != nil {
		var sent int64
		for _, f := range v.bundle.Files {
			sent += f.Size
		}
		fmt.Fprintf(&b, "entered by kexec with a RAM system of %.1f MB: ", float64(sent)/1e6)
	}
	b.WriteString(v.steps.Describe())
	return b.String()
}

// install enters the machine, has it installed, and proves the new system.
func (v *visitor) install(ctx context.Context) error {
	if err := v.there.enter(ctx, v.bundle); err != nil {
		return err
	}
	if !v.reaches(event.Verify) {
		v.summary = fmt.Sprintf("%s is in the RAM system, and goes back by itself after %v", v.there.host, v.there.flags.probation)
		return nil
	}
	result, err := v.there.visit().Run(ctx, visit.Run{
		Request: v.req, Secrets: v.source.secrets, From: v.there.from, Events: v.clock,
		Payload: func() (io.ReadSeekCloser, error) { return os.Open(v.payloadImage.Path(builder.ImageFile)) },
	})
	switch {
	case err != nil:
		return v.failed(err)
	case !event.Writes(v.phases):
		if err := v.there.visit().Leave(ctx); err != nil {
			return v.failed(err)
		}
		v.summary = fmt.Sprintf("%s: stopped after %s: nothing was written", v.there.host, v.phases[len(v.phases)-1])
		return nil
	case !v.reaches(event.Finish):
		v.summary = fmt.Sprintf("%s: stopped after %s: it is in the RAM system, and its disk is half-written", v.there.host, v.phases[len(v.phases)-1])
		return nil
	case !v.reaches(event.Prove):
		v.summary = fmt.Sprintf("%s: installed %s (%s) onto %s: %s", v.there.host, result.Hostname, result.Kernel, result.Disk, v.clock)
		return nil
	}
	return v.prove(ctx, result)
}

// failed is how a run ended that did not succeed.
func (v *visitor) failed(err error) error {
	const again = "the machine is in the RAM system: run the same command again, or log in and look"
	var told *visit.FailedError
	if errors.As(err, &told) {
		hint := again
		if told.Event.Exit != exitResumable {
			hint = "nothing was written; " + again + fmt.Sprintf("; it goes back to the system that it had after %v", v.there.flags.probation)
		}
		return fail(told.Event.Exit, err, hint)
	}
	if leftRAM(err) && !v.clock.reached(event.Partition) {
		return fail(exitUntouched, fmt.Errorf("the machine has left the RAM system, and the system before answers: %w", err),
			"nothing was written: look at its console for the reason, and run the same command again")
	}
	if v.clock.reached(event.Partition) {
		return fail(exitResumable, err, "the disk is half-written: run the same command again")
	}
	return fail(exitUntouched, err, fmt.Sprintf("nothing was written: the machine goes back to the system that it had after %v", v.there.flags.probation))
}

// leftRAM tells whether another system has answered: one that does not know the key
// that was made for this run, or that has no command vic (127, by POSIX).
func leftRAM(err error) bool {
	var failed *remote.Error
	return errors.Is(err, remote.ErrDenied) || errors.As(err, &failed) && failed.Exit == 127
}
