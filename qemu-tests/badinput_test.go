package qemutests

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// What arrives damaged is refused in the RAM system, and the target disk stays
// as it was.
func TestBadInput(t *testing.T) {
	needLab(t)
	for _, tt := range []struct {
		name  string
		spoil func(*testing.T, *request.Request, string)
		exit  int
		want  string
	}{
		{"altered payload", flipByte, 4, "SHA-256"},
		{"truncated payload", truncate, 4, "payload"},
		{"newer request", func(_ *testing.T, r *request.Request, _ string) { r.Version++ }, 3, "version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req, image := order(t)
			tt.spoil(t, &req, image)
			target := oldDisk(t)
			before := digest(t, target)
			last := refused(t, req, image, target)
			if last.Exit != tt.exit || !strings.Contains(last.Message, tt.want) {
				t.Errorf("exit code %d, want %d: %s", last.Exit, tt.exit, last.Message)
			}
			if digest(t, target) != before {
				t.Error("the target disk was written to")
			}
		})
	}
}

// order is a good request, and a copy of the payload that it asks for.
func order(t *testing.T) (request.Request, string) {
	t.Helper()
	p := payload(t)
	file, err := p.Image()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := images.Layout(images.DefaultLayout, p.Arch)
	if err != nil {
		t.Fatal(err)
	}
	l, err := layout.Parse("default.yaml", doc)
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "payload")
	slice(t, p.Path(builder.ImageFile), image, 0, file.Size)
	return request.Request{
		Version: request.Version, Item: p.Item,
		Payload: request.Payload{Format: p.Format, Size: file.Size, SHA256: file.SHA256, TreeSize: p.TreeSize,
			Arch: p.Arch, Kernel: p.Kernel, Source: request.Source{Serial: "vic-payload"}},
		Disk: request.DiskSelector{Serial: "vic-target"}, Layout: l, System: p.System, Finish: request.FinishPoweroff,
	}, image
}

// flipByte alters one byte in the middle.
func flipByte(t *testing.T, r *request.Request, image string) {
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, r.Payload.Size/2); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{b[0] ^ 1}, r.Payload.Size/2); err != nil {
		t.Fatal(err)
	}
}

// truncate cuts off the last MiB.
func truncate(t *testing.T, r *request.Request, image string) {
	if err := os.Truncate(image, (r.Payload.Size-mib)&^4095); err != nil {
		t.Fatal(err)
	}
}

// oldDisk is a disk with something on it, here and there.
func oldDisk(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "target")
	if err := vm.BlankDisk(path, targetSize); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, at := range []int64{4096, espStart, rootStart + mib, targetSize - 4096} {
		if _, err := f.WriteAt(bytes.Repeat([]byte("precious"), 512), at); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// refused runs a request in the RAM system and returns the event that ends it.
func refused(t *testing.T, req request.Request, image, target string) event.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	m := vm.Start(t, ramConfig(t, req, image, target))
	last, err := m.WaitEvent(ctx, func(e event.Event) bool { return e.State == event.Failed && e.Exit != 0 })
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Wait(ctx); err != nil {
		t.Errorf("vic.onerror=poweroff: %v", err)
	}
	return last
}

// ramConfig is a machine that boots the bundle with a request.
func ramConfig(t *testing.T, req request.Request, image, target string) vm.Config {
	t.Helper()
	b := bundle(t)
	doc, err := json.Marshal(req) // Encode would refuse it here already
	if err != nil {
		t.Fatal(err)
	}
	initrd := filepath.Join(t.TempDir(), "initrd")
	f, err := os.Create(initrd)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := b.Initrd(f); err != nil {
		t.Fatal(err)
	}
	if err := builder.RequestSegment(f, doc, nil); err != nil {
		t.Fatal(err)
	}
	return vm.Config{
		Dir: filepath.Join(t.TempDir(), "run"), NoReboot: true, Events: true,
		Kernel: b.Path(builder.KernelFile), Initrd: []string{initrd},
		Cmdline: b.Cmdline + " console=ttyS0 vic.onerror=poweroff",
		Disks: []vm.Disk{
			{Path: target, Serial: "vic-target", Cache: "unsafe"},
			{Path: image, Serial: "vic-payload", Format: "raw", ReadOnly: true},
		},
		NICs: []vm.NIC{{Restrict: true}},
	}
}

// What can be known beforehand is refused before a machine is started.
func TestRefusedOnTheHost(t *testing.T) {
	needLab(t)
	dir := built(t, "debian", "")
	small := filepath.Join(t.TempDir(), "small.img")
	altered := filepath.Join(t.TempDir(), "altered")
	if err := os.CopyFS(altered, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	req, _ := order(t)
	flipByte(t, &req, filepath.Join(altered, builder.ImageFile))
	for _, tt := range []struct {
		name, payload, disk, want string
	}{
		{"small disk", dir, small + ",size=1G", "too small"},
		{"disk smaller than the layout", dir, small + ",size=100M", "lay out"},
		{"BIOS on 4096-byte sectors", dir, small + ",size=8G,sector=4096", "BIOS"},
		{"altered payload", altered, small + ",size=8G", "SHA-256"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := vic(t, "install", tt.payload, "--vm", "--firmware", "bios", "--disk", tt.disk)
			if r.exit != 3 || !strings.Contains(r.stderr, tt.want) {
				t.Errorf("exit code %d, want 3 and %q: %s", r.exit, tt.want, r.stderr)
			}
			if _, err := os.Stat(small); !os.IsNotExist(err) {
				t.Errorf("the disk was made: %v", err)
			}
		})
	}
}
