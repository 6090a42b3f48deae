package ramsys

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is one line that tells this machine from the one beside it.
func machine(sys string) string {
	read := func(name string) string {
		b, _ := os.ReadFile(filepath.Join(sys, name))
		return strings.TrimSpace(strings.Trim(string(b), "\x00"))
	}
	name := strings.TrimSpace(read("class/dmi/id/sys_vendor") + " " + read("class/dmi/id/product_name"))
	if name == "" {
		name = read("firmware/devicetree/base/model")
	}
	if name == "" {
		name = "unknown machine"
	}
	firmware := "BIOS"
	if _, err := os.Stat(filepath.Join(sys, "firmware/efi")); err == nil {
		firmware = "UEFI"
	} else if runtime.GOARCH != "amd64" {
		firmware = "device tree"
	}
	return fmt.Sprintf("%s, %s, %d CPU, %s, Linux %s", name, firmware, runtime.NumCPU(), size(memory("MemTotal")), release())
}

// memory reads a line of /proc/meminfo, in bytes; 0 when it cannot.
func memory(field string) int64 {
	b, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(b)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, field+": %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}

// release is uname -r.
func release() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}
