package ramsys

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/victorinix/vic/internal/event"
)

// findPort returns the device of the virtio-serial port called name, or "".
// There is no udev to make /dev/virtio-ports.
func findPort(sys, dev, name string) string {
	names, _ := filepath.Glob(filepath.Join(sys, "class/virtio-ports/*/name")) // the pattern is well-formed
	for _, file := range names {
		if b, err := os.ReadFile(file); err == nil && strings.TrimSpace(string(b)) == name {
			return filepath.Join(dev, filepath.Base(filepath.Dir(file)))
		}
	}
	return ""
}

// feedPort copies the log to the event port until the log ends. A module may
// have to be loaded before there is a port, and a listener may come at any
// time or never: until then the copying waits, and nothing waits for it.
// Without a port it ends with the log.
func feedPort(ctx context.Context, log *eventLog, find func() string) error {
	for {
		size, ended, grown := log.state()
		if device := find(); size > 0 && device != "" {
			return copyToPort(ctx, log.follow(ctx), device)
		}
		if ended {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func copyToPort(ctx context.Context, r io.Reader, device string) error {
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	stop := context.AfterFunc(ctx, func() { _ = f.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err = io.Copy(struct{ io.Writer }{f}, r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}

// eventPort finds the port of this machine.
func eventPort() string { return findPort("/sys", "/dev", event.Port) }
