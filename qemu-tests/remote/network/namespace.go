package network

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Namespace is a network namespace: a thread of this process that left the others'.
// It has no name, and goes when the process does.
type Namespace struct {
	file *os.File
	work chan func()
	done chan struct{}
}

// newNamespace makes one in which only the loopback interface is up.
func newNamespace() (*Namespace, error) {
	n := &Namespace{work: make(chan func()), done: make(chan struct{})}
	made := make(chan error)
	go n.live(made)
	if err := <-made; err != nil {
		return nil, fmt.Errorf("make network namespace: %w", err)
	}
	err := n.configure("link set lo up")
	if err == nil {
		// Nobody else can have its addresses: they need no seconds of waiting.
		err = n.set("0", "ipv6/conf/default/accept_dad")
	}
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// live is the thread's life. It stays locked at the end, so that it ends.
func (n *Namespace) live(made chan<- error) {
	runtime.LockOSThread()
	defer close(n.done)
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		n.file, err = os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	}
	made <- err
	if err != nil {
		return
	}
	for f := range n.work {
		f()
	}
}

// Do has f run in the namespace. What it opens or starts belongs to it; what other
// goroutines do that f starts does not.
func (n *Namespace) Do(f func() error) error {
	result := make(chan error)
	n.work <- func() { result <- f() }
	return <-result
}

// Start starts a command in the namespace, that is killed when the namespace ends.
func (n *Namespace) Start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return n.Do(cmd.Start)
}

// Run runs a command in the namespace, and returns its output.
func (n *Namespace) Run(name string, args ...string) (string, error) {
	return n.feed("", name, args...)
}

func (n *Namespace) feed(stdin, name string, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	err := n.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		err = fmt.Errorf("run %s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out.Bytes()))
	}
	return out.String(), err
}

// configure runs commands of ip(8), one a line.
func (n *Namespace) configure(lines ...string) error {
	_, err := n.feed(strings.Join(lines, "\n")+"\n", "ip", "-batch", "-")
	return err
}

// set writes settings below /proc/sys/net: they are those of the thread that writes.
func (n *Namespace) set(value string, settings ...string) error {
	return n.Do(func() error {
		var err error
		for _, s := range settings {
			err = errors.Join(err, os.WriteFile(filepath.Join("/proc/sys/net", s), []byte(value), 0))
		}
		return err
	})
}

// Path leads other processes into the namespace, as nsenter --net=PATH, as long as
// this one lives.
func (n *Namespace) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd()) }

// tap makes an interface of which this process is the other end.
func (n *Namespace) tap(name string) (wire, error) {
	var t tap
	err := n.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		req, err := unix.NewIfreq(name)
		if err == nil {
			req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
		}
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		t.File = os.NewFile(uintptr(fd), name)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("make network interface %s: %w", name, err)
	}
	return t, nil
}

// close ends the namespace, and what was started in it.
func (n *Namespace) close() {
	close(n.work)
	<-n.done
	_ = n.file.Close() // it was only held
}
