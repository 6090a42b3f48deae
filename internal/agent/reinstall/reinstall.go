// Package reinstall is the part of a reinstall that the RAM system does: it
// installs, from the stage that the running system has left on its own disk
// (package stage), the system that replaces it.
//
//	hop: make room, write the stage   only when the system before could not
//	verify                            every hash, the plan; nothing is written
//	commit                            one write: the RAM system is what boots
//	table                             with the stage, where it has none yet
//	partition ... finish              package install, around the stage
//	switch                            one write: the new system is what boots
//
// A power cut before the commit is followed by the system before; after it, by
// the RAM system, which goes on with what the stage's journal and the disk do
// not prove done; after the switch, by the new system. In that, the package
// finish takes the stage away.
//
// Whatever is doubtful before the commit ends in an *Unchanged: the reason is in
// the journal, and the machine goes back.
package reinstall

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/agent/install"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/direct"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/internal/stage/volume"
	"github.com/victorinix/vic/internal/tool"
)

// Config is a reinstall.
type Config struct {
	// Document came with the kernel that runs, and is trusted.
	Document stage.Document
	Sink     event.Sink
	// Facts scans the machine.
	Facts func(ctx context.Context) (envscan.Facts, error)
	// Tools, Machine, Disks and Variables are those of install.Config.
	Tools     tool.Runner
	Machine   install.Machine
	Disks     storage.Machine
	Variables efi.Variables
	// Dir is where the stage is mounted, read-only; Self is the program that the
	// new system runs once to take the stage away.
	Dir, Self string
	// Root is where the new system is mounted; empty means plan.Root.
	Root string
	// Hide replaces secrets in events.
	Hide func(secret.Set, event.Sink) event.Sink
}

// Unchanged is the error of an attempt that has left the system before as it was,
// and what that boots from.
type Unchanged struct{ Err error }

func (u *Unchanged) Error() string { return u.Err.Error() }

func (u *Unchanged) Unwrap() error { return u.Err }

// ExitCode is that of the design: nothing was written.
func (u *Unchanged) ExitCode() int { return storage.ExitIntact }

// run is a Config that is being executed.
type run struct {
	Config
	facts   envscan.Facts
	disk    plan.Disk
	dev     *direct.Device // the stage; nil as long as there is none
	journal *journal.Journal
	history journal.History
	secrets secret.Set
	boot    booter
	// hopped: the system before boots only with this RAM system's help, since a
	// file system of it is being shrunk.
	hopped bool
}

// Run installs. It returns nil when the new system is what boots next. An error
// that is an *Unchanged means that the system before does; any other, that a
// reset starts the RAM system again.
func Run(ctx context.Context, c Config) error {
	if c.Root == "" {
		c.Root = plan.Root
	}
	r := &run{Config: c}
	err := r.all(ctx)
	if r.dev != nil {
		err = errors.Join(err, r.dev.Close())
	}
	if err == nil {
		return nil
	}
	err = told{err, r.secrets.Redact(err.Error())}
	if r.history.Has(journal.Committed) || r.hopped {
		return err
	}
	return &Unchanged{err}
}

// told is an error whose text has no secrets.
type told struct {
	error
	text string
}

func (t told) Error() string { return t.text }

func (t told) Unwrap() error { return t.error }

func (r *run) all(ctx context.Context) error {
	if err := r.find(ctx); err != nil {
		return r.failed(ctx, err)
	}
	if r.history.Has(journal.Installed) {
		r.tell("the journal says that the new system is installed: starting that")
	}
	p, err := r.prepare(ctx)
	if err != nil {
		return r.failed(ctx, err)
	}
	if err := r.install(ctx, p); err != nil {
		return r.failed(ctx, err)
	}
	return nil
}

// failed notes why, where the system before can read it. Secrets stay out.
func (r *run) failed(ctx context.Context, err error) error {
	text := r.secrets.Redact(err.Error())
	if r.journal == nil {
		return errors.Join(err, r.leaveOutcome(context.WithoutCancel(ctx), text))
	}
	return errors.Join(err, r.note(journal.Record{State: journal.Failed, Message: text}))
}

func (r *run) note(rec journal.Record) error {
	err := r.journal.Append(rec)
	r.history = r.journal.History()
	return err
}

// tell is for people.
func (r *run) tell(format string, args ...any) {
	r.Sink.Emit(event.Event{Phase: event.Scan, Step: "stage", State: event.Progress, Message: fmt.Sprintf(format, args...)})
}

// find finds the disk and opens the stage; one that the system before could not
// make is made.
func (r *run) find(ctx context.Context) (err error) {
	r.Sink.Emit(event.Event{Phase: event.Scan, State: event.Start})
	if r.boot, err = newBooter(r.Config); err != nil {
		return err
	}
	if err := r.scan(ctx); err != nil {
		return err
	}
	err = r.openStage()
	if err != nil && r.Document.Hop != nil {
		r.tell("there is no stage yet (%v)", err)
		if err = r.hop(ctx); err == nil {
			err = r.openStage()
		}
	}
	if err != nil {
		return err
	}
	if err := errors.Join(r.note(journal.Record{State: journal.Started}), r.forgetHopSecrets(ctx)); err != nil {
		return err
	}
	r.Sink.Emit(event.Event{Phase: event.Scan, State: event.Done, Message: fmt.Sprintf("stage %s on %s", r.Document.ID, storage.Describe(r.disk))})
	return nil
}

// scan reads the facts and finds the disk.
func (r *run) scan(ctx context.Context) (err error) {
	if r.facts, err = r.Facts(ctx); err != nil {
		return err
	}
	r.disk, err = plan.Select(r.Document.Disk, r.facts)
	return err
}

// openStage opens the stage where the document says it is, if it is the
// document's.
func (r *run) openStage() error {
	if err := r.placed(r.Document.Stage, stage.Label); err != nil {
		return err
	}
	dev, err := journal.OpenStage(r.disk.Device, r.Document.Stage)
	if err != nil {
		return err
	}
	if err = r.isOurs(dev); err == nil {
		r.journal, err = journal.Open(dev, r.Document.ID)
	}
	if err != nil {
		return errors.Join(err, dev.Close())
	}
	r.dev, r.history = dev, r.journal.History()
	return nil
}

// isOurs compares the stage's file system and its document with the document that
// came with the kernel, and completes that.
func (r *run) isOurs(dev *direct.Device) error {
	v, err := volume.Open(dev)
	if err != nil {
		return fmt.Errorf("open stage on %s: %w", storage.Describe(r.disk), err)
	}
	if v.VolumeID() != r.Document.VolumeID() {
		return fmt.Errorf("open stage on %s: its file system is %08x, expected %08x", storage.Describe(r.disk), v.VolumeID(), r.Document.VolumeID())
	}
	own, err := v.Document()
	if err == nil {
		r.Document, err = r.Document.Completed(own)
	}
	return err
}

// prepare verifies everything that can be verified, and makes the plan.
func (r *run) prepare(ctx context.Context) (prepared, error) {
	start := event.Event{Phase: event.Scan, Step: "stage", State: event.Progress, Message: "verifying every file of the stage"}
	r.Sink.Emit(start)
	last := time.Now()
	err := volume.Verify(ctx, r.dev, r.Document, func(done, total int64) {
		if time.Since(last) > time.Second/4 {
			last = time.Now()
			ev := start
			ev.Message, ev.Done, ev.Total = "", done, total
			r.Sink.Emit(ev)
		}
	})
	if err != nil {
		return prepared{}, err
	}
	return r.plan()
}

// install executes the plan, with the commit before its first write and the
// switch after its last.
func (r *run) install(ctx context.Context, p prepared) error {
	if r.history.Has(journal.Bootable) {
		r.tell("found done: everything but the last write")
		return r.switchOver(ctx, p)
	}
	if err := r.show(ctx, p); err != nil {
		return err
	}
	part := disk.PartitionPath(r.disk.Device, r.Document.Stage.Number)
	if err := r.Disks.Mount(ctx, part, r.Dir, "vfat", []string{"ro", "nodev", "nosuid", "noexec"}); err != nil {
		return err
	}
	cfg := install.Config{
		Plan: p.plan, Secrets: r.secrets, Sink: r.Sink, Tools: r.boot.tools(r.disk), Machine: r.Machine, Disks: p.disks, Variables: r.Variables, HostKeys: handover.KeyDir, Root: r.Root,
		Proceed:   func(ctx context.Context) error { return r.proceed(ctx, p) },
		PhaseDone: func(ctx context.Context, phase event.Phase) error { return r.phaseDone(ctx, p, phase) },
	}
	_, err := install.Run(ctx, cfg)
	return errors.Join(err, r.Disks.Unmount(context.WithoutCancel(ctx), r.Dir))
}

// show has the kernel know the partitions. Of a GPT whose first copy was cut off in
// the middle it has read none (block/partitions/efi.c, find_valid_gpt); the scan goes
// by the second. A stage that is in a file becomes a partition for the kernel alone.
func (r *run) show(ctx context.Context, p prepared) error {
	t, err := r.table()
	if err != nil {
		return err
	}
	if r.inFile(*t) && p.disks.table != nil {
		t = p.disks.table
	}
	return r.Disks.ShowTable(ctx, r.disk.Device, *t)
}

// proceed is called before the first write. What was found done is told.
func (r *run) proceed(ctx context.Context, p prepared) error {
	if !r.history.Has(journal.Committed) {
		if err := r.commit(ctx, p); err != nil {
			return err
		}
	} else {
		r.tell("found done: %s", strings.Join(p.found, ", "))
	}
	if err := p.disks.become(ctx); err != nil {
		return err
	}
	if p.resumed {
		return nil
	}
	return r.note(journal.Record{State: journal.PhaseDone, Phase: event.Verify, Plan: p.hash})
}

// commit makes the RAM system what a reset starts.
func (r *run) commit(ctx context.Context, p prepared) error {
	if err := r.note(journal.Record{State: journal.Verified}); err != nil {
		return err
	}
	if err := r.boot.prepare(ctx, r); err != nil {
		return err
	}
	if err := r.note(journal.Record{State: journal.Committing}); err != nil {
		return err
	}
	if err := r.boot.commit(ctx, r, p); err != nil {
		return err
	}
	r.tell("from here on this machine starts the installer until the new system is whole")
	return r.note(journal.Record{State: journal.Committed})
}

// phaseDone puts a phase on the disk, and into the journal.
func (r *run) phaseDone(ctx context.Context, p prepared, phase event.Phase) error {
	if !event.Writes([]event.Phase{phase}) {
		return nil
	}
	switch phase {
	case event.Inject:
		if err := r.leaveFinish(p); err != nil {
			return err
		}
	case event.Boot:
		if err := r.boot.collect(r.Root); err != nil {
			return err
		}
	}
	if err := r.flush(); err != nil {
		return err
	}
	if err := r.note(journal.Record{State: journal.PhaseDone, Phase: phase, Plan: p.hash}); err != nil {
		return err
	}
	if phase != event.Finish {
		return nil
	}
	data, err := r.boot.complete(ctx, r, p)
	if err != nil {
		return err
	}
	if err := r.note(journal.Record{State: journal.Bootable, Data: data}); err != nil {
		return err
	}
	return r.switchOver(ctx, p)
}

// switchOver makes the new system what a reset starts.
func (r *run) switchOver(ctx context.Context, p prepared) error {
	bootable, _ := r.history.Last(journal.Bootable)
	if err := r.boot.switchOver(ctx, r, p, bootable.Data); err != nil {
		return fmt.Errorf("make the new system the one that boots: %w", err)
	}
	return r.note(journal.Record{State: journal.Installed})
}

// flush has everything on the disk.
func (r *run) flush() error {
	disks := []string{r.disk.Device}
	syncAll()
	for _, d := range disks {
		if err := r.Disks.Flush(d); err != nil {
			return fmt.Errorf("flush %s: %w", d, err)
		}
	}
	return nil
}

// Find reads the document of an attempt from the initramfs; ok is false when
// this is no reinstall.
func Find(path string) (d stage.Document, ok bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return d, false, nil
	}
	if err != nil {
		return d, false, fmt.Errorf("read stage document: %w", err)
	}
	d, err = stage.Decode(f)
	return d, true, errors.Join(err, f.Close())
}
