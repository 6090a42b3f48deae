package enter

import (
	"context"

	"github.com/victorinix/vic/internal/handover"
)

// Identity is by what a machine is known, for a RAM system that is started without a
// client: from the machine's own disk.
type Identity struct {
	MachineID string
	// Keys are the SSH host keys: the files by their paths in the RAM system.
	Keys map[string][]byte
	// Made: the machine had no key that can be handed over, and this one is new.
	Made     bool
	Warnings []string
}

// Identity collects it.
func (s System) Identity(ctx context.Context) (Identity, error) {
	id, err := s.identity(ctx)
	if err != nil {
		return Identity{}, err
	}
	keys := map[string][]byte{}
	for _, k := range id.keys {
		keys[handover.KeyDir+"/"+k.name] = k.private
	}
	return Identity{MachineID: id.machine, Keys: keys, Made: id.made, Warnings: id.warnings}, nil
}
