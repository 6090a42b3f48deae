package disks

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

//go:embed testdata/zfs/make.sh
var zfsRecipe string

// Pools are made, mounted and taken away by a Debian with OpenZFS: Debian has its
// sources alone, and compiling them takes a quarter of an hour, once.
func TestZFS(t *testing.T) {
	lab.Need(t)
	if os.Getenv("VIC_TEST_MATRIX") != "1" {
		t.Skip("compiles OpenZFS, which takes a quarter of an hour: VIC_TEST_MATRIX=1 runs it")
	}
	tooltest.Root(t)
	tooltest.Need(t, "mmdebstrap", "mke2fs")
	system := zfsSystem(t)
	tree := t.TempDir()
	for _, name := range []string{"run.sh", "partitions.yaml", "whole.yaml", "other.yaml"} {
		lab.Say(t, "cp", filepath.Join("testdata", "zfs", name), tree)
	}
	lab.Say(t, "cp", lab.Program(t), filepath.Join(tree, "vic"))
	medium := filepath.Join(t.TempDir(), "medium.img")
	lab.Say(t, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, medium, "256M")
	disks := []vm.Disk{{Path: filepath.Join(system, "root.img"), Format: "raw", Snapshot: true}, {Path: medium, Format: "raw", ReadOnly: true}}
	for range 3 {
		disks = append(disks, vm.Disk{Path: tooltest.Image(t, 640<<20), Format: "raw", Cache: "unsafe"})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	m := vm.Start(t, vm.Config{
		MemoryMiB: 1024, NoReboot: true, Disks: disks,
		Kernel: filepath.Join(system, "kernel"), Initrd: []string{filepath.Join(system, "initrd")},
		Cmdline: "root=/dev/vda rw console=ttyS0 quiet init=/start",
	})
	if err := m.Wait(ctx); err != nil {
		t.Errorf("%v\n%s", err, m.ConsoleTail(60))
	}
	said := m.Console()
	if strings.Contains(said, "FAILED") || !strings.Contains(said, "## all done") {
		_, part, _ := strings.Cut(said, "## without udev")
		t.Errorf("without udev%s", part)
	}
}

// zfsSystem is the folder with the system, from the cache.
func zfsSystem(t *testing.T) string {
	t.Helper()
	cache, err := lab.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(zfsRecipe))
	dir := filepath.Join(cache, "zfs", fmt.Sprintf("%x", sum[:8]))
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := os.OpenFile(filepath.Join(filepath.Dir(dir), "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	mirror := os.Getenv("VIC_MIRROR")
	if mirror == "" {
		if mirror, err = deb.HostMirror("/"); err != nil {
			t.Fatal(err)
		}
	}
	began, made := time.Now(), dir+".new"
	err = os.RemoveAll(made)
	if err == nil {
		_, err = tool.Exec{}.Run(t.Context(), tool.Cmd{Name: "unshare", Args: []string{"--mount", "--propagation", "private", "sh", "-c", zfsRecipe, "make.sh", made, mirror}})
	}
	if err == nil {
		err = os.Rename(made, dir)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("OpenZFS compiled in %.0f s", time.Since(began).Seconds())
	return dir
}
