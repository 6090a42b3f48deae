package disks

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/lab/inram/runs"
)

// The tests of packages that need what the kernel of this machine may lack
// (device mapper, arrays, parsers of partition tables, vfat) run in the RAM
// system, with its kernel and its programs, and without udev.
func TestInMachine(t *testing.T) {
	lab.Need(t)
	dir := filepath.Join(lab.Dir(t, "inmachine"), "bundle")
	lab.MustVic(t, "build", "./testdata/machine.yaml", "-o", "kernel=cloud", "--out", dir)
	b, err := builder.OpenBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	only := func(pkg, tests string) runs.Run {
		return runs.Run{Package: pkg, Args: []string{"-test.v", "-test.timeout=10m", "-test.run=" + tests}}
	}
	lab.RunInRAM(ctx, t, b, 2048, runs.List{
		Secrets: []string{"passphrase-of-a-test"},
		Modules: []string{"loop", "dm-mod", "md-mod", "vfat", "btrfs", "xfs"},
		Runs: []runs.Run{
			only("disk", "^(TestMountedDisk|TestReread.*|TestSwapInUse)$"),
			only("internal/kmod", "^TestFinitPresent$"),
			only("disk/luks", "^TestOpen$"),
			only("disk/lvm", "^(TestVolumes|TestFitReal)$"),
			only("disk/md", "^TestArray$"),
			only("disk/release", "^TestStack$"),
			only("disk/btrfs", "^TestMake$"),
			only("disk/extent", "^TestAllocate"),
			only("internal/registration/storage", "^(TestGrowsAgain|TestShrinkPhysical|TestPhysicalRefuses|TestStageFile)$"),
			only("internal/registration/file", "^TestFiles(Elsewhere|OnFAT)$"),
			only("internal/agent/storage", "^(TestStacked|TestStackedKilled|TestStackedResize|TestDegraded|TestSwapThatIsOn|TestBind)$/^(cryptsetup|lvcreate|mdadm|mkfs.btrfs)$"),
		},
	})
}
