package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/agent/install"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/tool"
)

// here installs onto a disk of this machine that nothing uses.
func (j *installJob) here(ctx context.Context) (err error) {
	if os.Getuid() != 0 && !j.flags.dryRun {
		return fail(exitRefused, fmt.Errorf("install onto %s: not root", j.flags.disk), "run it with sudo, or try it with --vm first")
	}
	j.phase(event.Scan, event.Start)
	facts, err := envscan.Scan(ctx, envscan.Config{Root: "/"})
	if err != nil {
		return err
	}
	j.phase(event.Scan, event.Done)
	disk, err := j.selectDisk(facts)
	if err != nil {
		return err
	}
	if j.env, err = j.flags.archive.buildEnv(j.sink); err != nil {
		return err
	}
	p, err := j.payload(ctx)
	if err != nil {
		return err
	}
	req, err := j.request(p, request.Source{Path: p.Path("payload.erofs")}, disk.Selector(), request.FinishStay)
	if err != nil {
		return err
	}
	steps, err := plan.New(req, facts, j.source.secrets.Names())
	if err != nil {
		return fail(exitRefused, err, "nothing was written; `vic install --vm` tries the same in a virtual machine")
	}
	if j.flags.dryRun {
		return j.showPlan(steps)
	}
	if err := j.confirm(steps); err != nil {
		return err
	}
	return j.execute(ctx, steps)
}

// selectDisk refuses a wrong or busy disk before the payload is built.
func (j *installJob) selectDisk(facts envscan.Facts) (plan.Disk, error) {
	disk, err := plan.Select(request.DiskSelector{Device: j.flags.disk}, facts)
	if err != nil {
		return disk, fail(exitRefused, err, "give a whole disk, not a partition")
	}
	for _, d := range facts.HW.Disk {
		if "/dev/"+d.Name == disk.Device && len(d.InUse) > 0 {
			return disk, fail(exitRefused, fmt.Errorf("%s is in use: %s", disk, strings.Join(d.InUse, "; ")),
				"unmount it, or name another disk; nothing was written")
		}
	}
	return disk, nil
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
	fmt.Fprintf(j.stderr, "Everything on %s will be lost. Type %s to go on: ", p.Disk, p.Disk.Device)
	answer, err := bufio.NewReader(j.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read confirmation: %w", err)
	}
	if strings.TrimSpace(answer) != p.Disk.Device {
		return fail(exitRefused, fmt.Errorf("not confirmed: nothing was written to %s", p.Disk), "--yes goes on without asking")
	}
	return nil
}

func (j *installJob) execute(ctx context.Context, p plan.Plan) error {
	secrets, err := hashPassword(j.source.secrets)
	if err != nil {
		return err
	}
	var phases []event.Phase
	for _, name := range j.flags.phases {
		phases = append(phases, event.Phase(name))
	}
	cfg := install.Config{Plan: p, Secrets: secrets, Sink: j.sink, Tools: tool.Exec{}, Phases: phases, Machine: install.Host{Tools: tool.Exec{}, Programs: tool.Exec{}}}
	if _, err := os.Stat(efi.EfivarfsPath); err == nil {
		cfg.Variables = efi.Efivarfs(efi.EfivarfsPath)
	}
	result, err := install.Run(ctx, cfg)
	var failed *install.Error
	if errors.As(err, &failed) {
		return fail(failed.Exit, err, exitHint(failed.Exit))
	}
	if err != nil || j.flags.json {
		return err
	}
	_, err = fmt.Fprintf(j.stdout, "installed %s (%s) onto %s: %s\n", result.Hostname, result.Kernel, result.Disk, j.clock)
	return err
}

func exitHint(code int) string {
	if code == exitResumable {
		return "the disk is half-written and does not boot: run the same command again"
	}
	return "nothing was written"
}
