package hotplug

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/victorinix/vic/internal/kmod"
)

func TestParseUevent(t *testing.T) {
	got, err := ParseUevent([]byte("add@/devices/pci0/virtio1\x00ACTION=add\x00MODALIAS=virtio:d1v2\x00ODD\x00A=b=c\x00"))
	want := Uevent{"add", "/devices/pci0/virtio1", map[string]string{"ACTION": "add", "MODALIAS": "virtio:d1v2", "A": "b=c"}}
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
	for _, bad := range []string{"", "libudev\x00\xfe\xed\xca\xfe", "@/devices", "add", "add@devices"} {
		if ev, err := ParseUevent([]byte(bad)); err == nil {
			t.Errorf("%q: got %+v", bad, ev)
		}
	}
}

func FuzzParseUevent(f *testing.F) {
	f.Add([]byte("add@/devices/x\x00MODALIAS=y\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ev, err := ParseUevent(b); err == nil && (ev.Action == "" || ev.Devpath[0] != '/') {
			t.Errorf("%q: %+v", b, ev)
		}
	})
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestColdplug(t *testing.T) {
	sys := t.TempDir()
	write(t, sys+"/devices/pci0/0000:00:01.0/modalias", "pci:v1d2\n")
	write(t, sys+"/devices/platform/none/uevent", "")
	write(t, sys+"/bus/virtio/devices/virtio0/modalias", "virtio:d1v2\n")
	write(t, sys+"/bus/virtio/devices/virtio1/modalias", "virtio:d1v2\n")
	write(t, sys+"/bus/empty/devices/e/modalias", "\n")
	write(t, sys+"/class/input/input0/modalias", "input:b0\n")
	if err := os.MkdirAll(sys+"/bus/pci/devices", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../devices/pci0/0000:00:01.0", sys+"/bus/pci/devices/0000:00:01.0"); err != nil {
		t.Fatal(err)
	}
	if got, want := Coldplug(sys), []string{"input:b0", "pci:v1d2", "virtio:d1v2"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Coldplug(filepath.Join(sys, "absent")); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

// machine is a kernel that remembers what was loaded.
type machine struct {
	mu     sync.Mutex
	loaded []string
}

func (m *machine) insert(file, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.loaded = append(m.loaded, kmod.Name(file))
	return nil
}

func TestWatcherPlugsEachTree(t *testing.T) {
	sys, early, all := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, sys+"/bus/pci/devices/a/modalias", "pci:net\n")
	write(t, sys+"/bus/pci/devices/b/modalias", "pci:disk\n")
	write(t, sys+"/bus/pci/devices/c/modalias", "pci:bad\n")
	const index = "alias pci:net net\nalias pci:disk disk\nalias pci:bad bad\n"
	for dir, files := range map[string][]string{early: {"net.ko"}, all: {"net.ko", "disk.ko", "bad.ko"}} {
		write(t, dir+"/modules.alias", index)
		write(t, dir+"/modules.dep", "net.ko:\ndisk.ko:\nbad.ko:\n")
		for _, f := range files {
			write(t, filepath.Join(dir, f), "")
		}
	}
	m := &machine{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := Start(ctx, Config{Sys: sys, Loader: &kmod.Loader{Insert: m.insert}, Skip: map[string]bool{"bad": true},
		Report: func(b Batch) {
			if b.Err != nil || b.Modaliases != 3 {
				t.Errorf("batch %+v", b)
			}
		}})
	for i, want := range [][]string{{"net"}, {"net", "disk"}} {
		tree, err := kmod.Open([]string{early, all}[i])
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-w.Plug(ctx, tree):
		case <-time.After(10 * time.Second):
			t.Fatal("never settled")
		}
		if !slices.Equal(m.loaded, want) {
			t.Errorf("tree %d: loaded %v, want %v", i, m.loaded, want)
		}
	}
}
