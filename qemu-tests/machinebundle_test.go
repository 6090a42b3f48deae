package qemutests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// bundleFor is the RAM system for a machine whose facts are in testdata.
func bundleFor(t *testing.T, facts string) *builder.Bundle {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	lab.MustVic(t, "build", "installer", "--for", filepath.Join("testdata", facts), "--out", dir)
	b, err := builder.OpenBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// initrd puts the whole initrd of a bundle into a file.
func initrd(t *testing.T, b *builder.Bundle) string {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "initrd"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := b.Initrd(f); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// mostBytes is what may be uploaded to a virtual machine.
const mostBytes = 20_000_000

// kernelKeeps is what Debian's cloud kernel keeps for itself of a machine's
// memory: MemTotal does not have it.
const kernelKeeps = 45 << 20

// A bundle for one virtual machine is small, starts in the memory that it says,
// finds the disk and the network card, and leaves what an installation needs.
func TestBundleForAVirtualMachine(t *testing.T) {
	lab.Need(t)
	b := bundleFor(t, "machine-virtio.json")
	file := initrd(t, b)
	size := int64(0)
	for _, path := range []string{file, b.Path(builder.KernelFile)} {
		st, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		size += st.Size()
	}
	t.Logf("kernel and initrd: %d bytes", size)
	if size > mostBytes {
		t.Errorf("%d bytes, at most %d may be", size, mostBytes)
	}
	need, err := b.Memory()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	disk := filepath.Join(t.TempDir(), "disk.img")
	if err := vm.BlankDisk(disk, 64<<20); err != nil {
		t.Fatal(err)
	}
	m := vm.Start(t, vm.Config{
		Name: "machine", Kernel: b.Path(builder.KernelFile), Initrd: []string{file}, MemoryMiB: int((need.Total + kernelKeeps) >> 20),
		Cmdline: b.Cmdline + " console=ttyS0 quiet vic.net=wait vic.onerror=poweroff",
		NICs:    []vm.NIC{{Restrict: true}}, Disks: []vm.Disk{{Path: disk, Format: "raw", Serial: "vic"}}, Events: true, NoReboot: true,
	})
	e, err := m.WaitEvent(ctx, func(e event.Event) bool { return e.Phase == event.Enter && e.Step == "" && e.State == event.Done })
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("with %d MiB of memory: %s", (need.Total+kernelKeeps)>>20, e.Message)
	var seconds, have float64
	if _, err := fmt.Sscanf(e.Message, "agent ready %f s after the kernel started, %f MiB of memory available", &seconds, &have); err != nil {
		t.Fatalf("agent says %q: %v", e.Message, err)
	}
	if spare := float64(builder.Spare >> 20); have < spare || have > 1.4*spare {
		t.Errorf("%.1f MiB are available where the bundle promises %.0f MiB, and not much more", have, spare)
	}
	loaded := func(e event.Event) bool { return e.Step == "modules" && strings.Contains(e.Message, "virtio_blk") }
	if _, err := m.WaitEvent(ctx, loaded); err != nil {
		t.Errorf("the disk has no driver: %v", err)
	}
	typeAtShell(ctx, t, m, "poweroff")
}

// A machine that the cloud kernel does not drive gets the generic one, and all
// drivers for its cards, controllers and keyboard.
func TestBundleForAPhysicalMachine(t *testing.T) {
	lab.Need(t)
	b := bundleFor(t, "machine-physical.json")
	if strings.Contains(b.Kernel, "cloud") {
		t.Errorf("kernel %s", b.Kernel)
	}
	for _, driver := range []string{"ahci", "e1000e", "nvme", "sd_mod", "usbhid", "xhci_pci"} {
		if !slices.Contains(b.Drivers, driver) {
			t.Errorf("%s is not among the drivers %v", driver, b.Drivers)
		}
	}
	for _, driver := range []string{"igb", "virtio_blk", "mlx5_core", "megaraid_sas"} {
		if slices.Contains(b.Drivers, driver) {
			t.Errorf("%s is among the drivers %v", driver, b.Drivers)
		}
	}
}
