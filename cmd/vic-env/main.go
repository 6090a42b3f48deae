// Command vic-env prints what the machine is that it runs on, as facts that
// configs can use.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/victorinix/vic/envscan/command"
)

func main() {
	err := command.Run(context.Background(), os.Args[1:], os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vic-env:", err)
	}
	os.Exit(command.ExitCode(err))
}
