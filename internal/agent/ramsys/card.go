package ramsys

import (
	"context"
	"fmt"
	"os"

	"github.com/victorinix/vic/internal/agent/appliance"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/tool"
)

// openCard mounts the slot that an appliance was started from. A card without a
// system says that it was not started from one.
func openCard(ctx context.Context, slot appliance.ID, hw hardware, sink event.Sink) (appliance.Card, error) {
	if slot == (appliance.ID{}) {
		return appliance.Card{}, nil
	}
	return appliance.Open(ctx, slot, hw.need(ctx), func(w string) { warn(sink, []string{w}) })
}

// mountState mounts the state of an appliance, and lays it over /var: what is
// written there is there again after the next start.
//
//	/var = state/var over system/var
func mountState(ctx context.Context, card appliance.Card, hw hardware, sink event.Sink) error {
	if card.System == "" {
		return nil
	}
	n, err := card.MountState(ctx, hw.need(ctx), tool.Exec{})
	if err != nil {
		return err
	}
	upper, work := appliance.StateDir+"/var", appliance.StateDir+"/.var"
	for _, dir := range []string{upper, work, "/var"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := overlayOn("/var", upper, work, systemDir+"/var", "/var"); err != nil {
		return err
	}
	sink.Emit(event.Event{Phase: event.Enter, Step: "state", State: event.Done, Message: fmt.Sprintf("%s, mounted on %s", size(n), appliance.StateDir)})
	return nil
}
