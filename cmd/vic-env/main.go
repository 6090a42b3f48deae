// Command vic-env prints what the machine is that it runs on, as facts that
// configs can use.
package main

import (
	"context"
	"os"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/envscan/command"
)

func main() {
	if code, helper := envscan.Helper(); helper {
		os.Exit(code)
	}
	s := command.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Self: []string{"/proc/self/exe"}}
	os.Exit(command.Main(context.Background(), os.Args[1:], s))
}
