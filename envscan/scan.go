package envscan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/victorinix/vic/disk/sysfs"
)

// Config says what to scan.
type Config struct {
	// Root holds /sys, /proc, /dev and /etc; empty is the running system.
	// Netlink, ioctls and /dev/kvm are only asked of the running system.
	Root string
	// Timeout bounds each probe, and so what a device that does not answer can
	// cost; 0 is 10 s.
	Timeout time.Duration
	// Only limits the scan to probes that find something at or below these
	// paths, such as "hw.nic"; empty is all.
	Only []string
	// Wake allows to ask sleeping disks for their health, which starts them, and to
	// have wireless cards listen for networks, which takes them seconds.
	Wake bool
}

const defaultTimeout = 10 * time.Second

// scanner is what one probe works with, and where it notes what it could not
// read. Probes run at the same time, each with a scanner of its own: one that
// is given up on goes on writing to its own.
type scanner struct {
	root sysfs.Root
	// live: root is the running system, so that its kernel may be asked too.
	live bool
	wake bool
	// privileged: what is denied is denied to root.
	privileged bool
	gaps       []Gap
	// open opens a device or image for reading, at a path of this system.
	open func(path string) (device, error)
	// links is netLinks; nil: only what files tell.
	links func() (map[string]netLink, error)
}

func newScanner(c Config) *scanner {
	s := &scanner{root: sysfs.Root(c.Root), privileged: os.Geteuid() == 0, wake: c.Wake, open: openDevice}
	if c.Root == "" || c.Root == "/" {
		s.root, s.live, s.links = "/", true, netLinks
	}
	return s
}

// fork is a scanner for another probe.
func (s *scanner) fork() *scanner {
	f := *s
	f.gaps = nil
	return &f
}

func (c Config) timeout() time.Duration { return cmp.Or(c.Timeout, defaultTimeout) }

// Scan finds out what the machine is. It needs no privilege: what it could not
// read is in Scan.Gaps. The error is for a context that ended and for a root
// without /sys or /proc.
func Scan(ctx context.Context, c Config) (Facts, error) {
	only, err := statics(c.Only)
	if err != nil {
		return Facts{}, fmt.Errorf("scan machine: %w", err)
	}
	return newScanner(c).scan(ctx, c.timeout(), only)
}

func (s *scanner) scan(ctx context.Context, timeout time.Duration, only []string) (Facts, error) {
	for _, dir := range []string{"sys", "proc"} {
		if names, err := s.root.Names(dir); err != nil || len(names) == 0 {
			return Facts{}, fmt.Errorf("scan machine: /%s is not there", dir)
		}
	}
	f := Facts{Schema: Schema, Scan: Report{Version: version(), Privileged: s.privileged, Captured: !s.live, Only: only}}
	s.runAll(ctx, timeout, chosen(only), &f)
	f.Scan.Gaps = s.sortedGaps()
	if err := ctx.Err(); err != nil {
		return Facts{}, fmt.Errorf("scan machine: %w", context.Cause(ctx))
	}
	return f, nil
}

// gap notes that the fact at a path (in the form of Gap.Fact) was not read from
// a file. What does not exist is no gap.
func (s *scanner) gap(fact, path string, err error) {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return
	}
	g := Gap{Fact: fact, Path: path, Why: reason(err)}
	if errors.Is(err, fs.ErrPermission) && !s.privileged {
		g.Need = "root"
	}
	if !slices.Contains(s.gaps, g) {
		s.gaps = append(s.gaps, g)
	}
}

// reason is an error without the path that it repeats.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

func (s *scanner) sortedGaps() []Gap {
	slices.SortFunc(s.gaps, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(a.Fact, b.Fact), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Why, b.Why))
	})
	return append([]Gap{}, s.gaps...) // [] in JSON, not null
}

// text reads a file that may be missing, for a fact; path is absolute.
func (s *scanner) text(fact, path string) string {
	place, err := s.place(path)
	var v string
	if err == nil {
		v, err = s.root.Text(place)
	}
	s.gap(fact, path, err)
	return v
}

func (s *scanner) exists(path string) bool {
	place, err := s.place(path)
	if err == nil {
		_, err = s.root.Stat(place)
	}
	return err == nil
}

// place is where a file is: links of a captured system's settings lead to files of
// that system, and not of this one.
func (s *scanner) place(path string) (string, error) {
	if s.live || !strings.HasPrefix(path, "/etc/") {
		return path, nil
	}
	return s.follow(path)
}
