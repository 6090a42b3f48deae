package cli

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan"
	planned "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
)

// miss notes a disk of the layout that is not there.
func (j *diskJob) miss(name string) {
	j.absent = append(j.absent, name)
	fmt.Fprintf(j.stderr, "warning: disk %q of the layout is not there\n", name)
}

// choose finds the disks that the layout means. Those that are not there are
// noted where arrays may do without them; several that match are an error.
func (j *diskJob) choose(l layout.Layout, chosen map[string]request.DiskSelector, facts envscan.Facts) (map[string]planned.State, error) {
	if !j.degraded {
		return plan.SelectDisks(l, chosen, facts)
	}
	all := map[string]planned.State{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(l.Disk)) {
		if slices.Contains(j.absent, name) {
			continue
		}
		asked := map[string]request.DiskSelector{}
		if sel, ok := chosen[name]; ok {
			asked[name] = sel
		}
		found, err := plan.SelectDisks(layout.Layout{Disk: map[string]layout.Disk{name: l.Disk[name]}}, asked, facts)
		switch {
		case errors.Is(err, plan.ErrAbsent):
			j.miss(name)
		case err != nil:
			errs = append(errs, err)
		default:
			all[name] = found[name]
		}
	}
	return all, errors.Join(errs...)
}
