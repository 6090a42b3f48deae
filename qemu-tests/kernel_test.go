package qemutests

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/deb"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// A kernel update leaves the system bootable, by both boot loaders: the default
// layout has GRUB and systemd-boot, whatever firmware it was installed under.
func TestKernelReinstall(t *testing.T) {
	lab.Need(t)
	d := lab.Installed(t, defaults[0]).Overlay(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()

	g := lab.Login(t, d.Start(t, vm.Config{Name: "reinstall", Disks: []vm.Disk{kernelRepository(t, d.Result)}}), d.Result)
	before, kept := g.Sudo(bootFiles), g.Sudo(initramfsNames)
	g.Sudo("mkdir /run/repo && mount -o ro /dev/disk/by-id/virtio-vic-repo /run/repo" +
		" && echo 'deb [trusted=yes] file:/run/repo ./' > /run/repo.list")
	const apt = "DEBIAN_FRONTEND=noninteractive apt-get -o Dir::Etc::SourceList=/run/repo.list -o Dir::Etc::SourceParts=- "
	g.Sudo(apt + "update 2>&1")
	t.Log(g.Sudo(apt + "install -y --reinstall linux-image-$(uname -r) 2>&1"))
	if after := g.Sudo(bootFiles); after == before {
		t.Errorf("the reinstallation made nothing anew:\n%s", after)
	}
	// The payload's, which the install kept, has all that the system's own has.
	if diff := cmp.Diff(strings.Fields(kept), strings.Fields(g.Sudo(initramfsNames))); diff != "" {
		t.Errorf("the system makes another initramfs (-kept +its own):\n%s", diff)
	}
	g.Poweroff(ctx)

	for _, firmware := range []string{"uefi", "bios"} {
		g := lab.Login(t, d.Start(t, vm.Config{Name: "after-" + firmware, Firmware: firmware}), d.Result)
		g.Booted()
		g.Checks([][2]string{
			{"test -d /sys/firmware/efi && echo uefi || echo bios", "^" + firmware + "$"},
			{"uname -r", "^" + regexp.QuoteMeta(d.Result.Kernel) + "$"},
			{"findmnt -no UUID /", "^" + d.Result.RootUUID + "$"},
		})
		g.Poweroff(ctx)
	}
}

// bootFiles says when what both boot loaders start was made.
const bootFiles = "stat -c '%n %Y' /boot/initrd.img-* $(find /boot/efi -name 'initrd*')"

// initramfsNames lists an initramfs, but for the file that told initramfs-tools in
// the build what it finds out by itself on the target.
const initramfsNames = "lsinitramfs /boot/initrd.img-$(uname -r) | grep -v conf.d/vic-image | sort"

// kernelRepository is a disk with an apt repository of the running kernel: the
// guest has no way to another.
func kernelRepository(t *testing.T, want event.Result) vm.Disk {
	t.Helper()
	dir := t.TempDir()
	archive := openLocked(t, filepath.Join(lab.Built(t, "debian", ""), builder.LockFile))
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
	lab.Say(t, "mke2fs", "-q", "-t", "ext4", "-d", filepath.Join(dir, "repo"), image, "128M")
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
	cache, err := lab.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	a, err := deb.Open(t.Context(), deb.Config{Suite: lock.Suite, Arch: lock.Arch, CacheDir: cache, Offline: true, Lock: lock})
	if err != nil {
		t.Fatal(err)
	}
	return a
}
