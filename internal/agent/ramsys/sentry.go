package ramsys

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/victorinix/vic/internal/agent/ramsys/reap"
	"github.com/victorinix/vic/internal/agent/ramsys/watchdog"
	"github.com/victorinix/vic/internal/event"
)

// sentry is what init does with the machine's watchdog while a reset is a way
// back: until disks are written to. All of it is called from one goroutine, the
// one that does init's work: when that hangs, there are no pings. A nil sentry
// does nothing.
type sentry struct {
	// choose arms the best watchdog that there is, or one better than now: nil is
	// none. What need cannot load is left for later.
	choose func(now dog, need func(module string) error) (dog, error)
	sink   event.Sink
	// modprobe starts to load a module; the channel gets how that ended.
	modprobe func(module string) (<-chan syscall.WaitStatus, error)

	dog     dog
	ticks   *time.Ticker
	loading <-chan syscall.WaitStatus // of softdog
	loaded  bool                      // it need not be loaded again
	failing bool                      // the last ping went wrong
	retired bool                      // a reset is no way back any more
}

// dog is what sentry uses of a watchdog.
type dog interface {
	Ping() error
	Interval() time.Duration
	Disarm() error
	String() string
}

// chooseWatchdog chooses among the machine's.
func chooseWatchdog(timeout time.Duration) func(dog, func(string) error) (dog, error) {
	return func(now dog, need func(string) error) (dog, error) {
		var w *watchdog.Watchdog
		var err error
		if armed, ok := now.(*watchdog.Watchdog); ok {
			w, err = armed.Better()
		} else {
			w, err = watchdog.Arm(watchdog.Config{Sys: "/sys", Dev: "/dev", Timeout: timeout, Need: need})
		}
		if w == nil {
			return nil, err
		}
		return w, err
	}
}

// watchdogStep is the step of the events about it.
const watchdogStep = "watchdog"

// errSoftLater says that softdog is not there yet.
var errSoftLater = errors.New("softdog is not loaded")

// arm arms the best watchdog that there is, or a better one. final says that all
// devices have their drivers: then the kernel's own is loaded if need be.
func (s *sentry) arm(final bool) {
	if s == nil || s.retired {
		return
	}
	dog, err := s.choose(s.dog, func(module string) error { return s.needModule(module, final) })
	if errors.Is(err, errSoftLater) && !s.loaded {
		return // see moduleLoaded
	}
	s.use(dog, err)
}

// needModule starts to load the module, when it is time.
func (s *sentry) needModule(module string, final bool) error {
	if !final || s.loaded || s.loading != nil {
		return errSoftLater
	}
	var err error
	if s.loading, err = s.modprobe(module); err != nil {
		return err
	}
	return errSoftLater
}

// moduleLoaded is what follows from the end of modprobe.
func (s *sentry) moduleLoaded(status syscall.WaitStatus) {
	s.loading, s.loaded = nil, true
	if status != 0 {
		s.warn(fmt.Errorf("load module softdog: modprobe ended with %d", status.ExitStatus()))
	}
	s.arm(true)
}

// use goes on with dog, unless it is nil.
func (s *sentry) use(dog dog, err error) {
	if err != nil {
		s.warn(err)
	}
	if dog == nil || dog == s.dog {
		return
	}
	s.dog = dog
	if s.ticks != nil {
		s.ticks.Stop()
	}
	s.ticks = time.NewTicker(dog.Interval())
	s.tell(dog.String())
}

func (s *sentry) warn(err error) { warn(s.sink, []string{err.Error()}) }

func (s *sentry) tell(message string) {
	s.sink.Emit(event.Event{Phase: event.Enter, Step: watchdogStep, State: event.Done, Message: message})
}

// tick receives when it is time to ping.
func (s *sentry) tick() <-chan time.Time {
	if s == nil || s.ticks == nil {
		return nil
	}
	return s.ticks.C
}

// module receives when modprobe has ended.
func (s *sentry) module() <-chan syscall.WaitStatus {
	if s == nil {
		return nil
	}
	return s.loading
}

// ping keeps the machine alive for another timeout.
func (s *sentry) ping() {
	if s == nil || s.dog == nil {
		return
	}
	err := s.dog.Ping()
	if err != nil && !s.failing {
		s.warn(err)
	}
	s.failing = err != nil
}

// retire disarms the watchdog for good: a reset would no longer bring the system
// before back, but lose the one in RAM, the only one that can go on. One that
// cannot be stopped is pinged until the machine ends, whatever else happens.
func (s *sentry) retire(why string) {
	if s == nil || s.retired {
		return
	}
	s.retired = true
	if s.dog == nil {
		return
	}
	dog := s.dog
	s.dog = nil
	s.ticks.Stop()
	err := dog.Disarm()
	switch {
	case err == nil:
		s.tell("disarmed: " + why)
	case errors.Is(err, watchdog.ErrNoWayOut):
		s.warn(fmt.Errorf("%w, and is pinged from here on: %s", err, why))
		guard(func() {
			for range time.Tick(dog.Interval()) {
				_ = dog.Ping() // nobody could do anything about an error
			}
		})
	default:
		s.warn(err)
	}
}

// modprobeProcess runs this program as modprobe, apart from the agent, which may be dead.
func modprobeProcess(r *reap.Reaper) func(module string) (<-chan syscall.WaitStatus, error) {
	return func(module string) (<-chan syscall.WaitStatus, error) {
		log, err := os.OpenFile(agentLog, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return nil, err
		}
		defer log.Close()
		p, err := r.Start("/proc/self/exe", []string{"vic-init", modprobeCommand, module}, &syscall.ProcAttr{
			Dir: "/", Env: environment("dumb"), Files: []uintptr{log.Fd(), log.Fd(), log.Fd()},
			Sys: &syscall.SysProcAttr{Setsid: true},
		})
		if err != nil {
			return nil, err
		}
		return p.Done(), nil
	}
}
