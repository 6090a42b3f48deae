// Command vic-init is PID 1 of vic's RAM system, and its commands vic and vic-env. On
// a machine that is to get there it is vic-env too: it is sent once.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/envscan/command"
	"github.com/victorinix/vic/internal/agent"
	"github.com/victorinix/vic/internal/agent/ramsys"
	"github.com/victorinix/vic/internal/enter"
)

func main() {
	if code, helper := envscan.Helper(); helper {
		os.Exit(code)
	}
	if err := ramsys.Main(ramsys.Config{Run: agent.Run, Vic: agent.Command, VicEnv: vicEnv}); err != nil {
		fmt.Fprintln(os.Stderr, "vic-init:", err)
		os.Exit(agent.ExitCode(err))
	}
}

func vicEnv(args []string) error {
	if len(args) > 0 && args[0] == "enter" {
		os.Exit(enter.Main(context.Background(), []string{"vic-env"}, args[1:], os.Stdout, os.Stderr))
	}
	s := command.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Self: []string{"/proc/self/exe", "vic-env"}}
	os.Exit(command.Main(context.Background(), args, s))
	return nil
}
