package handover

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/victorinix/vic/envscan"
)

// Need is what a bundle needs of the machine that it is started on.
type Need struct {
	Arch string // by Go's names: amd64
	// Load is how many bytes of memory must be available to load the bundle: for
	// its files, the kernel's copy of them, and what the system keeps to end in
	// order.
	Load int64
	// Total is how many bytes of memory the RAM system needs; 0: not known.
	Total int64
	// Signed: the bundle's kernel is one that a machine with Secure Boot accepts.
	Signed bool
}

const medium = "start the machine from a medium that vic build installer makes"

// MayEnter says what keeps a running system from starting a bundle's kernel: all
// of it, each with what to do.
func MayEnter(need Need, f envscan.Facts) error {
	var errs []error
	refuse := func(todo, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%w: %s", fmt.Errorf(format, args...), todo))
	}
	if arch := f.HW.Arch; arch != need.Arch {
		refuse("build one for it", "the bundle is for %s and this machine is %s", need.Arch, cmp.Or(arch, "of an unknown architecture"))
	}
	if f.OS.Container != "" {
		refuse("install on the machine that it runs on", "this is a container (%s)", f.OS.Container)
	}
	for _, reason := range barred(f, need.Signed) {
		refuse(reason.todo, "%s", reason.why)
	}
	have, total := f.State.MemoryAvailable, f.HW.Memory.Total
	switch {
	case need.Total > 0 && total < need.Total:
		refuse("give it more memory", "the machine has %d MiB of memory, and the RAM system needs %d MiB", total>>20, mib(need.Total))
	case have < need.Load:
		refuse("end what uses memory", "%d MiB of memory are available, and loading the bundle takes %d MiB", have>>20, mib(need.Load))
	}
	return errors.Join(errs...)
}

// mib rounds up.
func mib(bytes int64) int64 { return (bytes + 1<<20 - 1) >> 20 }

type reason struct{ why, todo string }

// barred are the reasons for which a system does not start another kernel.
func barred(f envscan.Facts, signed bool) []reason {
	k := f.OS.Kexec
	var list []reason
	for _, why := range k.Why {
		switch {
		case strings.HasPrefix(why, "this is a container") && f.OS.Container != "": // said already
		case strings.HasSuffix(why, "demands a signature") && k.Signed: // below
		default:
			list = append(list, reason{why, remedy(why)})
		}
	}
	switch {
	case !k.Signed || signed:
	case f.OS.Lockdown != "" && f.OS.Lockdown != "none":
		list = append(list, reason{fmt.Sprintf("the kernel is locked down (%s) and only starts a signed one, which the bundle's is not", f.OS.Lockdown),
			"turn Secure Boot off in the firmware, or " + medium})
	default:
		list = append(list, reason{"the kernel only starts a signed one, which the bundle's is not", medium})
	}
	if len(list) == 0 && !k.Allowed && f.OS.Container == "" && !k.Signed {
		list = append(list, reason{"this system cannot start another kernel", medium})
	}
	return list
}

// remedy is what helps against a reason of os.kexec.why.
func remedy(why string) string {
	switch {
	case why == "not root":
		return "log in as root, or as a user that sudo lets become root"
	case strings.HasPrefix(why, "kernel.kexec_load_disabled"), strings.HasPrefix(why, "kernel.kexec_load_limit_reboot"):
		setting, _, _ := strings.Cut(why, " ")
		return "it stays so until the next boot: take " + setting + " out of sysctl.conf and sysctl.d, reboot, and try again; or " + medium
	case strings.Contains(why, "CAP_SYS_BOOT"), strings.Contains(why, "user namespace"):
		return "log in to the machine itself, as its root"
	}
	return medium
}
