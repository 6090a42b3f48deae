package envscan

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// prober is one part of a scan. All run at the same time, each with its own time
// limit, and cannot hang, fail or crash the others.
type prober struct {
	name string
	// facts are the paths that it fills: what is missing when it is given up on.
	facts []string
	// run looks, and returns what puts its findings into the document. When ctx
	// ends it returns what it has; if it does not, it is left behind.
	run func(ctx context.Context, s *scanner) func(*Facts)
}

// probes are all of them. Their order is that of the document.
var probes = slices.Concat(machineProbes, diskProbes, nicProbes, busProbes, netProbes, osProbes, stateProbes)

// grace is how long a probe whose time is over may take to return what it has.
const grace = 500 * time.Millisecond

var errTimeout = errors.New("it did not answer in time")

// chosen are the probes that fill something at, above or below one of the paths.
func chosen(only []string) []prober {
	if len(only) == 0 {
		return probes
	}
	var list []prober
	for _, p := range probes {
		if overlaps(p.facts, only) {
			list = append(list, p)
		}
	}
	return list
}

func overlaps(a, b []string) bool {
	for _, x := range a {
		for _, y := range b {
			if x == y || strings.HasPrefix(x, y+".") || strings.HasPrefix(y, x+".") {
				return true
			}
		}
	}
	return false
}

// finding is what a probe came to.
type finding struct {
	apply func(*Facts)
	gaps  []Gap
}

// runAll fills f, in the order of the probes.
func (s *scanner) runAll(ctx context.Context, timeout time.Duration, list []prober, f *Facts) {
	var pending []<-chan finding
	for _, p := range list {
		pending = append(pending, s.start(ctx, timeout, p))
	}
	for _, c := range pending {
		got := <-c
		s.gaps = append(s.gaps, got.gaps...)
		if got.apply != nil {
			got.apply(f)
		}
	}
}

// start runs a probe; the channel always gets exactly one finding.
func (s *scanner) start(ctx context.Context, timeout time.Duration, p prober) <-chan finding {
	out, done := make(chan finding, 1), make(chan finding, 1)
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	own := s.fork()
	go func() {
		defer func() {
			if crash := recover(); crash != nil {
				done <- finding{gaps: p.missing(fmt.Sprintf("a defect in vic, please report it: %v", crash))}
			}
		}()
		apply := p.run(ctx, own)
		done <- finding{apply, own.gaps}
	}()
	go func() {
		defer cancel()
		select {
		case got := <-done:
			out <- got
			return
		case <-ctx.Done():
		}
		select {
		case got := <-done:
			out <- got
		case <-time.After(grace):
			out <- finding{gaps: p.missing(context.Cause(ctx).Error())}
		}
	}()
	return out
}

// missing are the gaps of a probe that came to nothing.
func (p prober) missing(why string) []Gap {
	var gaps []Gap
	for _, fact := range p.facts {
		gaps = append(gaps, Gap{Fact: fact, Path: "probe " + p.name, Why: why})
	}
	return gaps
}

// version is that of the program, from the build's version control stamp.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}
