package accesspoint

import (
	"context"
	"fmt"
	"os"

	"github.com/victorinix/vic/internal/agent/slots"
	"github.com/victorinix/vic/internal/agent/supervisor"
	"github.com/victorinix/vic/internal/nearest"
)

// Main is the main function of vic-appliance, with the words after its name.
func Main(args []string) error {
	verb := "help"
	if len(args) > 0 {
		verb, args = args[0], args[1:]
	}
	switch verb {
	case supervisor.ProgramArgs()[1]:
		go slots.WatchTrial(context.Background())
		return supervisor.Main()
	case "step":
		return Step(args)
	case "services":
		return supervisor.Command(supervisor.Dir, args, os.Stdout)
	case "slots":
		return slots.Main(args)
	}
	if near := nearest.Name(verb, []string{"services", "slots", "supervise", "step"}); near != "" {
		return fmt.Errorf("unknown command %q; did you mean %q?", verb, near)
	}
	return fmt.Errorf("unknown command %q: vic-init services --help explains the one for people", verb)
}
