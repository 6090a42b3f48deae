package qemutests

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// A kernel update leaves the system bootable, by both boot loaders: the default
// layout has GRUB and systemd-boot, whatever firmware it was installed under.
func TestKernelReinstall(t *testing.T) {
	needLab(t)
	d := installed(t, machine{"uefi", 512})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	overlay := vm.Overlay(t, d.path)
	d.path, d.origin = overlay, d.path

	g := login(t, d.start(t, "reinstall", "uefi", kernelRepository(t, d.result)), "anna", d.result)
	before := g.sudo(bootFiles)
	g.sudo("mkdir /run/repo && mount -o ro /dev/disk/by-id/virtio-vic-repo /run/repo" +
		" && echo 'deb [trusted=yes] file:/run/repo ./' > /run/repo.list")
	const apt = "DEBIAN_FRONTEND=noninteractive apt-get -o Dir::Etc::SourceList=/run/repo.list -o Dir::Etc::SourceParts=- "
	g.sudo(apt + "update 2>&1")
	t.Log(g.sudo(apt + "install -y --reinstall linux-image-$(uname -r) 2>&1"))
	if after := g.sudo(bootFiles); after == before {
		t.Errorf("the reinstallation made nothing anew:\n%s", after)
	}
	g.poweroff(ctx)

	for _, firmware := range []string{"uefi", "bios"} {
		g := login(t, d.start(t, "after "+firmware, firmware), "anna", d.result)
		g.booted()
		g.checks([]check{
			{"test -d /sys/firmware/efi && echo uefi || echo bios", "^" + firmware + "$"},
			{"uname -r", "^" + regexp.QuoteMeta(d.result.Kernel) + "$"},
			{"findmnt -no UUID /", "^" + d.result.RootUUID + "$"},
		})
		g.poweroff(ctx)
	}
}

// bootFiles says when what both boot loaders start was made.
const bootFiles = "stat -c '%n %Y' /boot/initrd.img-* $(find /boot/efi -name 'initrd*')"

// kernelRepository is a disk with an apt repository of the running kernel: the
// guest has no way to another.
func kernelRepository(t *testing.T, want event.Result) vm.Disk {
	t.Helper()
	dir := t.TempDir()
	archive := openLocked(t, filepath.Join(built(t, "debian", ""), builder.LockFile))
	all, err := archive.Resolve(t.Context(), deb.Request{Packages: []string{"linux-image-cloud-amd64"}})
	if err != nil {
		t.Fatal(err)
	}
	var kernel []deb.Package
	for _, p := range all {
		if p.Name == "linux-image-"+want.Kernel {
			kernel = append(kernel, p)
		}
	}
	if len(kernel) != 1 {
		t.Fatalf("the payload has %d kernels %s", len(kernel), want.Kernel)
	}
	if err := archive.LocalRepository(t.Context(), filepath.Join(dir, "repo"), kernel); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "repo.img")
	say(t, "mke2fs", "-q", "-t", "ext4", "-d", filepath.Join(dir, "repo"), image, "128M")
	return vm.Disk{Path: image, Serial: "vic-repo", ReadOnly: true}
}

// openLocked opens the packages of a lock from the cache.
func openLocked(t *testing.T, lockFile string) *deb.Archive {
	t.Helper()
	in, err := os.Open(lockFile)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	lock, err := deb.ReadLock(in)
	if err != nil {
		t.Fatal(err)
	}
	cache, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	a, err := deb.Open(t.Context(), deb.Config{Suite: lock.Suite, Arch: lock.Arch, CacheDir: cache, Offline: true, Lock: lock})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// start boots the disk, and keeps what is written to it.
func (d disk) start(t *testing.T, name, firmware string, more ...vm.Disk) *vm.Machine {
	t.Helper()
	c := d.config(t, vm.Config{Name: strings.ReplaceAll(name, " ", "-"), Firmware: firmware}, true)
	c.Disks = append([]vm.Disk{{Path: d.path, SectorSize: d.sector, Serial: "vic-target", Cache: "unsafe"}}, more...)
	return vm.Start(t, c)
}
