package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/agent/install"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/tool"
)

// here installs onto a disk of this machine: one that nothing uses, or the one that
// it runs from.
func (j *installJob) here(ctx context.Context) error {
	if os.Getuid() != 0 && !j.flags.dryRun && j.reaches(event.Verify) {
		return fail(exitRefused, fmt.Errorf("install onto %s: not root", j.disks()), "run it with sudo, or try it with --vm first")
	}
	j.phase(event.Scan, event.Start)
	facts, err := envscan.Scan(ctx, envscan.Config{Root: "/", Wake: true, Timeout: plan.ScanPatience})
	if err != nil {
		return err
	}
	if err := j.checkRequires(facts); err != nil {
		return err
	}
	disks, own, err := j.selectDisks(facts)
	if err != nil {
		return err
	}
	j.phase(event.Scan, event.Done)
	if !j.reaches(event.Build) {
		return j.stopped()
	}
	if own != "" {
		return j.reinstall(ctx, facts, disks, own)
	}
	if flag := j.flags.reinstall.asked(); flag != "" {
		return usage("leave it out", "%s is for the disk that this system runs from, which %s is not", flag, j.disks())
	}
	p, err := j.payload(ctx)
	if err != nil {
		return err
	}
	image, err := filepath.Abs(p.Path(builder.ImageFile))
	if err != nil {
		return err
	}
	req, err := j.request(p, request.Source{Path: image}, disks, request.FinishStay)
	if err != nil {
		return err
	}
	steps, err := plan.New(req, facts, j.source.secrets.Names())
	if err != nil {
		return fail(exitRefused, err, "nothing was written; `vic install --vm` tries the same in a virtual machine")
	}
	return j.runPlan(ctx, steps)
}

func (j *installJob) runPlan(ctx context.Context, p plan.Plan) error {
	switch {
	case j.flags.dryRun:
		return j.showPlan(p)
	case !j.reaches(event.Verify):
		return j.stopped()
	}
	p.Warn(j.clock, event.Build) // before the question
	if event.Writes(j.phases) {
		if err := j.confirm(p); err != nil {
			return err
		}
	}
	return j.execute(ctx, p)
}

// selectDisks refuses a wrong or busy disk before the payload is built. From
// then on disks are known by their identity. own is the one, by its name in the
// layout, that the running system is on; empty: none is.
func (j *installJob) selectDisks(facts envscan.Facts) (chosen map[string]request.DiskSelector, own string, err error) {
	chosen, err = selectors(j.layout, j.given)
	if err != nil {
		return nil, "", err
	}
	found, err := plan.SelectDisks(j.layout, chosen, facts)
	if err != nil {
		return nil, "", fail(exitRefused, err, "give whole disks, not partitions; `vic disk show` lists them")
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		d := found[name]
		for _, f := range facts.HW.Disk {
			busy := plan.Busy(f)
			switch {
			case "/dev/"+f.Name != d.Device || len(busy) == 0:
			case runsFrom(f, facts) && own == "":
				own = name
			default:
				return nil, "", fail(exitRefused, fmt.Errorf("%s is in use: %s", d.Disk, strings.Join(busy, "; ")),
					"unmount it, or name another disk; nothing was written")
			}
		}
		chosen[name] = plan.Selector(d.Disk)
	}
	return chosen, own, nil
}

// showPlan is what --dry-run prints.
func (j *installJob) showPlan(p plan.Plan) error {
	if j.flags.json {
		return j.writeJSON(p)
	}
	_, err := io.WriteString(j.stdout, p.Describe())
	return err
}

// confirm has a person type the name of the disk.
func (j *installJob) confirm(p plan.Plan) error {
	if j.flags.yes {
		return nil
	}
	return j.app.confirm(p.Loss(), p.Devices())
}

func (j *installJob) execute(ctx context.Context, p plan.Plan) error {
	cfg := install.Config{
		Plan: p, Secrets: j.source.secrets, Sink: j.clock, Tools: tool.Exec{}, Phases: j.phases,
		Machine: install.Host{Programs: tool.Exec{}}, Disks: storage.Host{Tools: tool.Exec{}, Programs: tool.Exec{}},
	}
	if _, err := os.Stat(efi.EfivarfsPath); err == nil {
		cfg.Variables = efi.Efivarfs(efi.EfivarfsPath)
	}
	result, err := install.Run(ctx, cfg)
	var failed *install.Error
	switch {
	case errors.As(err, &failed):
		return fail(failed.Exit, err, exitHint(failed.Exit))
	case err != nil:
		return err
	}
	return j.tell(result)
}

// tell ends a run that succeeded: on stdout, for people without --json.
func (j *installJob) tell(result event.Result) error {
	switch {
	case !event.Writes(j.phases):
		return j.stopped()
	case j.flags.json:
		return nil
	case !j.reaches(event.Finish):
		_, err := fmt.Fprintf(j.stdout, "stopped after %s: %s is half-written\n", j.phases[len(j.phases)-1], j.disks())
		return err
	}
	_, err := fmt.Fprintf(j.stdout, "installed %s (%s) onto %s: %s\n", result.Hostname, result.Kernel, result.Disk, j.clock)
	return err
}

func exitHint(code int) string {
	if code == exitResumable {
		return "the disk is half-written and does not boot: run the same command again"
	}
	return "nothing was written"
}
