package storage

import (
	"context"

	plan "github.com/victorinix/vic/internal/plan/storage"
)

// Difference is something that is not as a step would leave it.
type Difference struct {
	Step string `json:"step"`
	What string `json:"what"`
	// Unseen: it could not be looked at, because what it stands in is not open.
	Unseen bool `json:"unseen,omitempty"`
}

// Differences looks at what the steps would make, and changes nothing. What is
// inside of containers, groups and arrays that are not open is not seen.
func (e *Executor) Differences(ctx context.Context) ([]Difference, error) {
	var list []Difference
	for _, s := range e.Steps {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		if !visible(s.Action) {
			continue
		}
		w, err := e.work(s)
		if err != nil {
			return nil, err
		}
		done, err := w.probe(ctx)
		switch {
		case missing(err):
			list = append(list, Difference{s.Name, "not seen: " + err.Error(), true})
		case err != nil:
			list = append(list, Difference{Step: s.Name, What: err.Error()})
		case !done:
			list = append(list, Difference{Step: s.Name, What: "it is not there"})
		}
	}
	return list, nil
}

// visible says whether what a step leaves can be told from the disk alone.
func visible(a plan.Action) bool {
	switch a := a.(type) {
	case plan.WriteTable:
		return !a.Unfinished
	case plan.Wipe, plan.Hook, plan.Resize:
		return false
	}
	return lasting(a)
}
