package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/event"
)

// Vic is the program under measurement, run as users run it.
type Vic struct {
	Path  string // of bin/vic
	Cache string // its folder for downloads
}

// Run is how long a run of vic took, by this machine's clock.
type Run struct {
	Total  time.Duration
	Phases map[event.Phase]time.Duration
	Steps  map[string]time.Duration // "phase step"
	Sent   int64                    // bytes, to another machine before it was entered
}

// Run runs vic with the cache, without network, and times its events as they
// come.
func (v Vic) Run(ctx context.Context, args ...string) (Run, error) {
	return v.run(ctx, append(args, "--json", "--offline", "--cache", v.Cache)...)
}

// run runs vic with these arguments alone: events in JSON are among them.
func (v Vic) run(ctx context.Context, args ...string) (Run, error) {
	c := exec.CommandContext(ctx, v.Path, args...)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.StdoutPipe()
	if err != nil {
		return Run{}, err
	}
	start := time.Now()
	if err := c.Start(); err != nil {
		return Run{}, err
	}
	r, readErr := collect(event.NewDecoder(out), time.Now)
	err = errors.Join(readErr, c.Wait())
	r.Total = time.Since(start)
	if err != nil {
		return r, fmt.Errorf("vic %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return r, nil
}

// events is what collect reads.
type events interface{ Next() (event.Event, error) }

// collect reads events to their end. A phase lasts from its first event to
// its last one.
func collect(in events, now func() time.Time) (Run, error) {
	r := Run{Phases: map[event.Phase]time.Duration{}, Steps: map[string]time.Duration{}}
	phases, steps := map[event.Phase]time.Time{}, map[string]time.Time{}
	for {
		e, err := in.Next()
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return r, fmt.Errorf("read events: %w", err)
		}
		t, step := now(), string(e.Phase)+" "+e.Step
		if _, ok := phases[e.Phase]; !ok {
			phases[e.Phase] = t
		}
		r.Phases[e.Phase] = t.Sub(phases[e.Phase])
		if e.Phase == event.Enter && e.Step == "upload" && e.State == event.Done {
			r.Sent = e.Done
		}
		switch began, ok := steps[step]; {
		case e.State == event.Start:
			steps[step] = t
		case e.State == event.Done && ok:
			r.Steps[step] += t.Sub(began)
			delete(steps, step)
		}
	}
}

// Step is how long the step took whose "phase name" begins with prefix.
func (r Run) Step(prefix string) (time.Duration, error) {
	for name, took := range r.Steps {
		if strings.HasPrefix(name, prefix) {
			return took, nil
		}
	}
	return 0, fmt.Errorf("no event tells of %q: there are %v", prefix, r.Steps)
}

// WithoutPayloads is v with a cache that has everything but finished payloads:
// links to the files of the real one, in dir, on the same file system.
func (v Vic) WithoutPayloads(dir string) (Vic, error) {
	err := filepath.WalkDir(v.Cache, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(v.Cache, path)
		if err != nil {
			return err
		}
		to := filepath.Join(dir, name)
		switch {
		case name == "payloads" || name == "bundles":
			return fs.SkipDir
		case d.IsDir():
			return os.MkdirAll(to, 0o755)
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			return errors.Join(err, os.Symlink(target, to))
		}
		return os.Link(path, to)
	})
	if err != nil {
		return Vic{}, fmt.Errorf("copy cache: %w", err)
	}
	return Vic{v.Path, dir}, nil
}
