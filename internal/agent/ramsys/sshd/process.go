package sshd

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// process is a program of the system, the leader of a session and a process
// group of its own. It is not waited for until its session is over: as long as
// it is a zombie, the number of its process group is nobody else's, and signals
// reach those that they are meant for.
type process struct {
	cmd      *exec.Cmd
	in       *os.File // what it reads
	out, err *os.File // what it writes; err is nil with a terminal, where in is out
	wait     time.Duration
	words    time.Duration

	exited chan struct{} // the leader has ended
	said   chan struct{} // and all that it said is sent
}

// startProcess runs a command by the shell, or the shell itself.
func (s *session) startProcess(command, original string) (*process, error) {
	srv := s.conn.server
	argv := srv.Shell
	if command != "" {
		argv = append(append([]string{}, argv...), "-c", command)
	}
	cmd := &exec.Cmd{
		Path: argv[0], Args: argv, Dir: srv.home(), Env: s.environment(original),
		// Should this process die, its clients are gone too. (The signal comes
		// when the thread ends that has forked; Go keeps its threads.)
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGHUP},
	}
	p := &process{
		cmd: cmd, wait: srv.limits.hangUp, words: srv.limits.lastWords,
		exited: make(chan struct{}), said: make(chan struct{}),
	}
	var err error
	if s.term != nil {
		err = p.startOnTerminal(s.term)
	} else {
		err = p.startOnPipes()
	}
	if err != nil {
		return nil, err
	}
	go p.watch()
	return p, nil
}

func (p *process) startOnTerminal(t *terminal) error {
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = t.tty, t.tty, t.tty
	p.cmd.SysProcAttr.Setctty = true
	if err := p.cmd.Start(); err != nil {
		return err
	}
	t.tty.Close()
	p.in, p.out = t.master, t.master
	return nil
}

func (p *process) startOnPipes() (err error) {
	var theirs, ours []*os.File
	defer func() {
		closeAll(theirs)
		if err != nil {
			closeAll(ours)
		}
	}()
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			return err
		}
		if len(ours) == 0 { // the first is the one that it reads
			r, w = w, r
		}
		ours, theirs = append(ours, r), append(theirs, w)
	}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirs[0], theirs[1], theirs[2]
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.in, p.out, p.err = ours[0], ours[1], ours[2]
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// watch notices the end of the leader, without reaping it.
func (p *process) watch() {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	close(p.exited)
}

func (p *process) done() <-chan struct{} { return p.said }

// connect returns at once. What goes wrong with one stream ends that stream:
// the process sees it as the end of its input, or as SIGPIPE.
func (p *process) connect(ch ssh.Channel) {
	var output sync.WaitGroup
	go p.feed(ch)
	if p.err == nil {
		output.Go(func() { p.readTerminal(ch) })
	} else {
		output.Go(func() { copyOut(ch, p.out) })
		output.Go(func() { copyOut(ch.Stderr(), p.err) })
	}
	go func() {
		<-p.exited
		output.Wait()
		close(p.said)
	}()
}

// feed gives the process what the client sends. A terminal has no end: what
// ends there is up to the client, by a character.
func (p *process) feed(ch ssh.Channel) {
	_, err := io.Copy(p.in, ch)
	if p.err == nil {
		return
	}
	p.in.Close()
	if err != nil { // the process reads no more: the client need not send
		_, _ = ch.SendRequest("eow@openssh.com", false, nil)
	}
}

// copyOut ends with the process that writes, or the client that reads.
func copyOut(w io.Writer, r *os.File) {
	_, _ = io.Copy(w, r)
	r.Close()
}

// signal reaches the process group of the leader.
func (p *process) signal(sig syscall.Signal) error {
	return syscall.Kill(-p.cmd.Process.Pid, sig)
}

func (p *process) finish() syscall.WaitStatus {
	_ = p.cmd.Wait() // says the same as the status
	closeAll([]*os.File{p.in, p.out})
	status, _ := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return status
}

// hangUp ends the process group, also what the leader has left in it.
func (p *process) hangUp() {
	// That there is none any more is what is wanted.
	_ = p.signal(syscall.SIGHUP)
	_ = p.signal(syscall.SIGCONT) // one that is stopped would not notice
	closeAll([]*os.File{p.in, p.out})
	if p.err != nil {
		p.err.Close()
	}
	time.Sleep(p.wait)
	_ = p.signal(syscall.SIGKILL)
	<-p.exited
	_ = p.cmd.Wait()
}
