package storage_test

import (
	"os"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/agent/storage"
	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

const keepHome = `disk: {main: {type: disk, content: {type: gpt, partitions: {
  home: {keep: true, content: {type: filesystem, format: ext4, mountpoint: /home}},
  root: {size: "100%", content: {type: filesystem, format: ext4, mountpoint: /}}}}}}`

// Of a GPT that was being written when the power failed one copy is valid: what
// is kept is kept. With none, nothing is known about what is there.
func TestKeepOnDamagedTable(t *testing.T) {
	if testing.Short() {
		t.Skip("formats loop devices")
	}
	tooltest.Need(t, "sgdisk", "mkfs.ext4", "e2fsck", "blkid", "losetup")
	const size = 64 << 20
	for name, tt := range map[string]struct {
		spoiled []int64 // bytes of the disk
		refused bool
	}{
		"first header":    {[]int64{512 + 16}, false},
		"second entries":  {[]int64{size - 33*512 + 40}, false},
		"both entries":    {[]int64{1024 + 40, size - 33*512 + 40}, true},
		"one of each":     {[]int64{512 + 16, size - 33*512 + 40}, true},
		"first and no EE": {[]int64{512 + 16, 510}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the programs wait more than they work
			m := real(t, loopDisk(t, t.TempDir(), size))
			d := m.disks[0]
			sh(t, "sgdisk", "--new=1:2048:+20M", "--change-name=1:other", "--new=2:0:+20M", "--change-name=2:home", backing(t, d.Device))
			must(t, m.Flush(d.Device))
			sh(t, "partx", "--update", d.Device)
			home := m.Partition(d.Device, 2)
			sh(t, "mkfs.ext4", "-q", home)
			want := sh(t, "blkid", "-p", "-o", "value", "-s", "UUID", home)
			spoil(t, d.Device, tt.spoiled)
			before := sh(t, "sha256sum", d.Device)
			l, err := layout.Parse("layout.yaml", []byte(keepHome))
			must(t, err)
			p, err := plan.New(plan.Config{Layout: l, Disks: map[string]plan.State{"main": scan(t, m)}, Seed: seed})
			if tt.refused {
				if err == nil || !strings.Contains(err.Error(), "keep partition home: the partition table of the device is damaged") {
					t.Errorf("planned: %v", err)
				}
				return
			}
			must(t, err)
			must(t, storage.Run(t.Context(), loopConfig(t, m, p, nil)))
			if out := sh(t, "sgdisk", "--verify", d.Device); !strings.Contains(out, "No problems found") {
				t.Errorf("sgdisk: %s", out)
			}
			sh(t, "e2fsck", "-fn", home)
			if got := sh(t, "blkid", "-p", "-o", "value", "-s", "UUID", home); got != want || sh(t, "sha256sum", d.Device) == before {
				t.Errorf("home is %s, and was %s", got, want)
			}
		})
	}
}

// spoil changes single bytes of a disk, as it is on the disk.
func spoil(t *testing.T, device string, at []int64) {
	t.Helper()
	f, err := os.OpenFile(backing(t, device), os.O_RDWR, 0)
	must(t, err)
	for _, at := range at {
		b := make([]byte, 1)
		_, err := f.ReadAt(b, at)
		must(t, err)
		b[0] ^= 0xff
		_, err = f.WriteAt(b, at)
		must(t, err)
	}
	must(t, f.Close())
	must(t, storage.Host{}.Flush(device))
}
