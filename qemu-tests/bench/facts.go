package bench

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const factsNote = "By turns on the machine that the other figures are from."

// factRounds are many, because each takes no time.
const factRounds = 9

// facts compares vic-env with lshw.
func (s Suite) facts(ctx context.Context) ([]Row, error) {
	env := filepath.Join(filepath.Dir(s.Vic.Path), "vic-env")
	lshw, err := exec.LookPath("lshw")
	if err != nil {
		return nil, fmt.Errorf("%w (Debian package lshw; run scripts/setup)", err)
	}
	var ours, theirs []float64
	var peak int64
	for range factRounds {
		took, rss, err := run(ctx, env, "dump")
		if err != nil {
			return nil, err
		}
		ours, peak = append(ours, took.Seconds()), max(peak, rss)
		if took, _, err = run(ctx, lshw, "-json"); err != nil {
			return nil, err
		}
		theirs = append(theirs, took.Seconds())
	}
	how := fmt.Sprintf("median of %d", factRounds)
	return []Row{
		{"`vic-env dump` to `lshw -json`", Median(ours) / Median(theirs), 0.5, "x", how},
		{"`vic-env dump`", Median(ours), 0, "s", how},
		{"memory of `vic-env dump`", float64(peak) / megabyte, 60, "MB", "the most that was resident"},
	}, nil
}

// run runs a program, and returns how long it took and the most memory that it
// had, in bytes.
func run(ctx context.Context, name string, args ...string) (time.Duration, int64, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	began := time.Now()
	if _, err := cmd.Output(); err != nil {
		return 0, 0, fmt.Errorf("run %s: %w", name, err)
	}
	took := time.Since(began)
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, 0, fmt.Errorf("run %s: its use of memory is not known", name)
	}
	return took, usage.Maxrss << 10, nil // Linux counts in KiB
}
