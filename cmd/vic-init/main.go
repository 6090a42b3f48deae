// Command vic-init is PID 1 of vic's RAM system, and its command vic.
package main

import (
	"fmt"
	"os"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/agent"
	"github.com/victorinix/vic/internal/agent/ramsys"
)

func main() {
	if code, helper := envscan.Helper(); helper {
		os.Exit(code)
	}
	if err := ramsys.Main(ramsys.Config{Run: agent.Run, Vic: agent.Command}); err != nil {
		fmt.Fprintln(os.Stderr, "vic-init:", err)
		os.Exit(agent.ExitCode(err))
	}
}
