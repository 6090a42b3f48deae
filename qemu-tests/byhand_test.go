package qemutests

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// A person at the booted stick installs a payload from another disk. What comes
// after the file systems is the same as in TestInstall, and left out.
func TestByHand(t *testing.T) {
	needLab(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	target := oldDisk(t)
	stick := filepath.Join(built(t, "installer", "usb"), builder.USBFile)
	m := vm.Start(t, vm.Config{
		Dir: filepath.Join(t.TempDir(), "run"), NoReboot: true,
		Disks: []vm.Disk{
			{Path: stick, Bus: "usb", Snapshot: true, BootIndex: 1},
			{Path: target, Serial: "vic-target", Cache: "unsafe"},
			{Path: payloadDisk(t), Serial: "vic-folder", ReadOnly: true},
		},
	})
	shows(ctx, t, m, "Nothing to do")
	typeAtShell(ctx, t, m, "mkdir /payload && mount -r -t ext4 /dev/vdb /payload && "+
		"vic install /payload --disk /dev/vda --yes --phases verify,partition,format && poweroff")
	checkTable(t, target, 512)
	say(t, "e2fsck", "-fn", fmt.Sprintf("%s?offset=%d", target, rootStart))
}

// payloadDisk is an ext4 disk with the folder that vic build wrote.
func payloadDisk(t *testing.T) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "payload.img")
	say(t, "mke2fs", "-q", "-t", "ext4", "-d", built(t, "debian", ""), image, "512M")
	return image
}
