package staged

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/journal"
)

// Records is an open Store with the stages that it has copies on.
type Records struct {
	*registration.Store
	Stages []*Stage
}

// Close closes all.
func (r *Records) Close() error { return errors.Join(r.Store.Close(), closeAll(r.Stages)) }

// Committed is the first reason of a stage why nothing can be taken back.
func (r *Records) Committed() error {
	for _, s := range r.Stages {
		if err := s.Committed(); err != nil {
			return err
		}
	}
	return nil
}

// AddStage has a stage keep a copy of this machine's, from here on.
func (r *Records) AddStage(disk string, at stage.Place) error {
	id, err := machineID()
	if err != nil {
		return err
	}
	s, err := Open(disk, at, true)
	if err != nil {
		return err
	}
	r.Stages = append(r.Stages, s)
	s.Note = r.Note
	if err := s.Claim(Host{MachineID: id}); err != nil {
		return err
	}
	return r.Mirror(s)
}

// OpenNamed opens the registrations in folders, and on the stages in partitions,
// that a person has named. A folder is made where it is not there; a device is not,
// and the error wraps fs.ErrNotExist.
func OpenNamed(c registration.Config, names []string) (*Records, error) {
	r := &Records{}
	for _, name := range names {
		is, err := isDevice(name)
		if err == nil && !is {
			c.Dirs = append(c.Dirs, name)
			continue
		}
		var s *Stage
		if err == nil {
			s, err = OpenPartition(name, !c.ReadOnly)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open registrations: %w", err), closeAll(r.Stages))
		}
		s.Note = c.Env.Note
		r.Stages = append(r.Stages, s)
		c.Copies = append(c.Copies, s)
	}
	var err error
	if r.Store, err = registration.Open(c); err != nil {
		return nil, errors.Join(err, closeAll(r.Stages))
	}
	return r, nil
}

// isDevice says whether a name is a device's. In /dev it has to be there: it may have
// been another one before a reboot.
func isDevice(name string) (bool, error) {
	st, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(filepath.Clean(name), "/dev/") {
		return false, err
	}
	return err == nil && st.Mode()&fs.ModeDevice != 0, nil
}

// OpenHost opens the registrations of the running system with the copies on its
// stages. One that cannot be used is told to warn.
func OpenHost(c registration.Config, warn func(error)) (*Records, error) {
	id, err := machineID()
	if err != nil {
		return nil, err
	}
	return openHost(c, rootDisks(), id, warn)
}

func openHost(c registration.Config, disks []string, machine string, warn func(error)) (*Records, error) {
	store, err := registration.Open(c)
	if err != nil {
		return nil, err
	}
	r := &Records{Store: store}
	list, err := Find(disks, !c.ReadOnly)
	if err != nil {
		warn(fmt.Errorf("look for a stage: %w", err))
	}
	for _, s := range list {
		s.Note = c.Env.Note
		if r.use(s, machine, warn) {
			r.Stages = append(r.Stages, s)
		} else if err := s.Close(); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// use adds the copy on a stage, if that is this machine's.
func (r *Records) use(s *Stage, machine string, warn func(error)) bool {
	if s.History.Has(journal.Installed) {
		return false // of the system before this one; its end is under way
	}
	if theirs := s.Host.MachineID; theirs != "" && machine != "" && theirs != machine {
		warn(fmt.Errorf("%s is another system's: its registrations do not count here", s))
		return false
	}
	err := r.Mirror(s)
	if errors.Is(err, registration.ErrOthers) {
		warn(fmt.Errorf("%w; --records with its partition opens them alone", err))
		return false
	}
	if err != nil {
		warn(err)
	}
	return true
}

// rootDisks are the disks that the root file system is on, through whatever
// volumes.
func rootDisks() []string {
	root := sysfs.Root("/")
	var names, list []string
	var st unix.Stat_t
	if err := unix.Stat("/", &st); err == nil {
		if to, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev))); err == nil {
			names = append(names, filepath.Base(to))
		}
	}
	mounts, _ := root.Mounts() // without them the device that was found counts
	for _, m := range mounts {
		if m.Target == "/" && strings.HasPrefix(m.Source, "/dev/") {
			names = append(names, root.KernelName(m.Source))
		}
	}
	for len(names) > 0 {
		name := names[0]
		names = names[1:]
		below, _ := root.Names("sys/class/block", name, "slaves")
		names = append(names, below...)
		if node := sysfs.Node(root.Whole(name)); len(below) == 0 && !slices.Contains(list, node) {
			list = append(list, node)
		}
	}
	return list
}
