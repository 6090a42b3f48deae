package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/copytree"
	"github.com/victorinix/vic/internal/event"
)

// payload is where the tree is mounted: a root with tar and mkfs.ext4, in
// which everything below happens.
const (
	payload = "/payload"
	target  = payload + "/mnt"
)

// The disks, by serial number.
const (
	payloadDisk = "bench-payload"
	tarDisk     = "bench-tar"
	targetDisk  = "bench-target"
)

// bench is the devices.
type bench struct{ payload, tar, target string }

func copies(ctx context.Context, sink event.Sink, rounds int) (err error) {
	var b bench
	for serial, path := range map[string]*string{payloadDisk: &b.payload, tarDisk: &b.tar, targetDisk: &b.target} {
		if *path, err = disk(serial); err != nil {
			return err
		}
	}
	if err := b.mountPayload(); err != nil {
		return err
	}
	if err := inPayload(ctx, "tar", "--xattrs", "--xattrs-include=*", "--acls", "--one-file-system", "-cf", b.tar, "-C", "/", "."); err != nil {
		return err
	}
	for range rounds {
		for _, c := range []struct {
			step string
			do   func(context.Context) (int64, error)
		}{{"copytree", copyTree}, {"tar", b.untar}, {"read", readTree}} {
			if err := b.round(ctx, sink, c.step, c.do); err != nil {
				return fmt.Errorf("%s: %w", c.step, err)
			}
		}
	}
	return nil
}

// round times do with a new file system mounted on target.
func (b bench) round(ctx context.Context, sink event.Sink, step string, do func(context.Context) (int64, error)) error {
	if err := inPayload(ctx, "mkfs.ext4", "-q", "-F", b.target); err != nil {
		return err
	}
	if err := unix.Mount(b.target, target, "ext4", 0, ""); err != nil {
		return fmt.Errorf("mount %s: %w", b.target, err)
	}
	if err := cold(); err != nil {
		return err
	}
	start := time.Now()
	bytes, err := do(ctx)
	took := time.Since(start)
	if err != nil {
		return err
	}
	sink.Emit(event.Event{Phase: event.Copy, Step: step, State: event.Done, Done: took.Nanoseconds(), Total: bytes})
	return unix.Unmount(target, 0)
}

// cold drops everything that was read, so that no round gains from another.
func cold() error {
	unix.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}

func (b bench) mountPayload() error {
	if err := os.MkdirAll(payload, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(b.payload, payload, "erofs", unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("mount %s: %w", b.payload, err)
	}
	for _, m := range []struct{ kind, dir string }{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"tmpfs", "/tmp"}} {
		if err := unix.Mount(m.kind, payload+m.dir, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", payload+m.dir, err)
		}
	}
	return nil
}

// inPayload runs a program of the payload.
func inPayload(ctx context.Context, name string, args ...string) error {
	c := exec.CommandContext(ctx, "/usr/bin/env", append([]string{name}, args...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: payload}
	c.Env, c.Dir = []string{"PATH=/usr/sbin:/usr/bin"}, "/"
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// copyTree copies the payload's tree as the installer does. The mounts in it
// are left out: the tree is mounted once more.
func copyTree(ctx context.Context) (int64, error) {
	return fromPayload(func(dir string) (int64, error) {
		st, err := copytree.Copy(ctx, dir, target, copytree.Options{})
		return st.Bytes, err
	})
}

func (b bench) untar(ctx context.Context) (int64, error) {
	if err := inPayload(ctx, "tar", "--xattrs", "--xattrs-include=*", "--acls", "-xpf", b.tar, "-C", "/mnt"); err != nil {
		return 0, err
	}
	fd, err := unix.Open(target, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return 0, unix.Syncfs(fd)
}
