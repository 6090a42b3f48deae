// Command generate compiles the programs for the target (the busybox with
// vic-init, vic-env, and vic-appliance) and writes them, compressed, where package programs
// embeds them. `make build` runs it from the root of the module.
//
// It does nothing for an architecture whose inputs have not changed, and the
// same inputs give the same bytes in any folder and at any time.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// all are the architectures that vic makes images for.
var all = []string{"amd64", "arm64"}

func main() {
	out := flag.String("out", "initramfs/programs/files", "folder to write to")
	arches := flag.String("arch", strings.Join(all, ","), "architectures, as GOARCH; what there is of others goes, unless it is up to date")
	initPkg := flag.String("init", "github.com/victorinix/vic/cmd/vic-init", "package of vic-init")
	envPkg := flag.String("env", "github.com/victorinix/vic/cmd/vic-env", "package of vic-env")
	appliancePkg := flag.String("appliance", "github.com/victorinix/vic/cmd/vic-appliance", "package of vic-appliance")
	force := flag.Bool("force", false, "compile even when nothing has changed")
	flag.Parse()
	wanted := strings.Split(*arches, ",")
	for _, arch := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(wanted, all)))) {
		g := generator{arch: arch, out: *out, initPkg: *initPkg, envPkg: *envPkg, appliancePkg: *appliancePkg, force: *force}
		start := time.Now()
		run := g.run
		if !slices.Contains(wanted, arch) {
			run = g.discardOld
		}
		changed, err := run()
		if err != nil {
			fmt.Fprintf(os.Stderr, "generate target programs for %s: %v\n", arch, err)
			os.Exit(1)
		}
		if changed && slices.Contains(wanted, arch) {
			fmt.Fprintf(os.Stderr, "target programs for %s: %.1f s\n", arch, time.Since(start).Seconds())
		}
	}
}
