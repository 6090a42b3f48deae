// Command vic-appliance runs the services of an appliance, and is their built-in
// steps.
package main

import (
	"fmt"
	"os"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/agent/accesspoint"
)

func main() {
	if code, helper := envscan.Helper(); helper {
		os.Exit(code)
	}
	if err := accesspoint.Main(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
