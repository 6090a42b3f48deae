package registration

import (
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

// ErrOthers is wrapped when two copies have different records of one ID.
var ErrOthers = errors.New("these are the records of two machines, or of one that was set back")

// Config of Open.
type Config struct {
	// Dirs are folders of records: the host's own, and those that have copies
	// of it. They are made where they are not there.
	Dirs []string
	// Copies are others.
	Copies []Copy
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
	copies  []Copy
	records map[string]Record
	damaged map[string]error
	// Warn is told of copies that could not be written while another could.
	Warn func(error)
}

// Open locks the registrations and reads them. Copies that differ because a
// write was interrupted are made equal.
func Open(c Config) (*Store, error) {
	if len(c.Dirs)+len(c.Copies) == 0 {
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
		var err error
		if s.lock, err = Lock(s.config.Lock); err != nil {
			return err
		}
	}
	for _, dir := range s.config.Dirs {
		f, err := openFolder(dir, !s.config.ReadOnly, s.config.Env.Note)
		if err != nil {
			return err
		}
		if err := s.add(f); err != nil {
			return err
		}
	}
	for _, c := range s.config.Copies {
		if err := s.add(c); err != nil {
			return err
		}
	}
	if s.config.ReadOnly {
		return nil
	}
	return s.level()
}

// Lock keeps others from opening registrations, but for reading, until it is
// closed; empty: DefaultLock.
func Lock(path string) (*os.File, error) {
	path = cmp.Or(path, DefaultLock)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return f, nil
}

// Close unlocks the registrations.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	return s.lock.Close()
}

// Dir is the host's own folder; empty: there is none.
func (s *Store) Dir() string {
	if len(s.config.Dirs) == 0 {
		return ""
	}
	return s.config.Dirs[0]
}

// Note tells Env.Writing of a write.
func (s *Store) Note(what string) { s.config.Env.Note(what) }

// Mirror copies all records to another place, and has later ones written there
// too. Of those that are over, which are history, it gets none that it has not
// got.
func (s *Store) Mirror(c Copy) error {
	err := s.add(c)
	if err == nil && !s.config.ReadOnly {
		err = s.level()
	}
	if err != nil {
		return fmt.Errorf("copy registrations to %s: %w", c, err)
	}
	return nil
}

// add reads a copy and merges its records with those that are known.
func (s *Store) add(c Copy) error {
	list, damaged, err := records(c)
	if err != nil {
		return err
	}
	for id, r := range list {
		known, ok := s.records[id]
		if ok && (known.Group != r.Group || !known.Time.Equal(r.Time) || known.Kind != r.Kind) {
			return fmt.Errorf("%s in %s is not the one in %s: %w", id, c, s.copies[0], ErrOthers)
		}
	}
	for id, r := range list {
		if known, ok := s.records[id]; !ok || known.Revision < r.Revision {
			s.records[id] = r
		}
	}
	maps.Copy(s.damaged, damaged)
	for id := range s.records {
		delete(s.damaged, id) // another copy has it whole
	}
	s.copies = append(s.copies, c)
	return nil
}

// level writes what a copy has an older one of, or none.
func (s *Store) level() error {
	for _, c := range s.copies {
		have, _, err := records(c)
		if err != nil {
			return err
		}
		_, own := c.(*folder)
		for _, id := range s.ids() {
			r := s.records[id]
			got, ok := have[id]
			if ok && got.Revision == r.Revision || !ok && !own && r.State.over() {
				continue
			}
			if err := s.copyKept(c, r); err != nil {
				return err
			}
			if err := putRecord(c, r); err != nil {
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

// put writes a record to all copies. With all, each has to take it: a change
// follows. Without, one is enough; a copy that has gone with the partition that it
// was on, which was taken back, is told of once.
func (s *Store) put(r Record, all bool) error {
	r.Revision++
	r.Since = s.config.Now().UTC().Truncate(time.Second)
	var failed []error
	var left []Copy
	gone := 0
	for _, c := range s.copies {
		err := putRecord(c, r)
		if err != nil {
			failed = append(failed, err)
		}
		if errors.Is(err, fs.ErrNotExist) {
			gone++
		} else {
			left = append(left, c)
		}
	}
	switch {
	case all && len(failed) > 0, len(failed) == len(s.copies) && gone < len(failed):
		return errors.Join(failed...)
	case len(failed) > 0:
		s.Warn(errors.Join(failed...))
	}
	if !all && len(left) > 0 {
		s.copies = left
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
	if err := s.announce(ctx, id, c); err != nil {
		return err
	}
	if err := c.Apply(ctx, s.env(id)); err != nil {
		r := s.records[id]
		r.Error = err.Error()
		return errors.Join(err, s.save(r, c, false))
	}
	r := s.records[id]
	r.State = Applied
	return s.save(r, c, true)
}

// Announce registers a change that another system makes, which has no hand on
// these records: the RAM system, after this one has ended. It stays planned, and
// what has become of it is what Check finds.
func (s *Store) Announce(ctx context.Context, c Change) (id string, err error) {
	id = s.next()
	if err := s.announce(ctx, id, c); err != nil {
		return id, fmt.Errorf("%s: %w", c, err)
	}
	return id, nil
}

func (s *Store) announce(ctx context.Context, id string, c Change) error {
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
	if err := c.Prepare(ctx, s.env(id)); err != nil {
		return errors.Join(err, s.dropKept(id))
	}
	return s.save(Record{
		Version: Version, ID: id, Group: s.config.Group, Command: s.config.Command, Who: s.config.Who,
		Time: s.config.Now().UTC().Truncate(time.Second), State: Planned,
		Kind: c.Kind(), KindVersion: kind.Version,
	}, c, true)
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
