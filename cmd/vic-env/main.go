// Command vic-env prints what the machine is that it runs on, as facts that
// configs can use.
package main

import (
	"context"
	"os"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/envscan/command"
	"github.com/victorinix/vic/internal/enter"
)

func main() {
	if code, helper := envscan.Helper(); helper {
		os.Exit(code)
	}
	if len(os.Args) > 1 && os.Args[1] == "enter" {
		os.Exit(enter.Main(context.Background(), nil, os.Args[2:], os.Stdout, os.Stderr))
	}
	s := command.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Self: []string{"/proc/self/exe"}}
	os.Exit(command.Main(context.Background(), os.Args[1:], s))
}
