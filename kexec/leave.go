package kexec

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/tool"
)

// Host is the running system, to leave.
type Host struct {
	Tools tool.Runner
	// Root is "" or, in tests, where /run and /proc are.
	Root string
	// Reboot is reboot(2), outside of tests.
	Reboot func(cmd int) error
	Sync   func()
	// Settle is how long file systems may take to become read-only.
	Settle time.Duration
}

// Running is the system that the program runs on.
func Running(tools tool.Runner) Host {
	return Host{Tools: tools, Reboot: unix.Reboot, Sync: unix.Sync, Settle: 10 * time.Second}
}

// Leave ends the running system and starts the kernel that is loaded. With
// systemd it is an orderly shutdown: it returns when that has begun. Otherwise
// all file systems are made read-only and the jump follows at once: it does not
// return.
func (h Host) Leave(ctx context.Context) error {
	_, err := os.Stat(h.Root + "/run/systemd/system") // sd_booted(3)
	switch {
	case err == nil:
		// It finds the kernel loaded, and loads no other.
		if _, err := h.Tools.Run(ctx, tool.Cmd{Name: "systemctl", Args: []string{"kexec"}}); err != nil {
			return fmt.Errorf("leave the running system: %w", err)
		}
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("leave the running system: %w", err)
	}
	return h.Jump(ctx)
}

// Jump starts the kernel that is loaded after all file systems were made
// read-only, whatever still runs. It does not return when it works.
func (h Host) Jump(ctx context.Context) error {
	h.Sync()
	if err := h.readOnly(ctx); err != nil {
		return fmt.Errorf("make file systems read-only: %w", err)
	}
	if err := h.Reboot(unix.LINUX_REBOOT_CMD_KEXEC); err != nil {
		return fmt.Errorf("start the other kernel: %w", err)
	}
	return nil
}

// readOnly has the kernel remount everything and waits until what is on block
// devices is read-only. One that stays as it is has been synced: it is left like
// that, as at a power cut.
func (h Host) readOnly(ctx context.Context) error {
	over := time.After(h.Settle)
	// Documentation/admin-guide/sysrq.rst; it works whatever kernel.sysrq says.
	if err := os.WriteFile(h.Root+"/proc/sysrq-trigger", []byte("u"), 0); err != nil {
		return err
	}
	for {
		mounts, err := os.ReadFile(h.Root + "/proc/self/mounts")
		if err != nil {
			return err
		}
		if !writable(string(mounts)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-over:
			h.Sync()
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// writable tells whether a block device is mounted for writing (proc(5)).
func writable(mounts string) bool {
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) > 3 && strings.HasPrefix(f[0], "/dev/") && slices.Contains(strings.Split(f[3], ","), "rw") {
			return true
		}
	}
	return false
}
