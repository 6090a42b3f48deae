package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	plan "github.com/victorinix/vic/internal/plan/storage"
)

// foreign are the formats of arrays that belong to a firmware, by mdadm's name:
// mdadm does not choose their UUIDs.
var foreign = map[string]string{"ddf": "ddf_raid_member", "imsm": "isw_raid_member"}

func (e *Executor) createArray(a plan.CreateArray) maker {
	right := func(c Content) bool { return c.Type == "linux_raid_member" && sameUUID(c.UUID, a.UUID) }
	if typ := foreign[a.Metadata]; typ != "" {
		right = func(c Content) bool { return c.Type == typ }
	}
	return maker{
		on: a.Members, name: "md/" + a.Array, clear: true,
		look: func(context.Context) (look, error) { return e.lookAtMembers(a.Members, e.path, right) },
		make: func(ctx context.Context, paths []string) error { return e.Machine.CreateArray(ctx, a, paths) },
	}
}

// assembleArray starts an array that is not running, from those of its members
// that are there; mdadm decides whether it can run without the others.
func (e *Executor) assembleArray(a plan.AssembleArray) work {
	missing := 0
	return work{
		probe: never,
		do: func(ctx context.Context) error {
			paths, err := e.paths(a.Members)
			if err != nil {
				return err
			}
			uuid := a.UUID
			if uuid == "" {
				if uuid, err = e.arrayOf(paths); err != nil {
					return err
				}
			}
			if paths, err = e.membersOf(uuid, paths); err != nil {
				return fmt.Errorf("assemble %s: %w", a.Array, err)
			}
			e.stack.arrays[a.Array] = uuid
			missing, err = e.Machine.AssembleArray(ctx, a.Array, uuid, paths)
			return err
		},
		note: func() string {
			if missing == 0 {
				return ""
			}
			return fmt.Sprintf("warning: array %s runs without %d of its devices", a.Array, missing)
		},
	}
}

// membersOf are those of the devices that belong to an array: one may be new.
func (e *Executor) membersOf(uuid string, paths []string) ([]string, error) {
	var members []string
	for _, p := range paths {
		found, err := e.Machine.Content(p)
		if err != nil && !missing(err) {
			return nil, fmt.Errorf("look at %s: %w", p, err)
		}
		if slices.ContainsFunc(found, func(c Content) bool {
			return sameUUID(c.UUID, uuid) || c.Type != "linux_raid_member" && strings.HasSuffix(c.Type, "_raid_member")
		}) {
			members = append(members, p)
		}
	}
	if len(members) == 0 {
		return nil, fmt.Errorf("none of %s is a member of the array %s", strings.Join(paths, ", "), uuid)
	}
	return members, nil
}

// arrayOf is the UUID of the array that devices are members of.
func (e *Executor) arrayOf(paths []string) (string, error) {
	for _, p := range paths {
		found, err := e.Machine.Content(p)
		if err != nil {
			return "", fmt.Errorf("look at %s: %w", p, err)
		}
		for _, c := range found {
			if strings.HasSuffix(c.Type, "_raid_member") {
				return c.UUID, nil
			}
		}
	}
	return "", fmt.Errorf("none of %s is a member of an array", strings.Join(paths, ", "))
}
