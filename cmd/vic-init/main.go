// Command vic-init is PID 1 of vic's RAM system.
package main

import (
	"fmt"
	"os"

	"github.com/victorinix/vic/internal/agent/ramsys"
)

func main() {
	if err := ramsys.Main(ramsys.Config{}); err != nil {
		fmt.Fprintln(os.Stderr, "vic-init:", err)
		os.Exit(1)
	}
}
