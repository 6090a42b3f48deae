// Package udev tells whether a udev daemon runs, waits for what it still has
// to do, and tells programs to do without one.
//
// vic's RAM system has none: there the kernel's devtmpfs makes the nodes of
// disks and partitions, and the programs those of device mapper and of arrays.
package udev

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/victorinix/vic/internal/tool"
)

// control is the daemon's socket (systemd-udevd-control.socket).
const control = "/run/udev/control"

// Running says whether somebody listens at the daemon's socket: the file alone
// outlives it.
func Running() bool {
	c, err := net.Dial("unixpacket", control)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// Without is the environment in which libdevmapper and mdadm make their nodes
// themselves.
func Without() []string { return []string{"DM_DISABLE_UDEV=1", "MDADM_NO_UDEV=1"} }

// Env is Without where no daemon runs.
func Env() []string {
	if Running() {
		return nil
	}
	return Without()
}

// settleTimeout bounds the wait for the daemon.
const settleTimeout = 30 * time.Second

// SettleCommand waits until all events have been handled.
func SettleCommand() tool.Cmd {
	return tool.Cmd{Name: "udevadm", Args: []string{"settle", fmt.Sprintf("--timeout=%d", int(settleTimeout.Seconds()))}}
}

// Settle waits until the daemon has handled all events; without a daemon there
// are none to wait for.
func Settle(ctx context.Context, r tool.Runner) error {
	if !Running() {
		return nil
	}
	if _, err := r.Run(ctx, SettleCommand()); err != nil {
		return fmt.Errorf("wait for udev: %w", err)
	}
	return nil
}
