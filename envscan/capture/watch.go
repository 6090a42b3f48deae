// Package capture copies the files behind a machine's facts, so that they can be
// looked at elsewhere: by --root, in a test, in a report of a defect.
//
//	Watch:    run a scan, and see which files it looks at   --> paths
//	Collect:  read those, and no others                     --> entries
//	Write:    as a folder or as an archive
//
// What is captured is what probes look at, whichever they are: a list of files
// would be wrong the day after it was written, and reading all of /sys wakes,
// resets and hangs devices. It does not copy what is on disks.
package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Watch runs a program to its end, and lists the absolute paths that it opened,
// listed, or asked about, sorted. Its standard output is thrown away; an exit
// code other than 0 is an error with what it wrote to its standard error.
//
// It is done with ptrace(2), which needs Linux 5.3 for PTRACE_GET_SYSCALL_INFO,
// and no privilege; but some containers and security modules deny it.
func Watch(ctx context.Context, argv []string) ([]string, error) {
	type result struct {
		paths []string
		err   error
	}
	done := make(chan result)
	go func() {
		// All requests have to come from the thread that started the program. It
		// ends with this function.
		runtime.LockOSThread()
		paths, err := watch(ctx, argv)
		done <- result{paths, err}
	}()
	r := <-done
	if r.err != nil {
		return nil, fmt.Errorf("watch what a scan reads: %w", r.err)
	}
	return r.paths, nil
}

func watch(ctx context.Context, argv []string) ([]string, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	said, err := os.CreateTemp("", "vic-capture-")
	if err != nil {
		return nil, err
	}
	defer said.Close()
	if err := os.Remove(said.Name()); err != nil {
		return nil, err
	}
	pid, err := start(argv, null, said)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { unix.Kill(pid, unix.SIGKILL) })
	defer stop()
	w := watcher{pid: pid, seen: map[string]bool{}, threads: map[int]bool{pid: true}}
	status, err := w.run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	} else if err != nil {
		return nil, errors.Join(err, end(pid))
	}
	if !status.Exited() || status.ExitStatus() != 0 {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", said.Fd()))
		return nil, errors.Join(fmt.Errorf("%s ended with %d: %s", filepath.Base(argv[0]), status.ExitStatus(), bytes.TrimSpace(text)), err)
	}
	var paths []string
	for p := range w.seen {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	return paths, nil
}

// end kills a program that is of no use any more.
func end(pid int) error {
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		return err
	}
	_, err := unix.Wait4(pid, nil, unix.WALL, nil)
	return err
}

// start runs the program until it is loaded, and there it waits.
func start(argv []string, null, said *os.File) (pid int, err error) {
	path := argv[0]
	p, err := os.StartProcess(path, argv, &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{null, null, said}, Sys: &unix.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		return 0, fmt.Errorf("start %s traced: %w", path, err)
	}
	pid = p.Pid
	if err := p.Release(); err != nil { // run waits for it
		return 0, err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		return 0, fmt.Errorf("wait for %s: %w", path, err)
	}
	options := unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(pid, options); err != nil {
		return 0, errors.Join(fmt.Errorf("trace %s: %w", path, err), end(pid))
	}
	if err := unix.PtraceSyscall(pid, 0); err != nil {
		return 0, errors.Join(fmt.Errorf("trace %s: %w", path, err), end(pid))
	}
	return pid, nil
}

// watcher follows a program and its threads.
type watcher struct {
	pid     int
	threads map[int]bool
	seen    map[string]bool
}

// run ends with the program.
func (w *watcher) run() (status unix.WaitStatus, err error) {
	for {
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return status, fmt.Errorf("wait: %w", err)
		}
		if !status.Stopped() {
			if tid == w.pid {
				return status, nil
			}
			continue
		}
		signal, err := w.stopped(tid, status)
		if err != nil {
			return status, err
		}
		if err := unix.PtraceSyscall(tid, signal); err != nil && !errors.Is(err, unix.ESRCH) { // killed meanwhile
			return status, fmt.Errorf("continue: %w", err)
		}
	}
}

// stopped returns the signal that the thread stopped for and has to get.
func (w *watcher) stopped(tid int, status unix.WaitStatus) (signal int, err error) {
	fresh := !w.threads[tid]
	w.threads[tid] = true
	switch s := status.StopSignal(); {
	case s == unix.SIGTRAP|0x80: // PTRACE_O_TRACESYSGOOD
		return 0, w.call(tid)
	case s == unix.SIGTRAP && status.TrapCause() > 0:
		return 0, nil
	case s == unix.SIGSTOP && fresh:
		return 0, nil
	default:
		return int(s), nil
	}
}

// callInfo is struct ptrace_syscall_info of linux/ptrace.h, of an entry.
type callInfo struct {
	op   uint8
	_    [3]uint8
	arch uint32
	ip   uint64
	sp   uint64
	nr   uint64
	args [6]uint64
	_    [2]uint64
}

const getSyscallInfo = 0x420e

// call notes the path of a system call that begins.
func (w *watcher) call(tid int) error {
	var info callInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno == unix.ESRCH {
		return nil
	} else if errno != 0 {
		return fmt.Errorf("read a system call (needs Linux 5.3): %w", errno)
	}
	const entry = 1
	if info.op != entry {
		return nil
	}
	switch info.nr {
	case unix.SYS_OPENAT, unix.SYS_READLINKAT, sysFstatat, unix.SYS_STATX, unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2:
	default:
		return nil
	}
	path, err := text(tid, uintptr(info.args[1]))
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	if filepath.IsAbs(path) {
		w.seen[filepath.Clean(path)] = true
	}
	return nil
}

// text reads a C string of another process, at most two pages of it. One that
// is not readable is no path either: the system call fails.
func text(tid int, at uintptr) (string, error) {
	buf := make([]byte, unix.PathMax)
	first := min(os.Getpagesize()-int(at)%os.Getpagesize(), len(buf))
	remote := []unix.RemoteIovec{{Base: at, Len: first}}
	if first < len(buf) {
		remote = append(remote, unix.RemoteIovec{Base: at + uintptr(first), Len: len(buf) - first})
	}
	n, err := unix.ProcessVMReadv(tid, []unix.Iovec{{Base: &buf[0], Len: uint64(len(buf))}}, remote, 0)
	if errors.Is(err, unix.EFAULT) {
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("read a path: %w", err)
	}
	end := bytes.IndexByte(buf[:n], 0)
	return string(buf[:max(end, 0)]), nil
}
