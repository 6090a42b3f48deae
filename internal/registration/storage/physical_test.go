package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/lvm"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/regtest"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// group makes a volume group on a partition, with a volume in its first extents
// that is in use.
func group(t *testing.T, device, size string) (node string) {
	t.Helper()
	r := tooltest.Need(t, "pvcreate", "lvm")
	l := hostLVM()
	vg := "vic" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12] // LVM looks at all devices
	c, err := l.CreateLV(lvm.Volume{VG: vg, Name: "root", Size: size})
	for _, c := range []tool.Cmd{l.CreatePVs(device), l.CreateVG(vg, device), c} {
		if err == nil {
			_, err = r.Run(t.Context(), c)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Run(context.Background(), l.Deactivate(vg)) })
	return "/dev/" + vg + "/root"
}

// extents is where those of a physical volume begin and end, and on what.
func extents(t *testing.T, device string) string {
	t.Helper()
	pv, ok, err := hostLVM().FindPV(t.Context(), tool.Exec{}, device)
	return fmt.Sprintln(pv.Start, pv.Size, pv.Free, pv.DeviceSize, ok, err)
}

func needDeviceMapper(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("/sys/class/misc/device-mapper"); err != nil {
		t.Skip("this kernel has no device mapper: qemu-tests/disks has it")
	}
}

// A physical volume ends earlier, its partition too, and the stage comes into the
// room.
func TestShrinkPhysical(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	needDeviceMapper(t)
	const sectors, less = 64 * 2048, 30 * 2048
	const last = 2048 + sectors - 1
	dev := table(t, 72*mib, fmt.Sprintf("label: gpt\nstart=2048, size=%d, type=E6D6D379-F507-44C2-A23C-238F2A3DF928, name=pv\n", sectors))
	node := group(t, dev+"p1", "20M")
	data := make([]byte, 20*mib)
	_, _ = rand.Read(data)
	if err := os.WriteFile(node, data, 0); err != nil {
		t.Fatal(err)
	}
	h := host(t, dev,
		func() registration.Change { return ResizePhysical(dev+"p1", (sectors-less)*512) },
		func() registration.Change {
			return Change(dev, 1, func(e *layout.Entry) { e.LastLBA = last - less })
		},
		func() registration.Change { return Add(dev, stage(last-less+1, last), stageFS) },
		func() registration.Change { return mkfs(t, dev+"p2") },
	)
	before := h.Snapshot
	h.Snapshot = func() string { return before() + extents(t, dev+"p1") }
	regtest.Run(t, h)
	if got, err := os.ReadFile(node); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the volume is another: %v", err)
	}
}

func TestPhysicalRefuses(t *testing.T) {
	needDeviceMapper(t)
	dev := table(t, 72*mib, "label: gpt\nstart=2048, size=131072, name=pv\n")
	s := registered(t)
	refused := func(size int64, want string) {
		t.Helper()
		if _, err := s.Do(t.Context(), ResizePhysical(dev+"p1", size)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	refused(32*mib, "it holds no physical volume of LVM alone")
	group(t, dev+"p1", "40M")
	refused(32*mib, "its volumes lie in the first 42991616")
	before := snapshot(t, dev) + extents(t, dev+"p1")
	if _, err := s.Do(t.Context(), ResizePhysical(dev+"p1", 48*mib)); err != nil {
		t.Fatal(err)
	}
	somebody := func(size int64) {
		t.Helper()
		if _, err := (tool.Exec{}).Run(t.Context(), hostLVM().ResizePV(dev+"p1", size)); err != nil {
			t.Fatal(err)
		}
	}
	somebody(56 * mib)
	if got := undone(t, s); !strings.HasPrefix(got, "left alone: it has 55574528 bytes now") {
		t.Error(got)
	}
	somebody(0)
	if got := undone(t, s); got != "was as before" {
		t.Error(got)
	}
	if now := snapshot(t, dev) + extents(t, dev+"p1"); now != before {
		t.Error(regtest.Diff(before, now))
	}
}
