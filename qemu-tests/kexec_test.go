package qemutests

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// TestKexec: `vic kexec` starts a bundle from a running system, here the RAM
// system of a stick, which has no systemd. Its disks stay as they are.
func TestKexec(t *testing.T) {
	lab.Need(t)
	for _, firmware := range []string{"bios", "uefi"} {
		t.Run(firmware, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			c := usb(t)
			c.Firmware, c.Events, c.NoReboot, c.Dir, c.MemoryMiB = firmware, true, true, filepath.Join(t.TempDir(), "run"), 512
			c.Disks = append(c.Disks, vm.Disk{Path: bundleDisk(t), ReadOnly: true})
			m := vm.Start(t, c)
			agentReady(ctx, t, m)
			typeUntil(ctx, t, m, "mkdir -p /b; mount -r -t ext4 /dev/vda /b; /b/vic kexec /b/bundle --yes",
				func(console string) bool { return strings.Count(console, "Nothing to do") == 2 })
			typeAtShell(ctx, t, m, "poweroff")
		})
	}
}

// bundleDisk is an ext4 disk with vic and a bundle.
func bundleDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	lab.Say(t, "cp", "-r", lab.Built(t, "installer", "bundle"), filepath.Join(dir, "bundle"))
	lab.Say(t, "cp", lab.Program(t), filepath.Join(dir, "vic"))
	image := filepath.Join(t.TempDir(), "bundle.img")
	lab.Say(t, "mke2fs", "-q", "-t", "ext4", "-d", dir, image, "128M")
	return image
}
