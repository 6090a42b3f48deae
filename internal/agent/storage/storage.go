// Package storage executes the steps of internal/plan/storage: it brings disks
// into the shape that a layout describes, mounts them, and closes them again.
//
// It decides nothing about the shape. Every step is looked at before it is done
// and is one of not started, started and done; what is found done is left as it
// is, so that a run which was interrupted anywhere is finished by running it
// again.
//
//	identity of the disks ─> what is there? ─┬─ done ───────────> "found done"
//	  (read again each time)                 ├─ not what it was ─> refused
//	                                         └─ to do ─> journal ─> do ─> what is there now? ─> journal
//
// Whether content is finished cannot be seen from its bytes: most formats look
// whole before they are. The table says it (see plan.TypeUnfinished), and where
// there is none, the Journal:
//
//	table on the disk      content               is
//	unfinished, or none    any                   made, unless the journal says that it was finished
//	finished               as the plan says      done, and never made again
//	finished               missing or different  refused
package storage

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/victorinix/vic/internal/event"
	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool"
)

// Config is one run.
type Config struct {
	// Steps are those that Run executes, in order. Steps of a plan that come
	// later (Mount after Create) are another run, of the same Executor or not.
	Steps   []plan.Step
	Disks   map[string]plan.Disk // name in the layout -> identity
	Root    string               // where the target is mounted, outside
	Secrets secret.Set
	Tools   tool.Runner
	Machine Machine
	Journal *Journal   // nil: none
	Sink    event.Sink // nil: event.Discard
}

// Error says where a run ended.
type Error struct {
	Exit  int // one of the codes above
	Phase event.Phase
	Step  string
	Err   error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %s: %v", e.Phase, e.Step, e.Err) }

func (e *Error) Unwrap() error { return e.Err }

// Executor executes steps one at a time.
type Executor struct {
	Config
	stack   stack
	written bool
	// seen are the disks that are there, as the step found them when it looked
	// first, or immediately before it wrote, or after that; nil: it has not looked.
	seen []plan.Disk
	// made are the things whose content was lost in this run, because they were
	// wiped or made: what the journal says about what stood on them is history.
	made map[string]bool
	// cleared are the disks, by name, that were wiped in this run.
	cleared                map[string]bool
	checked                bool // the programs are there
	foundDone, told, total int
}

// New makes an Executor. Config.Steps are all the steps that it will be given.
func New(c Config) *Executor {
	if c.Sink == nil {
		c.Sink = event.Discard
	}
	e := &Executor{Config: c, stack: newStack(c.Steps), made: map[string]bool{}, cleared: map[string]bool{}}
	for _, s := range c.Steps {
		if w, ok := s.Action.(plan.Wipe); ok {
			e.stack.wiped[e.name(w.Disk)] = w
		}
		if lasting(s.Action) {
			e.total++
		}
	}
	return e
}

// Written says whether something may have been written to a disk.
func (e *Executor) Written() bool { return e.written }

// Run executes the steps. Every error is an *Error.
func Run(ctx context.Context, c Config) error {
	e := New(c)
	for i, s := range c.Steps {
		if i == 0 || c.Steps[i-1].Phase != s.Phase {
			e.Sink.Emit(event.Event{Phase: s.Phase, State: event.Start})
		}
		e.Sink.Emit(event.Event{Phase: s.Phase, Step: s.Name, State: event.Start})
		note, err := e.Step(ctx, s)
		if err != nil {
			failed := &Error{Exit: ExitCode(err, e.written), Phase: s.Phase, Step: s.Name, Err: err}
			e.Sink.Emit(event.Event{Phase: s.Phase, Step: s.Name, State: event.Failed, Message: err.Error(), Exit: failed.Exit})
			return failed
		}
		e.Sink.Emit(event.Event{Phase: s.Phase, Step: s.Name, State: event.Done, Message: note})
		if i == len(c.Steps)-1 || c.Steps[i+1].Phase != s.Phase {
			e.Sink.Emit(event.Event{Phase: s.Phase, State: event.Done})
		}
	}
	return nil
}

// FoundDone is the note of a step that was done before.
const FoundDone = "found done"

// Step executes one step. The note is for people; a warning begins with
// "warning: ". It emits only progress: the events around a step are the
// caller's, as is the exit code: see ExitCode and Written.
func (e *Executor) Step(ctx context.Context, s plan.Step) (note string, err error) {
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	if !e.checked {
		if err := e.programs(); err != nil {
			return "", err
		}
		e.checked = true
	}
	w, err := e.work(s)
	if err != nil {
		return "", err
	}
	done, err := w.probe(ctx)
	if err != nil {
		return "", err
	}
	if done {
		return e.skip(ctx, s, w)
	}
	if !lasting(s.Action) {
		err := w.do(ctx)
		return w.told(), err
	}
	e.resuming(s)
	if err := e.Journal.record(s, stateStarted); err != nil {
		return "", err
	}
	if err := w.do(ctx); err != nil {
		return "", err
	}
	e.seen = nil // the result is looked for on the disk that is there now
	if done, err = w.after(ctx); err != nil {
		return "", fmt.Errorf("look at the result: %w", err)
	}
	if !done {
		return "", errors.New("it was done without an error, and is not there")
	}
	return w.told(), e.Journal.record(s, stateDone)
}

// skip is a step that was found done; what is not lasting of it is done again.
func (e *Executor) skip(ctx context.Context, s plan.Step, w work) (string, error) {
	if lasting(s.Action) {
		e.foundDone++
	}
	if w.ready != nil {
		if err := w.ready(ctx); err != nil {
			return "", err
		}
	}
	return FoundDone, nil
}

// resuming tells how far an earlier run got, before the first step that changes
// something.
func (e *Executor) resuming(s plan.Step) {
	if e.foundDone > e.told {
		e.told = e.total
		e.Sink.Emit(event.Event{Phase: s.Phase, Step: s.Name, State: event.Progress,
			Message: fmt.Sprintf("resuming: %d of %d steps found done", e.foundDone, e.total)})
	}
}

// work is how one step is executed.
type work struct {
	// probe says whether there is nothing to do.
	probe func(context.Context) (done bool, err error)
	do    func(context.Context) error
	// seen replaces probe after do; nil: what do says is believed.
	seen func(context.Context) (bool, error)
	// ready makes usable what is done and not active.
	ready func(context.Context) error
	// note is for people, after do.
	note func() string
}

func (w work) told() string {
	if w.note == nil {
		return ""
	}
	return w.note()
}

func (w work) after(ctx context.Context) (bool, error) {
	if w.seen == nil {
		return true, nil
	}
	return w.seen(ctx)
}

// never is the probe of what is done each time.
func never(context.Context) (bool, error) { return false, nil }

// always does something each time, without a trace on a disk.
func always(do func(context.Context) error) work { return work{probe: never, do: do} }

// lasting says whether a step leaves something on a disk by which a later run
// knows it, as opposed to checks and to what ends with the power.
func lasting(a plan.Action) bool {
	switch a := a.(type) {
	case plan.Hook:
		return creates(a)
	case plan.CheckState, plan.Release, plan.LUKSOpen, plan.ActivateVG, plan.AssembleArray, plan.ImportPool,
		plan.Mount, plan.SwapOn, plan.SwapOff, plan.Unmount, plan.Close, plan.Flush:
		return false
	}
	return true
}

// work finds how a step is executed.
func (e *Executor) work(s plan.Step) (work, error) {
	e.seen = nil
	switch a := s.Action.(type) {
	case plan.CheckState:
		return always(func(ctx context.Context) error { return e.checkState(ctx, a) }), nil
	case plan.Release:
		return e.release(s, a), nil
	case plan.Resize:
		return e.resize(s, a), nil
	case plan.Wipe:
		return e.wipe(s, a), nil
	case plan.WriteTable:
		return e.writeTable(s, a), nil
	case plan.Hook:
		return e.hook(s, a), nil
	case plan.Mkfs, plan.Subvolumes, plan.LUKSFormat, plan.CreateVG, plan.CreateLV, plan.CreateArray,
		plan.CreatePool, plan.CreateDataset, plan.MkfsBcachefs:
		return e.content(s)
	}
	return e.use(s)
}

// use finds how a step is executed that makes nothing.
func (e *Executor) use(s plan.Step) (work, error) {
	switch a := s.Action.(type) {
	case plan.LUKSOpen:
		return e.luksOpen(a), nil
	case plan.ActivateVG:
		return e.activateVG(a), nil
	case plan.AssembleArray:
		return e.assembleArray(a), nil
	case plan.ImportPool:
		return e.importPool(a), nil
	case plan.Mount:
		return e.mount(a), nil
	case plan.SwapOn:
		return e.swapOn(a), nil
	case plan.SwapOff:
		return always(func(ctx context.Context) error { return e.swapOff(ctx, a) }), nil
	case plan.Unmount:
		return always(e.unmount), nil
	case plan.Close:
		return always(func(ctx context.Context) error { return e.close(ctx, a) }), nil
	case plan.Flush:
		return always(func(ctx context.Context) error { return e.flush(a) }), nil
	}
	return work{}, fmt.Errorf("no way to execute %q", s.Action.Kind())
}

func (e *Executor) flush(a plan.Flush) error {
	d, err := e.findDisk(a.Disk)
	if err != nil {
		return err
	}
	if err := e.Machine.Flush(d.Device); err != nil {
		return fmt.Errorf("flush %s: %w", Describe(d), err)
	}
	return nil
}

// missing says whether an error means that something is not there.
func missing(err error) bool { return errors.Is(err, os.ErrNotExist) }
