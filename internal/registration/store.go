package registration

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// DefaultDir is the host's own folder of registrations.
	DefaultDir = "/var/lib/vic/registrations"
	// DefaultLock is the file that is locked while a Store is open: one for the
	// machine, whatever the folders.
	DefaultLock = "/run/vic-registrations.lock"
)

// ErrLocked is wrapped when another vic has the registrations open.
var ErrLocked = errors.New("another vic is at work on this machine")

// Config of Open.
type Config struct {
	// Dirs are folders of records: the host's own, and those that have copies
	// of it. They are made where they are not there.
	Dirs []string
	// Lock is the file to lock; empty: DefaultLock.
	Lock string
	// ReadOnly opens for List and dry runs: nothing is locked or made.
	ReadOnly bool
	Kinds    Kinds
	Env      Env
	// Group, Command and Who go into the records that are made: the run, what
	// was called (without secrets), and by whom.
	Group, Command, Who string
	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// Store is an open folder of registrations, with its copies.
type Store struct {
	config  Config
	lock    *os.File
	folders []*folder
	records map[string]Record
	damaged map[string]error
	// Warn is told of copies that could not be written while another could.
	Warn func(error)
}

// Open locks the registrations and reads them. Copies that differ because a
// write was interrupted are made equal.
func Open(c Config) (*Store, error) {
	if len(c.Dirs) == 0 {
		return nil, errors.New("open registrations: no folder is named")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Store{config: c, records: map[string]Record{}, damaged: map[string]error{}, Warn: func(error) {}}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open registrations: %w", err), s.Close())
	}
	return s, nil
}

func (s *Store) open() error {
	if !s.config.ReadOnly {
		if err := s.takeLock(cmp.Or(s.config.Lock, DefaultLock)); err != nil {
			return err
		}
	}
	for _, dir := range s.config.Dirs {
		if err := s.addFolder(dir); err != nil {
			return err
		}
	}
	if s.config.ReadOnly {
		return nil
	}
	return s.level()
}

func (s *Store) takeLock(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	s.lock = f
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("lock %s: %w", path, ErrLocked)
	} else if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	return nil
}

// Close unlocks the registrations.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

// Mirror copies all records to another folder, and has later ones written
// there too.
func (s *Store) Mirror(dir string) error {
	if err := s.addFolder(dir); err != nil {
		return fmt.Errorf("copy registrations to %s: %w", dir, err)
	}
	if err := s.level(); err != nil {
		return fmt.Errorf("copy registrations to %s: %w", dir, err)
	}
	return nil
}

// addFolder reads a folder and merges its records with those that are known.
func (s *Store) addFolder(dir string) error {
	f, err := openFolder(dir, !s.config.ReadOnly, s.config.Env.Note)
	if err != nil {
		return err
	}
	list, damaged, err := f.records()
	if err != nil {
		return err
	}
	for id, r := range list {
		known, ok := s.records[id]
		if ok && (known.Group != r.Group || !known.Time.Equal(r.Time) || known.Kind != r.Kind) {
			return fmt.Errorf("%s in %s is not the one in %s: these are folders of two machines", id, dir, s.folders[0].dir)
		}
		if !ok || known.Revision < r.Revision {
			s.records[id] = r
		}
	}
	maps.Copy(s.damaged, damaged)
	for id := range s.records {
		delete(s.damaged, id) // another folder has it whole
	}
	s.folders = append(s.folders, f)
	return nil
}

// level writes what a folder has an older copy of, or none.
func (s *Store) level() error {
	for _, f := range s.folders {
		have, _, err := f.records()
		if err != nil {
			return err
		}
		for _, id := range s.ids() {
			r := s.records[id]
			if got, ok := have[id]; ok && got.Revision == r.Revision {
				continue
			}
			if err := s.copyKept(f, r); err != nil {
				return err
			}
			if err := f.put(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// ids are those of all whole records, in their order.
func (s *Store) ids() []string {
	return slices.SortedFunc(maps.Keys(s.records), byNumber)
}

func byNumber(a, b string) int {
	x, _ := number(a)
	y, _ := number(b)
	return cmp.Compare(x, y)
}

// next is an ID that was never given.
func (s *Store) next() string {
	last := 0
	for _, list := range [][]string{slices.Collect(maps.Keys(s.records)), slices.Collect(maps.Keys(s.damaged))} {
		for _, id := range list {
			n, _ := number(id)
			last = max(last, n)
		}
	}
	return fmt.Sprintf("r%d", last+1)
}

func (f *folder) put(r Record) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", r.ID, err)
	}
	if err := f.write(r.ID+".json", bytes.NewReader(append(b, '\n'))); err != nil {
		return fmt.Errorf("record %s: %w", r.ID, err)
	}
	return nil
}

// put writes a record to all folders. With all, each has to take it.
func (s *Store) put(r Record, all bool) error {
	r.Revision++
	r.Since = s.config.Now().UTC().Truncate(time.Second)
	var failed []error
	gone := 0
	for _, f := range s.folders {
		err := f.put(r)
		if errors.Is(err, errGone) || errors.Is(err, fs.ErrNotExist) {
			gone++
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	switch {
	case all && len(failed) > 0, len(failed) == len(s.folders) && gone < len(failed):
		return errors.Join(failed...)
	case len(failed) > 0:
		// A copy on a partition that was taken back goes with it.
		s.Warn(errors.Join(failed...))
	}
	s.records[r.ID] = r
	return nil
}

// Do makes a change, and registers it before. The record has all that the
// change says of itself, after Prepare and again after Apply. When Apply fails,
// the registration stays: Undo finds out how much of it there is.
func (s *Store) Do(ctx context.Context, c Change) (id string, err error) {
	id = s.next()
	if ctx.Err() != nil {
		return id, fmt.Errorf("%s: %w", c, context.Cause(ctx))
	}
	if err := s.do(ctx, id, c); err != nil {
		return id, fmt.Errorf("%s: %w", c, err)
	}
	return id, nil
}

func (s *Store) do(ctx context.Context, id string, c Change) error {
	kind, ok := s.config.Kinds[c.Kind()]
	if !ok {
		return fmt.Errorf("no kind of change is called %q", c.Kind())
	}
	if s.config.ReadOnly {
		return errors.New("the registrations are open for reading")
	}
	if err := s.dropKept(id); err != nil { // of a run that ended before its record
		return err
	}
	env := s.env(id)
	if err := c.Prepare(ctx, env); err != nil {
		return errors.Join(err, s.dropKept(id))
	}
	r := Record{
		Version: Version, ID: id, Group: s.config.Group, Command: s.config.Command, Who: s.config.Who,
		Time: s.config.Now().UTC().Truncate(time.Second), State: Planned,
		Kind: c.Kind(), KindVersion: kind.Version,
	}
	if err := s.save(r, c, true); err != nil {
		return err
	}
	if err := c.Apply(ctx, env); err != nil {
		r = s.records[id]
		r.Error = err.Error()
		return errors.Join(err, s.save(r, c, false))
	}
	r = s.records[id]
	r.State = Applied
	return s.save(r, c, true)
}

// save writes a record with what its change says of itself.
func (s *Store) save(r Record, c Change, all bool) (err error) {
	if r.Change, err = json.Marshal(c); err != nil {
		return fmt.Errorf("encode %s: %w", r.ID, err)
	}
	r.Title = c.String()
	return s.put(r, all)
}

func (s *Store) env(id string) *Env {
	env := s.config.Env
	env.attic = kept{s, id}
	return &env
}

// List is every registration with its standing, in their order. Those that
// were taken back are not looked at again.
func (s *Store) List(ctx context.Context) []Registration {
	var list []Registration
	for _, id := range s.ids() {
		reg := Registration{Record: s.records[id]}
		if !reg.State.over() {
			_, reg.Standing, reg.Err = s.check(ctx, reg.Record)
		}
		list = append(list, reg)
	}
	for _, id := range slices.Sorted(maps.Keys(s.damaged)) {
		list = append(list, Registration{Record: Record{ID: id}, Standing: unknown(s.damaged[id]), Err: s.damaged[id]})
	}
	return list
}

func unknown(err error) Standing { return Standing{Unknown, err.Error()} }

// check decodes the change of a record and looks at the host.
func (s *Store) check(ctx context.Context, r Record) (Change, Standing, error) {
	c, err := s.config.Kinds.decode(r)
	if err != nil {
		return nil, unknown(err), err
	}
	st, err := c.Check(ctx, s.env(r.ID))
	if err != nil {
		return c, unknown(err), fmt.Errorf("check %s: %w", r.ID, err)
	}
	return c, st, nil
}
