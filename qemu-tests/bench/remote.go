package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/qemu-tests/remote/oldsystem"
)

// remoteNote says what the figures mean.
const remoteNote = "`vic install --on` for a virtual machine (QEMU's, with virtio devices and the default\n" +
	"layout) that runs Debian 12, with a warm cache: until the new system has proven itself,\n" +
	"beside the time that the same machine needs for two plain reboots and for the copy of the\n" +
	"payload to its disk, over the same SSH. What is sent is all that ssh was given before\n" +
	"the machine leaves its system."

const (
	sentMost   = 20 // MB that may be sent
	remoteMost = 3  // times
)

// remote takes one machine to another system.
func (s Suite) remote(ctx context.Context) ([]Row, error) {
	payload := filepath.Join(s.Dir, "payload-remote")
	if _, err := s.Vic.Run(ctx, "build", "debian", "-o", "kernel=cloud", "--out", payload); err != nil {
		return nil, err
	}
	old := s.Old()
	if _, err := old.Answered(ctx); err != nil {
		return nil, err
	}
	reboots, err := twoReboots(ctx, old)
	if err != nil {
		return nil, err
	}
	size, copied, err := copyTo(ctx, old, filepath.Join(payload, builder.ImageFile))
	if err != nil {
		return nil, err
	}
	install := []string{"install", "debian", "-o", "hostname=bench", "-o", "kernel=cloud", "--on", old.Name,
		"--ssh-config", old.SSHConfig, "--disk", "match:serial=" + old.Serial, "--prove-timeout", "20m", "--yes"}
	if _, err := s.Vic.Run(ctx, append(install, "--phases", "scan,build")...); err != nil {
		return nil, err // it warms the cache
	}
	r, err := s.Vic.Run(ctx, install...)
	if err != nil {
		return nil, err
	}
	plain := reboots + copied
	return []Row{
		{"`vic install --on` to two reboots and a copy", r.Total.Seconds() / plain.Seconds(), remoteMost, "x",
			fmt.Sprintf("%.0f s to %.0f s, of which the copy of %.0f MB takes %.0f s", r.Total.Seconds(), plain.Seconds(), float64(size)/megabyte, copied.Seconds())},
		{"sent before the machine leaves its system", float64(r.Sent) / megabyte, sentMost, "MB", "the event of the upload"},
	}, nil
}

// twoReboots is how long a machine takes for them, until somebody can log in.
func twoReboots(ctx context.Context, old *oldsystem.System) (time.Duration, error) {
	const id = "cat /proc/sys/kernel/random/boot_id"
	before, err := old.SSH(ctx, "root", id, "")
	if err != nil {
		return 0, err
	}
	began := time.Now()
	for range 2 {
		// The connection may end before its command does.
		_, _ = old.SSH(ctx, "root", "systemctl reboot", "")
		for {
			once, cancel := context.WithTimeout(ctx, 20*time.Second)
			now, err := old.SSH(once, "root", id, "")
			cancel()
			if err == nil && now != before {
				before = now
				break
			}
			select {
			case <-ctx.Done():
				return 0, fmt.Errorf("wait for a reboot: %w: last: %w", context.Cause(ctx), err)
			case <-time.After(time.Second):
			}
		}
	}
	return time.Since(began), nil
}

// copyTo copies a file to a machine's disk, and takes it away again.
func copyTo(ctx context.Context, old *oldsystem.System, path string) (size int64, took time.Duration, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	if size, err = f.Seek(0, io.SeekEnd); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	out, err := old.SSHFrom(ctx, "root", "cat >/payload && sync /payload && wc -c </payload", f)
	took = time.Since(began)
	if err == nil && strings.TrimSpace(out) != fmt.Sprint(size) {
		err = fmt.Errorf("copy %s: %s of %d bytes arrived", path, strings.TrimSpace(out), size)
	}
	if err == nil {
		_, err = old.SSH(ctx, "root", "rm /payload", "")
	}
	return size, took, err
}
