// Package install executes a plan: it turns the steps that internal/plan has
// computed into effects on the machine, in their order and from nothing but
// their values.
//
// It decides nothing: what to do is in the plan, and a step that cannot be done
// as it is written ends the run. What goes wrong before the first write leaves
// the disk as it was, and the exit code says so.
//
//	verify ──> partition ──> format ──> copy ──> inject ──> boot ──> finish
//	  exit 3, 4   │                       exit 5
//	              └─ the identity of the disk is read again before each write
//
// Whatever the end, nothing stays mounted below plan.Root.
package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/internal/agent/download"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/agent/within"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool"
)

// Config is one run.
type Config struct {
	Plan    plan.Plan
	Secrets secret.Set
	Sink    event.Sink // nil: event.Discard
	// Tools runs programs here, and with Cmd.Root inside the target.
	Tools tool.Runner
	// Phases limits the run; empty means all.
	Phases []event.Phase
	// Disks are the block devices and mounts that are worked on, Machine is all
	// else of the machine.
	Disks   storage.Machine
	Machine Machine
	// Variables are the firmware's; nil when it is no UEFI.
	Variables efi.Variables
	// Root is where the target is mounted; empty means plan.Root.
	Root string
	// Proceed is called once, between the phase verify and the first step that
	// writes. After an error nothing is written. Nil: nobody is waited for.
	// Verified is called just before the event that ends the phase verify of a run
	// that will call Proceed.
	Proceed  func(ctx context.Context) error
	Verified func()
	// PhaseDone is called when all steps of a phase are done, before the event
	// that says so. From the phase copy on to boot the target is mounted at Root;
	// at the end of finish nothing is any more. Nil: nobody has more to do.
	PhaseDone func(ctx context.Context, p event.Phase) error
	// Receive writes a payload of size bytes that somebody sends to f, and to the
	// disk beneath it. Nil: nobody sends one.
	Receive func(ctx context.Context, f *os.File, size int64, progress func(done int64)) error
	// HostKeys is the directory with the SSH host keys of the system before.
	HostKeys string
}

// Error says where a run ended. Exit is one of the codes of package storage.
type Error struct {
	Exit  int
	Phase event.Phase
	Step  string
	Err   error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s: %v", e.Phase, e.Step, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Run executes the plan. On success the result is complete, and the event that
// ends the phase "finish" carries it. Every error is an *Error.
func Run(ctx context.Context, c Config) (event.Result, error) {
	r := run{Config: c, result: c.Plan.Result}
	if r.Sink == nil {
		r.Sink = event.Discard
	}
	if r.Root == "" {
		r.Root = plan.Root
	}
	r.storage = storage.New(storage.Config{
		Steps: storageSteps(c.Plan), Disks: disksOf(c.Plan), Root: r.Root, Secrets: c.Secrets,
		Tools: c.Tools, Machine: c.Disks, Sink: r.Sink,
	})
	err := r.steps(ctx)
	if err == nil {
		return r.result, nil
	}
	// Not with ctx: what is mounted and open goes away also when the run is
	// cancelled.
	if lost := r.leave(context.WithoutCancel(ctx)); lost != nil {
		err.Err = errors.Join(err.Err, lost)
	}
	r.Sink.Emit(event.Event{Phase: err.Phase, Step: err.Step, State: event.Failed, Message: err.Err.Error(), Exit: err.Exit})
	return r.result, err
}

// run is a Config that is being executed.
type run struct {
	Config
	result  event.Result
	storage *storage.Executor
	filled  bool // something may have been written to the mounted target
	// proceeds: whoever had to be asked before the first write has agreed.
	proceeds bool
}

// disksOf are the identities of the layout's disks.
func disksOf(p plan.Plan) map[string]plan.Disk {
	disks := map[string]plan.Disk{}
	for _, d := range p.Storage.Disks {
		disks[d.Name] = d.Disk
	}
	return disks
}

// storageSteps are the steps that package storage executes.
func storageSteps(p plan.Plan) []plan.Step {
	return slices.DeleteFunc(slices.Clone(p.Steps), func(s plan.Step) bool { return ours(s.Action) })
}

// ours says whether this package executes an action, not package storage.
func ours(a plan.Action) bool {
	switch a.(type) {
	case plan.CheckMemory, plan.CheckSecrets, plan.CheckTools, plan.CheckHostKeys, plan.CheckPayload,
		plan.CheckDownload, plan.DownloadPayload, plan.ReceivePayload, plan.CopyPayload, plan.RemovePayload,
		plan.WriteFile, plan.WriteSecret, plan.PutFile, plan.EnableUnit, plan.Symlink, plan.AddUser, plan.HostKeys, plan.Locale,
		plan.SystemdBoot, plan.Initramfs, plan.GRUB, plan.CheckBoot, plan.BootEntry:
		return true
	}
	return false
}

// leave unmounts and closes everything, as the plan's end would.
func (r *run) leave(ctx context.Context) error {
	var errs []error
	for _, s := range r.Plan.Storage.Unmount {
		switch s.Action.(type) {
		case plan.UnmountAll, plan.Close:
			_, err := r.storage.Step(ctx, s)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// steps executes the steps of the wanted phases.
func (r *run) steps(ctx context.Context) *Error {
	steps := r.wanted()
	if err := r.able(steps); err != nil {
		return err
	}
	for i, s := range steps {
		if i == 0 || steps[i-1].Phase != s.Phase {
			if err := r.enter(ctx, steps, i); err != nil {
				return err
			}
		}
		if err := r.step(ctx, s); err != nil {
			return err
		}
	}
	if n := len(steps); n > 0 {
		return r.phaseDone(ctx, steps[n-1].Phase)
	}
	return nil
}

// able refuses what could only fail once disks are written to.
func (r *run) able(steps []plan.Step) *Error {
	for _, s := range steps {
		if _, ok := s.Action.(plan.ReceivePayload); ok && r.Receive == nil {
			return &Error{Exit: storage.ExitRefused, Phase: s.Phase, Step: s.Name, Err: errors.New("nobody sends a payload to this machine: it has to be on a disk or in a file here")}
		}
	}
	return nil
}

// enter ends the phase before step i and begins its own. Between verify and
// what writes somebody may have to agree.
func (r *run) enter(ctx context.Context, steps []plan.Step, i int) *Error {
	ask := !r.proceeds && r.Proceed != nil && event.Writes([]event.Phase{steps[i].Phase})
	if ask && r.Verified != nil {
		r.Verified()
	}
	if i > 0 {
		if err := r.phaseDone(ctx, steps[i-1].Phase); err != nil {
			return err
		}
	}
	if ask {
		if err := r.Proceed(ctx); err != nil {
			return &Error{Exit: storage.ExitIntact, Phase: event.Verify, Step: "acknowledgement", Err: err}
		}
		r.proceeds = true
	}
	r.Sink.Emit(event.Event{Phase: steps[i].Phase, State: event.Start})
	return nil
}

func (r *run) wanted() []plan.Step {
	if len(r.Phases) == 0 {
		return r.Plan.Steps
	}
	var steps []plan.Step
	for _, s := range r.Plan.Steps {
		if slices.Contains(r.Phases, s.Phase) {
			steps = append(steps, s)
		}
	}
	return steps
}

func (r *run) phaseDone(ctx context.Context, p event.Phase) *Error {
	if r.PhaseDone != nil {
		if err := r.PhaseDone(ctx, p); err != nil {
			return &Error{Exit: r.exit(err), Phase: p, Step: "end of the phase", Err: err}
		}
	}
	e := event.Event{Phase: p, State: event.Done}
	if p == event.Finish {
		e.Result = &r.result
	}
	r.Sink.Emit(e)
	return nil
}

func (r *run) step(ctx context.Context, s plan.Step) *Error {
	r.Sink.Emit(event.Event{Phase: s.Phase, Step: s.Name, State: event.Start})
	err := context.Cause(ctx)
	var note string
	if err == nil {
		note, err = r.do(ctx, s)
	}
	if err != nil {
		return &Error{Exit: r.exit(err), Phase: s.Phase, Step: s.Name, Err: err}
	}
	r.Sink.Emit(event.Event{Phase: s.Phase, Step: s.Name, State: event.Done, Message: note})
	return nil
}

func (r *run) exit(err error) int {
	return storage.ExitCode(err, r.filled || r.storage.Written())
}

// progress reports the bytes that a step has done.
func (r *run) progress(s plan.Step, total int64) func(done int64) {
	return func(done int64) {
		r.Sink.Emit(event.Event{Phase: s.Phase, Step: s.Name, State: event.Progress, Done: done, Total: total})
	}
}

// do executes one action. The note is for people; a warning begins with
// "warning: ".
func (r *run) do(ctx context.Context, s plan.Step) (note string, err error) {
	switch a := s.Action.(type) {
	case plan.CheckMemory:
		return "", checkMemory(a, "/proc/meminfo")
	case plan.CheckSecrets:
		return "", checkSecrets(a, r.Secrets)
	case plan.CheckTools:
		return "", checkTools(a, r.Machine)
	case plan.CheckHostKeys:
		return "", checkHostKeys(r.HostKeys)
	case plan.CheckDownload:
		return "", download.Check(ctx, a.URL, a.Size)
	case plan.CheckPayload:
		return "", r.checkPayload(ctx, a, r.progress(s, a.Payload.Size))
	}
	if !ours(s.Action) {
		if s.Phase == event.Copy {
			if err := os.MkdirAll(r.Root, 0o755); err != nil {
				return "", fmt.Errorf("make mount point: %w", err)
			}
		}
		return r.storage.Step(ctx, s)
	}
	r.filled = true
	return r.fill(ctx, s)
}

// fill executes the actions on the mounted target.
func (r *run) fill(ctx context.Context, s plan.Step) (note string, err error) {
	in := target{root: within.Root(r.Root), tools: r.Tools, machine: r.Machine, disks: r.Disks, storage: r.Plan.Storage, node: r.storage.Path}
	switch a := s.Action.(type) {
	case plan.ReceivePayload:
		return "", r.receivePayload(ctx, in, a, r.progress(s, a.Size))
	case plan.DownloadPayload:
		return "", in.downloadPayload(ctx, a, r.progress(s, a.Size))
	case plan.CopyPayload:
		return r.copyPayload(ctx, a, r.progress(s, a.Payload.TreeSize))
	case plan.RemovePayload:
		return "", in.remove(a.Path)
	case plan.WriteFile:
		return "", in.writeFile(a)
	case plan.WriteSecret:
		key, err := r.storage.Key(a.Key)
		if err != nil {
			return "", fmt.Errorf("write %s: %w", a.Path, err)
		}
		return "", in.writeSecret(a, key)
	case plan.PutFile:
		return "", in.putFile(a, r.Secrets)
	case plan.EnableUnit:
		return "", in.enableUnit(ctx, a.Name)
	case plan.Symlink:
		return "", in.symlink(a)
	case plan.AddUser:
		return "", in.addUser(ctx, a.User, r.Secrets)
	case plan.HostKeys:
		r.result.HostKeys, err = in.hostKeys(ctx, a, r.HostKeys)
		return "", err
	case plan.Locale:
		return "", in.locale(ctx, a.Name)
	case plan.SystemdBoot:
		return in.systemdBoot(a)
	case plan.Initramfs:
		return in.initramfs(ctx, a)
	case plan.GRUB:
		return in.grub(ctx, a)
	case plan.CheckBoot:
		return "", in.checkBoot(a)
	case plan.BootEntry:
		return bootEntry(a, r.Variables), nil
	}
	return "", fmt.Errorf("no way to execute %q", s.Action.Kind())
}
