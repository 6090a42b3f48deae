// Command vic turns a machine with a disk into a machine running exactly the
// system that was described. See internal/cli.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/cli"
)

func main() {
	if code, helper := envscan.Helper(); helper {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
