// Command generate compiles the programs for the target (the busybox with
// vic-init, and vic-env) and writes them, compressed, where package programs
// embeds them. `make build` runs it from the root of the module.
//
// It does nothing for an architecture whose inputs have not changed, and the
// same inputs give the same bytes in any folder and at any time.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

func main() {
	out := flag.String("out", "initramfs/programs/files", "folder to write to")
	arches := flag.String("arch", "amd64,arm64", "architectures, as GOARCH")
	initPkg := flag.String("init", "github.com/victorinix/vic/cmd/vic-init", "package of vic-init")
	envPkg := flag.String("env", "github.com/victorinix/vic/cmd/vic-env", "package of vic-env")
	force := flag.Bool("force", false, "compile even when nothing has changed")
	flag.Parse()
	for _, arch := range strings.Split(*arches, ",") {
		g := generator{arch: arch, out: *out, initPkg: *initPkg, envPkg: *envPkg, force: *force}
		start := time.Now()
		changed, err := g.run()
		if err != nil {
			fmt.Fprintf(os.Stderr, "generate target programs for %s: %v\n", arch, err)
			os.Exit(1)
		}
		if changed {
			fmt.Fprintf(os.Stderr, "target programs for %s: %.1f s\n", arch, time.Since(start).Seconds())
		}
	}
}
