package ramsys

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/request"
)

// How long processes may take to end after SIGTERM, and to be gone after
// SIGKILL: one that the kernel holds in a dead disk never is.
const (
	termPatience = 5 * time.Second
	killPatience = 2 * time.Second
)

// shutdown leaves nothing running, nothing unwritten and nothing mounted, and
// ends the kernel. It returns only if the kernel refuses.
func shutdown(how string, report func(format string, args ...any)) error {
	if left := endProcesses("/proc"); left > 0 {
		report("%d processes do not end\n", left)
	}
	unix.Sync()
	for _, err := range unmountAll("/proc/self/mountinfo") {
		report("%v\n", err)
	}
	unix.Sync()
	command := unix.LINUX_REBOOT_CMD_POWER_OFF
	if how == request.FinishReboot {
		if err := rebootWith(RebootArgument); err != nil {
			report("%v\n", err)
		}
		command = unix.LINUX_REBOOT_CMD_RESTART
	}
	if err := unix.Reboot(command); err != nil {
		return fmt.Errorf("%s: %w", how, err)
	}
	return nil
}

// RebootArgument is a file with what the firmware is told at the next reboot:
// LINUX_REBOOT_CMD_RESTART2 of reboot(2). It is in RAM.
const RebootArgument = runDir + "/reboot-argument"

// rebootWith reboots when there is an argument to do it with.
func rebootWith(file string) error {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	argument, err := unix.BytePtrFromString(string(text))
	if err != nil {
		return fmt.Errorf("reboot with %q: %w", text, err)
	}
	_, _, errno := unix.Syscall6(unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2, unix.LINUX_REBOOT_CMD_RESTART2, uintptr(unsafe.Pointer(argument)), 0, 0)
	return fmt.Errorf("reboot with %q: %w", text, errno)
}

// endProcesses sends TERM, waits, sends KILL, waits, and returns how many are
// left.
func endProcesses(proc string) int {
	left := signalAll(proc, unix.SIGTERM)
	left = waitGone(proc, left, termPatience)
	if left == 0 {
		return 0
	}
	return waitGone(proc, signalAll(proc, unix.SIGKILL), killPatience)
}

func signalAll(proc string, sig unix.Signal) int {
	pids := processes(proc)
	for _, pid := range pids {
		_ = unix.Kill(pid, sig) // it may have ended by itself
	}
	return len(pids)
}

func waitGone(proc string, left int, limit time.Duration) int {
	for end := time.Now().Add(limit); left > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
		left = len(processes(proc))
	}
	return left
}

// processes lists all processes but this one, the kernel's threads (which have
// no executable) and zombies (which have none any more).
func processes(proc string) []int {
	dirs, _ := filepath.Glob(filepath.Join(proc, "[0-9]*")) // the pattern is well-formed
	var pids []int
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if _, err := os.Readlink(filepath.Join(dir, "exe")); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// unmountAll unmounts what holds data, last mounted first: what was mounted
// over or inside something goes before it. What is still busy is made
// read-only. The root, and what only shows the kernel's state, stays.
func unmountAll(mountinfo string) []error {
	f, err := os.Open(mountinfo)
	if err != nil {
		return []error{err}
	}
	defer f.Close()
	points, err := mountPoints(f)
	if err != nil {
		return []error{err}
	}
	var errs []error
	for i := len(points) - 1; i >= 0; i-- {
		if err := unmount(points[i]); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func unmount(point string) error {
	err := unix.Unmount(point, unix.UMOUNT_NOFOLLOW)
	if err == nil || errors.Is(err, unix.EINVAL) {
		return nil // gone together with what it was in
	}
	if ro := unix.Mount("", point, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); ro != nil {
		return fmt.Errorf("unmount %s: %w; make it read-only: %w", point, err, ro)
	}
	return nil
}

// mountPoints reads proc_pid_mountinfo(5) and returns the mount points to
// unmount, in the order in which they were mounted.
func mountPoints(r io.Reader) ([]string, error) {
	var points []string
	s := bufio.NewScanner(r)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) < 5 {
			return nil, fmt.Errorf("read mountinfo: no mount point in %q", s.Text())
		}
		_, after, found := strings.Cut(s.Text(), " - ")
		if !found {
			return nil, fmt.Errorf("read mountinfo: no file system type in %q", s.Text())
		}
		kind, _, _ := strings.Cut(after, " ")
		if point := unescape(fields[4]); point != "/" && holdsData(kind) {
			points = append(points, point)
		}
	}
	return points, s.Err()
}

func holdsData(kind string) bool {
	switch kind {
	case "proc", "sysfs", "devtmpfs", "devpts", "tmpfs", "ramfs", "efivarfs", "securityfs", "cgroup2", "debugfs", "tracefs":
		return false
	}
	return true
}

// unescape undoes the octal escapes of mountinfo: \040 is a space.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
