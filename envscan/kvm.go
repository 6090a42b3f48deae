package envscan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"time"
)

const kvmDevice = "/dev/kvm"

// kvmLimit is how long a guest may take that has nothing to do. It is done in a
// millisecond where KVM works, and in a hundred where KVM is itself emulated.
const kvmLimit = time.Second

// helperName is how a program calls itself to run the guest.
const helperName = "vic-kvm-guest"

// Exit codes of the helper. They are not those of a program that crashes, or of
// one that does not know of helpers.
const (
	guestRan  = 40
	guestHung = 41
)

// mayHelp: this program's main asks Helper, so that starting the program again
// starts the helper and not all that the program does.
var mayHelp atomic.Bool

var (
	errNotAsked = errors.New("only the running system is asked")
	errNoHelper = errors.New("this program has no helper process to try it in")
)

// Helper says whether this process was started to be a helper of the probes, and
// if so with what to exit. A program whose scans are to try virtual machines asks
// first thing in main:
//
//	if code, helper := envscan.Helper(); helper {
//		os.Exit(code)
//	}
//
// A guest runs within one ioctl, which on some hosts never returns, not even for
// SIGKILL. A thread that is left behind in one keeps its process from ending, and
// so whoever waits for it; a process that is left behind costs nobody anything.
// And a Go program cannot fork without executing something.
func Helper() (code int, helper bool) {
	mayHelp.Store(true)
	if len(os.Args) != 1 || os.Args[0] != helperName {
		return 0, false
	}
	// The parent may die before it ends this process.
	time.AfterFunc(kvmLimit, func() { os.Exit(guestHung) })
	if err := runGuest(kvmDevice); err != nil {
		return guestHung, true
	}
	return guestRan, true
}

// kvm says whether /dev/kvm can be opened, and whether a virtual machine runs.
func (s *scanner) kvm(ctx context.Context) (openable, works *bool) {
	const fact = "hw.cpu.virtualization."
	switch {
	case !s.live:
		s.gap(fact+"openable", kvmDevice, errNotAsked)
		s.gap(fact+"works", kvmDevice, errNotAsked)
		return nil, nil
	case !s.exists(kvmDevice):
		return nil, nil
	}
	f, err := os.OpenFile(kvmDevice, os.O_RDWR, 0)
	can := err == nil
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		s.gap(fact+"works", kvmDevice, err)
		return &can, nil
	}
	ran, err := tryGuest(ctx)
	if err != nil {
		s.gap(fact+"works", kvmDevice, err)
		return &can, nil
	}
	return &can, &ran
}

// tryGuest has this program run a guest in another process. A process that does
// not end when it is killed is left behind.
func tryGuest(ctx context.Context) (ran bool, err error) {
	if !mayHelp.Load() {
		return false, errNoHelper
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{helperName}
	if err := cmd.Start(); err != nil {
		return false, fmt.Errorf("start helper: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the exit code tells
		close(ended)
	}()
	limit := time.NewTimer(2 * kvmLimit) // it ends by itself unless it cannot
	defer limit.Stop()
	select {
	case <-ended:
	case <-limit.C:
		_ = cmd.Process.Kill() // it may have ended just now
		return false, nil
	case <-ctx.Done():
		_ = cmd.Process.Kill()
		return false, context.Cause(ctx)
	}
	switch code := cmd.ProcessState.ExitCode(); code {
	case guestRan:
		return true, nil
	case guestHung:
		return false, nil
	default:
		return false, fmt.Errorf("the helper ended with %s", cmd.ProcessState)
	}
}
