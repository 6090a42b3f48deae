package cli

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
)

// A disk that is not there is told of and left out where arrays may do without
// it; two that match are an error all the same.
func TestChooseDisks(t *testing.T) {
	rotating := true
	l := layout.Layout{Disk: map[string]layout.Disk{
		"one":   {Device: "/dev/sda"},
		"two":   {Match: &layout.Match{Serial: "S2"}},
		"three": {Match: &layout.Match{Rotational: &rotating}},
	}}
	facts := func(serials ...string) envscan.Facts {
		var f envscan.Facts
		for i, s := range serials {
			f.HW.Disk = append(f.HW.Disk, envscan.Disk{Name: "sd" + string(rune('a'+i)), Serial: s, Size: 1 << 30, SectorSize: 512, Rotational: s == "S3"})
		}
		return f
	}
	for _, tt := range []struct {
		degraded bool
		facts    envscan.Facts
		found    []string
		absent   []string
		err      error
	}{
		{true, facts("S1", "S2", "S3"), []string{"one", "three", "two"}, nil, nil},
		{true, facts("S1", "S3"), []string{"one", "three"}, []string{"two"}, nil},
		{false, facts("S1", "S3"), nil, nil, plan.ErrAbsent},
		{true, facts("S1", "S3", "S3"), nil, nil, plan.ErrNoDisk},
	} {
		var told bytes.Buffer
		j := diskJob{app: &app{stderr: &told}, degraded: tt.degraded}
		found, err := j.choose(l, map[string]request.DiskSelector{"one": {Device: "/dev/sda"}}, tt.facts)
		if !errors.Is(err, tt.err) {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		for _, name := range tt.found {
			if found[name].Size != 1<<30 {
				t.Errorf("%+v: %s is not among %+v", tt, name, found)
			}
		}
		if tt.err == nil && (len(found) != len(tt.found) || !slices.Equal(j.absent, tt.absent) || strings.Count(told.String(), "is not there") != len(tt.absent)) {
			t.Errorf("%+v: found %+v, absent %q: %s", tt, found, j.absent, told.String())
		}
	}
}
