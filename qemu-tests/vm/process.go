package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// newPairs makes n connected pairs of stream sockets. Ours do not block, so
// that closing one ends a read.
func newPairs(n int) (ours, theirs []*os.File, err error) {
	for range n {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err == nil {
			err = unix.SetNonblock(fds[0], true)
			ours = append(ours, os.NewFile(uintptr(fds[0]), "machine"))
			theirs = append(theirs, os.NewFile(uintptr(fds[1]), "qemu"))
		}
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("make socket pair: %w", err), closeAll(ours), closeAll(theirs))
		}
	}
	return ours, theirs, nil
}

func closeAll(files []*os.File) error {
	var err error
	for _, f := range files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// process is a QEMU.
type process struct {
	cmd    *exec.Cmd
	errOut tailBuffer
	exited chan struct{}
	status error
}

// startProcess starts QEMU with files as its descriptors from 3 on, and closes
// them here, also on error.
func startProcess(name string, args []string, dir string, files []*os.File) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), exited: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.ExtraFiles = files
	p.cmd.Stdout, p.cmd.Stderr = &p.errOut, &p.errOut
	// Its own group: an interrupt typed at the terminal is for us to handle.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go p.run(started)
	err := <-started
	return p, errors.Join(err, closeAll(files))
}

// run starts the process and waits for it. The kernel sends the parent-death
// signal when the starting thread ends, so that thread is kept until then.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	p.status = p.cmd.Wait()
	close(p.exited)
}

func (p *process) wait() error {
	<-p.exited
	return p.status
}

// kill ends the process; one that has ended already is left alone by os.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // only os.ErrProcessDone is possible
}

// stderr is what the process complained about.
func (p *process) stderr() string { return strings.TrimSpace(p.errOut.String()) }

// tailBuffer keeps the last 16 KiB written to it.
type tailBuffer struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tailBuffer) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - 16<<10; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tailBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
