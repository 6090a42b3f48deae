package ramsys

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// servicesProgram is in the system image of an appliance: with superviseArg it runs
// its services, with servicesCommand it shows them. See package supervisor, of which
// PID 1 has nothing: it is small.
const (
	servicesProgram = "/usr/libexec/vic-appliance"
	superviseArg    = "supervise"
	servicesCommand = "services"
	slotsCommand    = "slots"
)

// ofAppliance is vic-init services, and vic-init slots.
func ofAppliance(command string, args []string) error {
	err := syscall.Exec(servicesProgram, append([]string{filepath.Base(servicesProgram), command}, args...), os.Environ())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: this machine is no appliance: it has none", command)
	}
	return fmt.Errorf("run %s: %w", servicesProgram, err)
}

// servicesPatience is how long the services may take to stop.
const servicesPatience = 20 * time.Second

// serve runs the services of an appliance, beside a shell on each console, until
// somebody ends the machine. The services end before anything else does.
func (s system) serve() string {
	stop, stopped := make(chan struct{}), make(chan struct{})
	guard(func() {
		defer close(stopped)
		s.keepServices(stop)
	})
	s.keepShells()
	how := s.await()
	close(stop)
	select {
	case <-stopped:
	case <-time.After(servicesPatience):
		s.print("services: they did not stop within %v\n", servicesPatience)
	}
	return how
}

// keepServices runs the supervisor, and again whenever it ends.
func (s system) keepServices(stop <-chan struct{}) {
	for pause := shortestPause; ; pause = min(2*pause, longestPause) {
		began := uptime()
		reason := s.supervise(stop)
		select {
		case <-stop:
			return
		default:
		}
		if uptime()-began > healthyLife {
			pause = shortestPause
		}
		s.print("services: the supervisor ended: %s; it is started again\n", reason)
		select {
		case <-time.After(pause):
		case <-stop:
			return
		}
	}
}

// supervise runs the supervisor until it ends, or is to stop; what it says goes to
// the consoles. It returns why it ended.
func (s system) supervise(stop <-chan struct{}) string {
	r, w, err := os.Pipe()
	if err != nil {
		return err.Error()
	}
	defer w.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err.Error()
	}
	defer null.Close()
	p, err := s.reaper.Start(servicesProgram, []string{filepath.Base(servicesProgram), superviseArg}, &syscall.ProcAttr{
		Dir: "/", Env: environment("dumb"), Files: []uintptr{null.Fd(), w.Fd(), w.Fd()},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err.Error()
	}
	guard(func() {
		defer r.Close()
		// It ends when nobody can write to the pipe any more.
		_, _ = io.Copy(printer{s}, r)
	})
	select {
	case status := <-p.Done():
		return reasonOf(status)
	case <-stop:
		_ = unix.Kill(p.Pid, unix.SIGTERM) // it may have ended by itself
		<-p.Done()
		return ""
	}
}

// printer writes to all consoles.
type printer struct{ system }

func (p printer) Write(b []byte) (int, error) {
	p.print("%s", b)
	return len(b), nil
}
