package registration

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Selection says which registrations to undo.
type Selection struct {
	// All of them, or those of a Group, or the IDs.
	All   bool
	Group string
	IDs   []string
	// DryRun only looks.
	DryRun bool
	// Forget takes nothing back: the registrations count no more.
	Forget bool
}

// ErrUnknownID is wrapped when there is no such registration.
var ErrUnknownID = errors.New("no such registration")

// Did is what undoing a registration came to.
type Did string

const (
	TookBack   Did = "taken back"
	WasBefore  Did = "was as before" // by somebody else, or it was never made
	WasOver    Did = "was taken back"
	LeftAlone  Did = "left alone" // somebody else changed it, or it is of a newer vic
	Failed     Did = "failed"
	WouldUndo  Did = "would be taken back"
	DidForget  Did = "forgotten"
	WouldLeave Did = "would be left alone"
)

// Outcome of one registration.
type Outcome struct {
	Registration
	Did    Did    `json:"did"`
	Reason string `json:"reason,omitempty"` // why it was left alone, or how it failed
}

// Undone says that nothing of it is left.
func (o Outcome) Undone() bool { return o.Did == TookBack || o.Did == WasBefore || o.Did == WasOver }

// Undo takes registrations back, the last one first. One that fails, or that
// somebody else changed, does not stop the others: the outcomes say it. It may
// be repeated at any time. An error says that nothing was begun, or that the
// records cannot be written.
func (s *Store) Undo(ctx context.Context, sel Selection) ([]Outcome, error) {
	if s.config.ReadOnly && !sel.DryRun {
		return nil, errors.New("undo: the registrations are open for reading")
	}
	ids, err := s.chosen(sel)
	if err != nil {
		return nil, fmt.Errorf("undo: %w", err)
	}
	var list []Outcome
	for _, id := range slices.Backward(ids) {
		if err := ctx.Err(); err != nil {
			return list, fmt.Errorf("undo %s: %w", id, context.Cause(ctx))
		}
		o, err := s.undo(ctx, id, sel)
		if err != nil {
			return list, fmt.Errorf("undo %s: %w", id, err)
		}
		list = append(list, o)
	}
	return list, nil
}

// chosen are the IDs of a selection. Those that are over are chosen by name
// alone.
func (s *Store) chosen(sel Selection) ([]string, error) {
	all := s.ids()
	for id := range s.damaged {
		all = append(all, id)
	}
	slices.SortFunc(all, byNumber)
	for _, id := range sel.IDs {
		if !slices.Contains(all, id) {
			return nil, fmt.Errorf("%s: %w", id, ErrUnknownID)
		}
	}
	return slices.DeleteFunc(all, func(id string) bool {
		if slices.Contains(sel.IDs, id) {
			return false
		}
		r := s.records[id]
		return r.State.over() || !sel.All && (sel.Group == "" || r.Group != sel.Group)
	}), nil
}

func (s *Store) undo(ctx context.Context, id string, sel Selection) (Outcome, error) {
	r, whole := s.records[id]
	o := Outcome{Registration: Registration{Record: r}}
	switch {
	case !whole:
		o.ID, o.Standing, o.Err = id, unknown(s.damaged[id]), s.damaged[id]
		return o.is(LeftAlone, s.damaged[id].Error()), nil
	case r.State.over():
		return o.is(WasOver, ""), nil
	case sel.Forget:
		return s.forget(o, sel)
	}
	var c Change
	c, o.Standing, o.Err = s.check(ctx, r)
	switch {
	case errors.Is(o.Err, ErrUnknownKind):
		return o.is(LeftAlone, o.Err.Error()), nil
	case o.Err != nil:
		return o.is(Failed, o.Err.Error()), nil
	case o.Standing.Is == Changed && sel.DryRun:
		return o.is(WouldLeave, o.Standing.Detail), nil
	case o.Standing.Is == Changed:
		return o.is(LeftAlone, o.Standing.Detail), nil
	case sel.DryRun && o.Standing.Is == Before:
		return o.is(WasBefore, ""), nil
	case sel.DryRun:
		return o.is(WouldUndo, ""), nil
	case o.Standing.Is == Before:
		return s.end(o.is(WasBefore, ""))
	}
	return s.revert(ctx, c, o)
}

func (o Outcome) is(did Did, reason string) Outcome {
	o.Did, o.Reason = did, reason
	return o
}

func (s *Store) revert(ctx context.Context, c Change, o Outcome) (Outcome, error) {
	r := o.Record
	r.State, r.Error = Reverting, ""
	if err := s.put(r, false); err != nil {
		return o, err
	}
	err := c.Revert(ctx, s.env(r.ID))
	if err == nil {
		var now Standing
		if now, err = c.Check(ctx, s.env(r.ID)); err == nil && now.Is != Before {
			err = fmt.Errorf("afterwards it is not as before: %s %s", now.Is, now.Detail)
		}
	}
	if err == nil {
		return s.end(o.is(TookBack, ""))
	}
	r = s.records[r.ID]
	r.Error = err.Error()
	return o.is(Failed, err.Error()), s.put(r, false)
}

// end records that nothing is left, and removes what was kept.
func (s *Store) end(o Outcome) (Outcome, error) {
	r := s.records[o.ID]
	r.State, r.Error = Reverted, ""
	if err := s.put(r, false); err != nil {
		return o, err
	}
	o.Record = s.records[o.ID]
	return o, s.dropKept(o.ID)
}

func (s *Store) forget(o Outcome, sel Selection) (Outcome, error) {
	if !sel.DryRun {
		r := o.Record
		r.State = Forgotten
		if err := s.put(r, false); err != nil {
			return o, err
		}
	}
	return o.is(DidForget, ""), nil
}
