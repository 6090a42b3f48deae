package event

import (
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/nearest"
)

// chain are the phases of which each needs what the one before it did. Those
// before Verify change nothing on the disk and run whenever they are needed.
var chain = Phases()[slices.Index(Phases(), Verify):]

// ParsePhases reads a selection of phases: any of scan, build and enter, and
// then verify, partition, ... up to the one to stop after, without a gap. Nil
// means all.
func ParsePhases(names []string) ([]Phase, error) {
	var chosen []Phase
	for _, name := range names {
		p := Phase(name)
		if !slices.Contains(Phases(), p) {
			return nil, unknownPhase(name)
		}
		if !slices.Contains(chosen, p) {
			chosen = append(chosen, p)
		}
	}
	for i, p := range chain[1:] {
		if before := chain[i]; slices.Contains(chosen, p) && !slices.Contains(chosen, before) {
			return nil, fmt.Errorf("phase %s needs %s, which is not among the phases %s", p, before, strings.Join(names, ","))
		}
	}
	if slices.Contains(chosen, Copy) && !slices.Contains(chosen, Finish) {
		return nil, fmt.Errorf("phase %s mounts the disk and needs %s, which unmounts it: a run stops after %s or goes to the end", Copy, Finish, Format)
	}
	slices.SortFunc(chosen, func(a, b Phase) int { return slices.Index(Phases(), a) - slices.Index(Phases(), b) })
	return chosen, nil
}

func unknownPhase(name string) error {
	var all []string
	for _, p := range Phases() {
		all = append(all, string(p))
	}
	if near := nearest.Name(name, all); near != "" {
		return fmt.Errorf("unknown phase %q; did you mean %q?", name, near)
	}
	return fmt.Errorf("unknown phase %q; the phases are %s", name, strings.Join(all, ", "))
}

// Reaches tells whether a run of the chosen phases (all, when there are none)
// gets as far as p.
func Reaches(chosen []Phase, p Phase) bool {
	return len(chosen) == 0 || slices.Index(Phases(), chosen[len(chosen)-1]) >= slices.Index(Phases(), p)
}

// Writes tells whether a run of the chosen phases writes to the disk.
func Writes(chosen []Phase) bool { return Reaches(chosen, Partition) }
