package envscan

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/victorinix/vic/disk/sysfs"
)

// Config says what to scan.
type Config struct {
	// Root holds /sys, /proc, /dev and /etc; empty is the running system.
	// Netlink is only asked for the running system.
	Root string
	// Timeout bounds what a device that does not answer can cost; 0 is 10 s.
	Timeout time.Duration
}

const defaultTimeout = 10 * time.Second

// scanner collects facts and gaps. root is asked for files, links for what only
// netlink tells.
type scanner struct {
	root  sysfs.Root
	links func() (map[string]netLink, error)
	// privileged: what is denied is denied to root.
	privileged bool
	gaps       []Gap
	// open opens a device or image for reading, at a path of this system.
	open func(path string) (device, error)
}

func newScanner(c Config) *scanner {
	s := &scanner{root: sysfs.Root(c.Root), privileged: os.Geteuid() == 0, open: openDevice}
	if c.Root == "" || c.Root == "/" {
		s.root, s.links = "/", netLinks
	}
	return s
}

func (c Config) timeout() time.Duration { return cmp.Or(c.Timeout, defaultTimeout) }

// Scan finds out what the machine is. It needs no privilege: what it could not
// read is in Scan.Gaps. The error is for a context that ended and for a root
// without /sys or /proc.
func Scan(ctx context.Context, c Config) (Facts, error) {
	return newScanner(c).scan(ctx, c.timeout())
}

func (s *scanner) scan(ctx context.Context, timeout time.Duration) (Facts, error) {
	for _, dir := range []string{"sys", "proc"} {
		if names, err := s.root.Names(dir); err != nil || len(names) == 0 {
			return Facts{}, fmt.Errorf("scan machine: /%s is not there", dir)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	f := Facts{Schema: Schema}
	f.HW.Arch = s.arch()
	f.HW.Firmware = s.firmware(f.HW.Arch)
	f.HW.CPU = s.cpu()
	f.HW.DMI = s.dmi()
	f.HW.Memory.Total, f.State.MemoryAvailable = s.memory()
	f.HW.Disk, f.HW.Volume = s.disks(ctx)
	f.HW.NIC, f.State.Links = s.nics()
	f.OS = s.os()
	f.Scan.Gaps = s.sortedGaps()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, errTimeout) {
		return Facts{}, fmt.Errorf("scan machine: %w", err)
	}
	return f, nil
}

var errTimeout = errors.New("it did not answer in time")

// gap notes that something was not read. What does not exist is no gap.
func (s *scanner) gap(path string, err error) {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return
	}
	g := Gap{Path: path, Why: reason(err)}
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
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Why, b.Why))
	})
	return append([]Gap{}, s.gaps...) // [] in JSON, not null
}

// text reads a file that may be missing; path is absolute.
func (s *scanner) text(path string) string {
	v, err := s.root.Text(path)
	s.gap(path, err)
	return v
}

func (s *scanner) exists(path string) bool {
	_, err := s.root.Stat(path)
	return err == nil
}
