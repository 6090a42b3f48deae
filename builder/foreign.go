package builder

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// foreignName is QEMU's name of an architecture, as binfmt_misc has it.
var foreignName = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// checkForeign refuses an architecture whose programs this machine cannot run:
// the maintainer scripts of a payload are run while it is built. binfmt is
// where binfmt_misc is mounted
// (Documentation/admin-guide/binfmt-misc.rst).
func checkForeign(arch, binfmt string) error {
	if arch == runtime.GOARCH {
		return nil
	}
	if _, err := os.Stat(filepath.Join(binfmt, "qemu-"+foreignName[arch])); err != nil {
		return fmt.Errorf("maintainer scripts for %s do not run on this machine (%s): install the Debian packages qemu-user-static and binfmt-support", arch, runtime.GOARCH)
	}
	return nil
}
