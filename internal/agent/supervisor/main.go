package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// What a built-in step is run by in an appliance: a program of its system image,
// cmd/vic-appliance. PID 1 is small, and stays so.
const StepProgram = "/usr/libexec/vic-appliance"

// searchPath is that of the services: the programs of the system image come before
// the commands of the initramfs.
const searchPath = "/usr/sbin:/usr/bin:/bbin"

// cgroupRoot is where cgroup2 is mounted by convention.
const cgroupRoot = "/sys/fs/cgroup"

// HasServices says whether the mounted system is one whose services are to be run:
// it has a graph.
func HasServices() (bool, error) {
	_, err := os.Stat(GraphPath)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// Main runs the services of an appliance, in a process of its own: a child of PID
// 1, which starts it when the system image is mounted (its /etc has GraphPath) and
// the state, starts it again should it ever end, and on the way down sends it
// SIGTERM before anybody else: then it stops the services in order, and returns
// nil. What is told to people goes to stderr.
//
//	vic-init (PID 1) ── "vic-init supervise" ──> Main ──> services
//
// Orphans of its services come to it, not to PID 1.
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
		Builtin: []string{StepProgram}, Console: os.Stderr, Cgroup: cgroup,
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
