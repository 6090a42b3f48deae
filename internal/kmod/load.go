package kmod

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Insert gives one module to the kernel and returns when its init function
// has. A module that is there already is no error.
type Insert func(file, params string) error

// Loader loads modules into the running kernel. It remembers how each attempt
// went, so that what failed is not tried again for every device. It is safe for
// concurrent use.
type Loader struct {
	// Insert is Finit, outside of tests.
	Insert Insert
	// Params are the parameters of a module, by its name.
	Params map[string]string
	// Parallel is how many modules one Load inserts at once.
	Parallel int

	mu       sync.Mutex
	attempts map[string]*attempt
}

// attempt is the insertion of one module. err is valid once over is closed.
type attempt struct {
	over chan struct{}
	err  error
}

// claim is an attempt as one Load sees it: its own, or that of a Load before or
// beside it.
type claim struct {
	*attempt
	mine bool
}

// Load loads names and what they need, and returns the names of the modules
// that it loaded, needed ones included. The error joins those of all modules
// that could not be loaded, now or before.
func (l *Loader) Load(ctx context.Context, t *Tree, names ...string) ([]string, error) {
	steps := t.Plan(names, l.loaded)
	batch := l.claim(steps)
	slots := make(chan struct{}, max(l.Parallel, 1))
	for i, s := range steps {
		if !batch[i].mine {
			continue
		}
		go func() {
			defer close(batch[i].over)
			if batch[i].err = wait(s, steps, batch); batch[i].err != nil {
				return
			}
			slots <- struct{}{}
			batch[i].err = l.insert(ctx, t, s)
			<-slots
		}()
	}
	return outcome(steps, batch)
}

// claim enters an attempt for each step that has none.
func (l *Loader) claim(steps []Step) []claim {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.attempts == nil {
		l.attempts = map[string]*attempt{}
	}
	batch := make([]claim, len(steps))
	for i, s := range steps {
		if a, ok := l.attempts[s.Name]; ok {
			batch[i] = claim{a, false}
			continue
		}
		batch[i] = claim{&attempt{over: make(chan struct{})}, true}
		l.attempts[s.Name] = batch[i].attempt
	}
	return batch
}

// wait returns when the steps before s are over, with an error when one that
// it needs has failed. It waits for softdeps only in its own batch: those of
// two batches may form a cycle.
func wait(s Step, steps []Step, batch []claim) error {
	for _, i := range s.After {
		if batch[i].mine {
			<-batch[i].over
		}
	}
	for _, i := range s.Needs {
		<-batch[i].over
		if batch[i].err != nil {
			return fmt.Errorf("load module %s: it needs %s", s.Name, steps[i].Name)
		}
	}
	return nil
}

func (l *Loader) insert(ctx context.Context, t *Tree, s Step) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := l.Insert(filepath.Join(t.dir, s.File), l.Params[s.Name]); err != nil {
		return fmt.Errorf("load module %s: %w", s.Name, err)
	}
	return nil
}

// loaded reports whether name is over and went well.
func (l *Loader) loaded(name string) bool {
	l.mu.Lock()
	a := l.attempts[name]
	l.mu.Unlock()
	if a == nil {
		return false
	}
	select {
	case <-a.over:
		return a.err == nil
	default:
		return false
	}
}

func outcome(steps []Step, batch []claim) (loaded []string, err error) {
	errs := make([]error, len(steps))
	for i, a := range batch {
		<-a.over
		errs[i] = a.err
		if a.mine && a.err == nil {
			loaded = append(loaded, steps[i].Name)
		}
	}
	return loaded, errors.Join(errs...)
}

// Finit is Insert by finit_module(2). The kernel decompresses .xz, .gz and
// .zst itself (CONFIG_MODULE_DECOMPRESS), also those of modules that it has: it looks
// at their names afterwards.
func Finit(file, params string) error {
	if state, err := os.ReadFile(filepath.Join("/sys/module", Name(file), "initstate")); err == nil && string(state) == "live\n" {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(file, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	err = unix.FinitModule(int(f.Fd()), params, flags)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}
