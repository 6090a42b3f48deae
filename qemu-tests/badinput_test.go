package qemutests

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
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
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// What arrives damaged is refused in the RAM system, and the target disk stays
// as it was.
func TestBadInput(t *testing.T) {
	lab.Need(t)
	for _, tt := range []struct {
		name  string
		spoil func(*testing.T, *order)
		exit  int
		want  string
	}{
		{"altered payload", func(t *testing.T, o *order) { flipByte(t, o.payload) }, 4, "SHA-256"},
		{"truncated payload", func(t *testing.T, o *order) { truncate(t, o.payload) }, 4, "payload"},
		{"altered bundle", func(t *testing.T, o *order) { flipByte(t, o.initrd) }, 4, "system.erofs"},
		{"truncated bundle", func(t *testing.T, o *order) { truncate(t, o.initrd) }, 4, "system.erofs"},
		{"newer request", func(_ *testing.T, o *order) { o.request.Version++ }, 3, "version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOrder(t)
			tt.spoil(t, &o)
			target := oldDisk(t)
			before := lab.Digest(t, target)
			last := o.refused(t, target)
			if last.Exit != tt.exit || !strings.Contains(last.Message, tt.want) {
				t.Errorf("exit code %d, want %d: %s", last.Exit, tt.exit, last.Message)
			}
			if lab.Digest(t, target) != before {
				t.Error("the target disk was written to")
			}
		})
	}
}

// order is what arrives in the RAM system: a good request, and copies of the
// files that it comes with. The system image is the greater part of the initrd.
type order struct {
	request         request.Request
	payload, initrd string
}

func newOrder(t *testing.T) order {
	t.Helper()
	p := lab.Payload(t)
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
	o := order{payload: filepath.Join(t.TempDir(), "payload"), initrd: filepath.Join(t.TempDir(), "initrd")}
	lab.Slice(t, p.Path(builder.ImageFile), o.payload, 0, file.Size)
	writeFile(t, o.initrd, lab.Bundle(t).Initrd)
	o.request = request.Request{
		Version: request.Version, Item: p.Item,
		Payload: request.Payload{Format: p.Format, Size: file.Size, SHA256: file.SHA256, TreeSize: p.TreeSize,
			Arch: p.Arch, Kernel: p.Kernel, Source: request.Source{Serial: "vic-payload"}},
		Disks: map[string]request.DiskSelector{"main": {Serial: "vic-target"}}, Layout: l, System: p.System, Finish: request.FinishPoweroff,
	}
	return o
}

// writeFile makes a file.
func writeFile(t *testing.T, path string, content func(io.Writer) error) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := content(f); err != nil {
		t.Fatal(err)
	}
}

// flipByte alters one bit, three quarters down the file.
func flipByte(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at, b := size(t, path)*3/4, make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{b[0] ^ 1}, at); err != nil {
		t.Fatal(err)
	}
}

// truncate cuts off the last MiB, and a bit: disks have whole sectors.
func truncate(t *testing.T, path string) {
	t.Helper()
	if err := os.Truncate(path, (size(t, path)-mib)&^4095); err != nil {
		t.Fatal(err)
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
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

// refused runs the request in the RAM system and returns the event that ends it.
func (o order) refused(t *testing.T, target string) event.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	m := vm.Start(t, o.config(t, target))
	last, err := m.WaitEvent(ctx, func(e event.Event) bool { return e.State == event.Failed && e.Exit != 0 })
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Wait(ctx); err != nil {
		t.Errorf("vic.onerror=poweroff: %v", err)
	}
	return last
}

// config is a machine that boots the bundle with the request.
func (o order) config(t *testing.T, target string) vm.Config {
	t.Helper()
	doc, err := json.Marshal(o.request) // Encode would refuse it here already
	if err != nil {
		t.Fatal(err)
	}
	segment := filepath.Join(t.TempDir(), "request")
	writeFile(t, segment, func(w io.Writer) error { return builder.RequestSegment(w, doc, nil) })
	b := lab.Bundle(t)
	return vm.Config{
		Dir: filepath.Join(t.TempDir(), "run"), NoReboot: true, Events: true,
		Kernel: b.Path(builder.KernelFile), Initrd: []string{o.initrd, segment},
		Cmdline: b.Cmdline + " console=ttyS0 vic.onerror=poweroff",
		Disks: []vm.Disk{
			{Path: target, Serial: "vic-target", Cache: "unsafe"},
			{Path: o.payload, Serial: "vic-payload", Format: "raw", ReadOnly: true},
		},
		NICs: []vm.NIC{{Restrict: true}},
	}
}

// What can be known beforehand is refused before a machine is started.
func TestRefused(t *testing.T) {
	lab.Need(t)
	dir := lab.Built(t, "debian", "")
	small := filepath.Join(t.TempDir(), "small.img")
	altered := filepath.Join(t.TempDir(), "altered")
	if err := os.CopyFS(altered, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	flipByte(t, filepath.Join(altered, builder.ImageFile))
	for _, tt := range []struct {
		name, payload, disk, want string
	}{
		{"small disk", dir, small + ",size=1G", "too small"},
		{"disk smaller than the layout", dir, small + ",size=100M", "lay out"},
		{"BIOS on 4096-byte sectors", dir, small + ",size=8G,sector=4096", "BIOS"},
		{"altered payload", altered, small + ",size=8G", "SHA-256"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := lab.Vic(t, "install", tt.payload, "--vm", "--firmware", "bios", "--disk", tt.disk)
			if r.Exit != 3 || !strings.Contains(r.Stderr, tt.want) {
				t.Errorf("exit code %d, want 3 and %q: %s", r.Exit, tt.want, r.Stderr)
			}
			if _, err := os.Stat(small); !os.IsNotExist(err) {
				t.Errorf("the disk was made: %v", err)
			}
		})
	}
}
