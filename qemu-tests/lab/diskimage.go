package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// tellKeys has a system show its SSH host keys on a serial port: nobody knows those
// that a disk image makes at its first boot.
func tellKeys(tty string) string {
	return fmt.Sprintf(`
units:
  - name: tell-host-keys.service
    enabled: true
    content: |
      [Unit]
      After=ssh.service
      [Service]
      Type=oneshot
      ExecStart=/bin/sh -c 'sed "s/^/host key: /" /etc/ssh/ssh_host_*_key.pub > /dev/%s'
      [Install]
      WantedBy=multi-user.target
`, tty)
}

// DiskImage builds Debian as a disk image that User can log in to, into a new
// folder, and returns the path of the image. The arguments are further ones of vic
// build.
func DiskImage(t *testing.T, args ...string) string {
	t.Helper()
	return buildImage(t, "ttyS0", append([]string{"-o", "kernel=cloud", "-o", "kernel-params=console=ttyS0,systemd.default_device_timeout_sec=300"}, args...)...)
}

// BoardImage is DiskImage for a board whose serial port is tty.
func BoardImage(t *testing.T, board, tty string, args ...string) string {
	t.Helper()
	return buildImage(t, tty, append([]string{"-o", "board=" + board, "-o", "kernel-params=systemd.default_device_timeout_sec=300"}, args...)...)
}

func buildImage(t *testing.T, tty string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	defer lockBuilds(t)()
	MustVic(t, append([]string{"build", "debian", "--format", "disk", "--out", dir,
		"-o", "hostname=image1", "-o", "username=" + User, "-o", "sshkey=@" + writeLoginKey(t, t.TempDir()), "-n", tellKeys(tty)}, args...)...)
	return filepath.Join(dir, "disk.img")
}

var hostKey = regexp.MustCompile(`host key: (ssh-ed25519 \S+)`)

// BootImage boots a disk image by itself and logs in. What is written to it is
// kept.
func BootImage(t *testing.T, path, firmware string) Guest {
	t.Helper()
	m := vm.Start(t, vm.Config{
		Name: "image-" + firmware, Dir: filepath.Join(t.TempDir(), "run"), Firmware: firmware, MemoryMiB: 512,
		Disks:         []vm.Disk{{Path: path, Serial: "vic-image", Cache: "unsafe"}},
		NICs:          []vm.NIC{{Forward: []int{22}, Restrict: true}},
		EasyToEmulate: true,
	})
	return LoginImage(t, m, 12*time.Minute)
}

// LoginImage waits for a disk image to have booted, and logs in.
func LoginImage(t *testing.T, m *vm.Machine, limit time.Duration) Guest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	Shows(ctx, t, m, "host key: ssh-ed25519 ")
	Shows(ctx, t, m, "login:") // the line with the key is whole by then
	key := hostKey.FindStringSubmatch(m.Console())
	if key == nil {
		t.Fatal("the console shows no host key")
	}
	return Login(t, m, event.Result{HostKeys: []string{key[1]}})
}
