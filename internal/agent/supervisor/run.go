package supervisor

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/ramsys/reap"
	"github.com/victorinix/vic/internal/service"
)

// run is one run of a service.
type run struct {
	number  int
	process *reap.Process
	group   *cgroup // nil: there are none
	stop    context.CancelFunc
}

// start starts a run. When its first process has ended, and then all others, the
// machine is told.
func (s *supervisor) start(a service.Action) (_ *run, err error) {
	one := s.graph[a.Service].With(a.Values)
	ctx, stop := context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			stop()
		}
	}()
	r := &run{number: a.Run, stop: stop}
	path, argv, env, err := s.command(one)
	if err != nil {
		return nil, err
	}
	ready := func() { s.call(func() { s.do(s.machine.Ready(now(), a.Service, a.Run)) }) }
	if one.Ready != nil && one.Ready.Notify {
		socket := filepath.Join(s.cfg.Dir, a.Service, "notify")
		if err := listenNotify(ctx, socket, ready); err != nil {
			return nil, err
		}
		env = append(env, "NOTIFY_SOCKET="+socket)
	}
	if r.group, err = s.cgroups.make(a.Service, one.Processes); err != nil {
		return nil, err
	}
	if r.process, err = s.spawn(path, argv, env, r.group, a.Service); err != nil {
		return nil, errors.Join(err, r.group.remove())
	}
	if one.Ready != nil {
		go probe(ctx, *one.Ready, ready)
	}
	go s.await(a.Service, r)
	return r, nil
}

// command is what is executed, and its environment.
func (s *supervisor) command(one service.Service) (path string, argv, env []string, err error) {
	env = append(slices.Clone(s.cfg.Env), "VIC_SERVICE="+one.Name, "VIC_SERVICES="+s.cfg.Dir, "VIC_OUTPUTS="+s.outputs(one.Name))
	for k, v := range one.Env {
		env = append(env, k+"="+v)
	}
	if len(one.Builtin) > 0 {
		if len(s.cfg.Builtin) == 0 {
			return "", nil, nil, fmt.Errorf("run %s: there are no built-in steps here", one.Builtin[0])
		}
		return s.cfg.Builtin[0], slices.Concat(s.cfg.Builtin, one.Builtin), env, nil
	}
	path, err = lookPath(one.Command[0], env)
	return path, one.Command, env, err
}

// lookPath finds a program in the PATH of env.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := ""
	for _, v := range env {
		if p, ok := strings.CutPrefix(v, "PATH="); ok {
			path = p
		}
	}
	for dir := range strings.SplitSeq(path, ":") {
		full := filepath.Join(dir, name)
		if st, err := os.Stat(full); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", fmt.Errorf("run %s: there is no such program in %s", name, path)
}

// spawn starts the process, in its group from the first instruction on.
func (s *supervisor) spawn(path string, argv, env []string, group *cgroup, name string) (*reap.Process, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	out, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	attr := &syscall.ProcAttr{
		Dir: "/", Env: env, Files: []uintptr{null.Fd(), w.Fd(), w.Fd()},
		Sys: &syscall.SysProcAttr{Setsid: true},
	}
	if group != nil {
		attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(group.dir.Fd())
	}
	p, err := s.cfg.Reaper.Start(path, argv, attr)
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	go s.record(name, out)
	return p, nil
}

// maxLine bounds a line of a log, in bytes.
const maxLine = 2 << 10

// record takes what a service prints, until nobody has the pipe open any more.
func (s *supervisor) record(name string, out io.ReadCloser) {
	defer out.Close()
	r := bufio.NewReaderSize(out, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		if text := strings.TrimRight(string(line), "\r\n"); text != "" {
			text = printable(text)
			s.rings[name].line(text)
			s.console.printf("%s: %s\n", name, text)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// await ends a run when its first process has: all others go with it.
func (s *supervisor) await(name string, r *run) {
	status := <-r.process.Done()
	r.stop()
	err := errors.Join(r.kill(), r.group.awaitEmpty(), r.group.remove())
	s.call(func() {
		s.problem(name, err)
		s.output(name, "") // what it wrote last may not have been seen yet
		ok := status.Exited() && status.ExitStatus() == 0
		s.do(s.machine.Exited(now(), name, r.number, ok, howOf(status)))
	})
}

func howOf(status syscall.WaitStatus) string {
	switch {
	case status.Signaled():
		return "ended by " + unix.SignalName(status.Signal())
	case status.ExitStatus() == 0:
		return "ended"
	}
	return fmt.Sprintf("ended with status %d", status.ExitStatus())
}

// terminate asks all processes of the session's first group to end.
func (r *run) terminate() error { return r.signal(unix.SIGTERM) }

// kill ends all processes of the run.
func (r *run) kill() error {
	if r.group != nil {
		return r.group.kill()
	}
	return r.signal(unix.SIGKILL)
}

// signal reaches the processes of the run's process group, which is there until
// the last of them has ended.
func (r *run) signal(sig unix.Signal) error {
	if err := unix.Kill(-r.process.Pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal %s: %w", unix.SignalName(sig), err)
	}
	return nil
}

// groupPatience is how long killed processes may take to disappear. One that the
// kernel holds in a dead disk never does, and is left behind.
const groupPatience = 2 * time.Second
