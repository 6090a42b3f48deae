package qemutests

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// A person at the booted stick installs a payload from another disk. What comes
// after the file systems is the same as in TestInstall, and left out.
func TestByHand(t *testing.T) {
	lab.Need(t)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	target := oldDisk(t)
	stick := filepath.Join(lab.Built(t, "installer", "usb"), builder.USBFile)
	m := vm.Start(t, vm.Config{
		Dir: filepath.Join(t.TempDir(), "run"), NoReboot: true, Events: true,
		Disks: []vm.Disk{
			{Path: stick, Bus: "usb", Snapshot: true, BootIndex: 1},
			{Path: target, Serial: "vic-target", Cache: "unsafe"},
			{Path: payloadDisk(t), Serial: "vic-folder", ReadOnly: true},
		},
	})
	agentReady(ctx, t, m)
	typeAtShell(ctx, t, m, "mkdir -p /payload && mount -r -t ext4 /dev/vdb /payload && "+
		"vic install /payload --disk /dev/vda --yes --phases verify,partition,format && poweroff")
	lab.CheckTable(t, target, 512)
	lab.Say(t, "e2fsck", "-fn", fmt.Sprintf("%s?offset=%d", target, rootStart))
}

// payloadDisk is an ext4 disk with the folder that vic build wrote.
func payloadDisk(t *testing.T) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "payload.img")
	lab.Say(t, "mke2fs", "-q", "-t", "ext4", "-d", lab.Built(t, "debian", ""), image, "512M")
	return image
}
