// Package staged finds the copies of a host's registrations that are on stages, in
// the file vic/registrations of package mirror: records, what is kept beside them,
// and host.json, which says whose they are.
//
// In the running system those stages count that are on the disks of its root file
// system and that it has made itself. Any other one, as in the RAM system, has to be
// named by its partition.
package staged

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
	"github.com/victorinix/vic/internal/stage"
	"github.com/victorinix/vic/internal/stage/direct"
	"github.com/victorinix/vic/internal/stage/journal"
	"github.com/victorinix/vic/internal/stage/mirror"
	"github.com/victorinix/vic/internal/stage/volume"
)

// Stage is a stage that has a copy.
type Stage struct {
	*mirror.Mirror
	Document stage.Document
	History  journal.History
	Host     Host
	dev      *direct.Device
}

// Host is whose registrations they are: host.json.
type Host struct {
	// MachineID as in machine-id(5); empty: it has none.
	MachineID string `json:"machineID,omitempty"`
}

const hostFile = "host.json"

func machineID() (string, error) {
	b, err := os.ReadFile("/etc/machine-id")
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return strings.TrimSpace(string(b)), err
}

// errUnreadable is wrapped when there is a stage, and its copy cannot be read.
var errUnreadable = errors.New("there is one, and it cannot be read")

// Open opens the copy on a stage, in a partition that has a Number. Without one the
// error wraps fs.ErrNotExist or volume.ErrNone. With write, what is written is on
// the medium when the write returns, and nothing is written once the stage's
// partition has gone.
func Open(device string, p stage.Place, write bool) (*Stage, error) {
	flag := os.O_RDONLY
	if write {
		flag = os.O_RDWR | unix.O_DSYNC
	}
	dev, err := direct.Open(device, flag, p.Offset, p.Size)
	if err != nil {
		return nil, err
	}
	s := &Stage{dev: dev}
	if err := s.open(device, p); err != nil {
		err = fmt.Errorf("open the stage in %s: %w", disk.PartitionPath(device, p.Number), err)
		return nil, errors.Join(err, dev.Close())
	}
	return s, nil
}

func (s *Stage) open(device string, p stage.Place) error {
	v, err := volume.Open(s.dev)
	if err != nil {
		return err
	}
	if _, _, err := v.Extent(stage.InVolume(stage.Self)); err != nil {
		return err
	}
	if err := s.read(v, p); err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if s.Mirror == nil {
		return fmt.Errorf("an older vic made it, without room for registrations: %w", fs.ErrNotExist)
	}
	s.Title = "the stage on " + disk.PartitionPath(device, p.Number)
	s.There = func() error { return inTable(device, p) }
	return nil
}

// read reads all. On a stage of an older vic Mirror stays nil.
func (s *Stage) read(v *volume.FS, p stage.Place) (err error) {
	if s.Document, err = v.Document(); err != nil {
		return err
	}
	if at := s.Document.Stage; at.Offset != p.Offset || at.Size != p.Size {
		return fmt.Errorf("it is at byte %d, and says that it is at byte %d", p.Offset, at.Offset)
	}
	m, err := mirror.Open(s.dev, s.Document)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s.Mirror = m
	j, err := journal.Open(s.dev, s.Document.ID)
	if err != nil {
		return err
	}
	s.History = j.History()
	return s.readHost()
}

// inTable says whether a place is that of a partition.
func inTable(device string, p stage.Place) error {
	t, err := locate.ReadTable(device)
	if err != nil {
		return err
	}
	same := func(e layout.Entry) bool {
		at := place(t, e)
		return at.Offset == p.Offset && at.Size == p.Size
	}
	if !slices.ContainsFunc(t.Entries, same) {
		return fmt.Errorf("%s has no partition at byte %d", device, p.Offset)
	}
	return nil
}

// place is where an entry is.
func place(t layout.Table, e layout.Entry) stage.Place {
	return stage.Place{Number: e.Number, GUID: e.GUID, Offset: int64(e.FirstLBA) * int64(t.SectorSize), Size: e.Size(t.SectorSize)}
}

func (s *Stage) readHost() error {
	f, err := s.Mirror.Open(hostFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = json.NewDecoder(f).Decode(&s.Host)
	return errors.Join(err, f.Close())
}

// Claim says whose registrations come here.
func (s *Stage) Claim(h Host) error {
	b, err := json.Marshal(h)
	if err != nil {
		return err
	}
	s.Host = h
	return s.Write(hostFile, bytes.NewReader(b))
}

// Close closes the stage.
func (s *Stage) Close() error { return s.dev.Close() }

// Committed is the reason why nothing can be taken back any more: the system that
// was changed is being replaced.
func (s *Stage) Committed() error {
	for _, r := range s.History {
		if r.State == journal.Committed {
			return fmt.Errorf("%s has been committed (%s): it replaces the system before, and goes on when the machine starts", s, r.Time.Format("2006-01-02 15:04:05Z"))
		}
	}
	return nil
}

// Find opens all stages with copies on some disks. The error is of those that
// cannot be read; where reading is not allowed, no stages come with it.
func Find(disks []string, write bool) ([]*Stage, error) {
	var list []*Stage
	var unread []error
	for _, d := range disks {
		t, err := locate.ReadTable(d)
		if errors.Is(err, fs.ErrPermission) {
			return nil, errors.Join(err, closeAll(list))
		}
		if err != nil {
			continue // it has none
		}
		for _, e := range t.Entries {
			s, err := Open(d, place(t, e), write)
			switch {
			case err == nil:
				list = append(list, s)
			case errors.Is(err, fs.ErrPermission):
				return nil, errors.Join(err, closeAll(list))
			case errors.Is(err, errUnreadable):
				unread = append(unread, err)
			}
		}
	}
	return list, errors.Join(unread...)
}

// OpenPartition opens the copy on the stage in a partition.
func OpenPartition(device string, write bool) (*Stage, error) {
	a, err := locate.OfArea(device)
	if err != nil {
		return nil, err
	}
	if a.Disk == nil {
		return nil, fmt.Errorf("open %s: a stage is a partition", device)
	}
	t, err := locate.ReadTable(a.Disk.Device)
	if err != nil {
		return nil, err
	}
	for _, e := range t.Entries {
		if disk.PartitionPath(a.Disk.Device, e.Number) == device || a.FirstLBA == e.FirstLBA {
			return Open(a.Disk.Device, place(t, e), write)
		}
	}
	return nil, fmt.Errorf("open %s: %w", device, locate.ErrNotFound)
}

func closeAll(list []*Stage) error {
	var errs []error
	for _, s := range list {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

var _ registration.Copy = (*Stage)(nil)
