package storage_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// swapped says whether a device is swapped to.
func swapped(t *testing.T, device string) bool {
	t.Helper()
	on, err := storage.Host{}.SwappedTo(device)
	must(t, err)
	return on
}

// Swap that is in the way is turned off, and swap that is kept stays on.
func TestSwapThatIsOn(t *testing.T) {
	tooltest.Need(t, "sfdisk", "mkfs.ext4", "mkswap", "losetup", "partx")
	m := real(t, loopDisk(t, t.TempDir(), 64<<20))
	d := m.disks[0]
	sh(t, "sgdisk", "--new=1:2048:+20M", "--new=2:0:+20M", "--change-name=2:home", backing(t, d.Device))
	must(t, m.Flush(d.Device))
	sh(t, "partx", "--update", d.Device)
	other, kept := m.Partition(d.Device, 1), m.Partition(d.Device, 2)
	for _, area := range []string{other, kept} {
		sh(t, "mkswap", area)
		must(t, disk.SwapOn(area, nil, nil))
		t.Cleanup(func() {
			if on, err := m.SwappedTo(area); err == nil && on {
				must(t, m.SwapOff(area))
			}
		})
	}
	l, err := layout.Parse("layout.yaml", []byte(strings.Replace(keepHome, "type: filesystem, format: ext4, mountpoint: /home", "type: swap", 1)))
	must(t, err)
	p, err := plan.New(plan.Config{Layout: l, Disks: map[string]plan.State{"main": scan(t, m)}, Seed: seed})
	must(t, err)
	var told recorder
	c := loopConfig(t, m, p, nil)
	c.Sink = &told
	must(t, storage.Run(t.Context(), c))
	want := "stopped swap " + sysfs.Root("/").KernelName(other)
	if !slices.ContainsFunc(told, func(e event.Event) bool { return e.Message == want }) {
		t.Errorf("nobody was told: %s", want)
	}
	found, err := m.Content(other)
	must(t, err)
	if swapped(t, other) || !swapped(t, kept) || len(found) != 1 || found[0].Type != "ext4" {
		t.Errorf("swapped to %t, kept %t, holds %+v", swapped(t, other), swapped(t, kept), found)
	}
}
