// Package registration keeps the record of what vic changed on a host, so that
// it can be listed, checked and taken back: a file, a partition, a boot entry.
//
// It knows nothing of any of these: a Change does, which is a plain struct that
// holds what is needed to take it back, and encodes to JSON. The kinds that
// there are lie in the packages below this one.
//
//	Do:    Prepare ─ record "planned" ─ Apply ─ record "applied"
//	Undo:  Check ─ record "reverting" ─ Revert ─ Check ─ record "reverted"
//
// A record is on the medium before the step that it announces: whenever the
// machine stops, what stands on the host is in a record, and undoing finds out
// how far a step had come. Records are files r1.json, r2.json, ... of a folder,
// and of a second one where there is one; either is enough.
//
//	r7.json       {"version":1,"id":"r7","state":"applied","kind":"file","change":{...}}
//	r7.before     bytes that the change keeps to take it back, where they are many
//
// What somebody else changed since is left alone and named.
package registration

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Version is that of the records that this package writes and reads.
const Version = 1

// Change is something on the host that is different afterwards. Its exported
// fields are its record: all that Check and Revert need, and nothing secret. One
// that has a method Validate() error refuses records that make no sense.
type Change interface {
	// Kind is the name under which its type is among the Kinds.
	Kind() string
	// String says what is changed: "file /boot/vic.efi added".
	String() string
	// Prepare reads what is there now, and settles everything that is open, such
	// as a free number. It changes nothing on the host. What cannot be done is
	// refused here.
	Prepare(ctx context.Context, env *Env) error
	// Apply makes the change, so that it is on the medium when it returns.
	Apply(ctx context.Context, env *Env) error
	// Check compares what is there with what was and what should be. An error
	// says that it cannot be told, such as when a disk is missing.
	Check(ctx context.Context, env *Env) (Standing, error)
	// Revert makes it as it was, wherever Apply or an earlier Revert stopped, and
	// so that it is on the medium when it returns. It is only called when Check
	// says Stands or Partly.
	Revert(ctx context.Context, env *Env) error
}

// Is says how a change stands.
type Is string

const (
	// Before: the host is as it was before.
	Before Is = "before"
	// Stands: the host is as vic left it, whatever others did beside it.
	Stands Is = "stands"
	// Partly: Apply or Revert was interrupted.
	Partly Is = "partly"
	// Changed: somebody else changed the same thing.
	Changed Is = "changed"
	// Unknown: it could not be told; only in a Registration, with an Err.
	Unknown Is = "unknown"
)

// Standing is what Check finds.
type Standing struct {
	Is Is `json:"is"`
	// Detail says what was changed, or what is missing.
	Detail string `json:"detail,omitempty"`
}

// Standingf makes a Standing with a detail.
func Standingf(is Is, format string, args ...any) Standing {
	return Standing{is, fmt.Sprintf(format, args...)}
}

// State is how far a registration has come, by its record.
type State string

// The states, in their order. Forgotten is one that a person gave up: nothing
// was taken back.
const (
	Planned   State = "planned"
	Applied   State = "applied"
	Reverting State = "reverting"
	Reverted  State = "reverted"
	Forgotten State = "forgotten"
)

// over says that nothing of it is left to be taken back.
func (s State) over() bool { return s == Reverted || s == Forgotten }

// Record is the file of a registration.
type Record struct {
	Version int    `json:"version"`
	ID      string `json:"id"` // r1, r2, ...: never given twice
	// Revision counts how often it was written: of two copies the higher counts.
	Revision int       `json:"revision"`
	Group    string    `json:"group"`   // the run that it belongs to
	Command  string    `json:"command"` // for people, without secrets
	Who      string    `json:"who"`
	Time     time.Time `json:"time"` // of its beginning
	State    State     `json:"state"`
	Since    time.Time `json:"since"` // of the state
	// Error is why the last step failed.
	Error       string          `json:"error,omitempty"`
	Kind        string          `json:"kind"`
	KindVersion int             `json:"kindVersion"`
	Title       string          `json:"title"` // Change.String
	Change      json.RawMessage `json:"change"`
}

// Over says that nothing is left to be taken back.
func (r Record) Over() bool { return r.State.over() }

// Registration is a record and how its change stands now.
type Registration struct {
	Record
	Standing Standing `json:"standing"`
	// Err is why the standing is unknown.
	Err error `json:"-"`
}

// Kind is a type of Change.
type Kind struct {
	// Version is that of its JSON. Records of a higher one are left alone.
	Version int
	New     func() Change
}

// Kinds are all types of changes by their names.
type Kinds map[string]Kind

// ErrUnknownKind is wrapped when a record is of a newer vic.
var ErrUnknownKind = fmt.Errorf("it was made by a newer vic, which can take it back")

// decode makes the change of a record.
func (k Kinds) decode(r Record) (Change, error) {
	kind, ok := k[r.Kind]
	if !ok || r.KindVersion > kind.Version {
		return nil, fmt.Errorf("read %s: kind %q version %d: %w", r.ID, r.Kind, r.KindVersion, ErrUnknownKind)
	}
	c := kind.New()
	err := strict(r.Change, c)
	if v, ok := c.(interface{ Validate() error }); ok && err == nil {
		err = v.Validate()
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", r.ID, err)
	}
	return c, nil
}
