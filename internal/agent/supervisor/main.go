package supervisor

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Program is vic in the system image of an appliance, cmd/vic-appliance: PID 1 is
// small, and stays so.
const Program = "/usr/libexec/vic-appliance"

// searchPath is that of the services: the programs of the system image come before
// the commands of the initramfs.
const searchPath = "/usr/sbin:/usr/bin:/bbin"

// cgroupRoot is where cgroup2 is mounted by convention.
const cgroupRoot = "/sys/fs/cgroup"

// ProgramArgs are the words with which PID 1 runs Program, once the system image
// and the state are mounted: whenever Program is there. It starts it again should it
// ever end, and on the way down sends it SIGTERM before anybody else, and waits.
//
//	PID 1 ── Program supervise ──> Main ── Program step NAME ──> built-in steps
//	                                └── dnsmasq, ... ──> services
func ProgramArgs() []string { return []string{"vic-appliance", "supervise"} }

// Main runs the services of GraphPath until SIGTERM comes; then it stops them in
// order and returns nil. What is told to people goes to stderr. Orphans of the
// services come to this process, not to PID 1.
func Main() error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	cgroup, err := mountCgroups(cgroupRoot)
	if err != nil {
		// The services run without, only less well contained.
		fmt.Fprintln(os.Stderr, "services:", err)
	}
	return Run(ctx, Config{
		Builtin: []string{"/proc/self/exe", "step"}, Console: os.Stderr, Cgroup: cgroup,
		Env: []string{"PATH=" + searchPath, "HOME=/root", "LC_ALL=C.UTF-8", "TERM=dumb"},
	})
}

// mountCgroups returns a folder of cgroup2 that groups can be made in.
func mountCgroups(root string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		return "", fmt.Errorf("find %s: %w", root, err)
	}
	if st.Type == unix.CGROUP2_SUPER_MAGIC {
		return root, nil
	}
	if err := unix.Mount("cgroup2", root, "cgroup2", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return "", fmt.Errorf("mount cgroup2 on %s: %w", root, err)
	}
	return root, nil
}
