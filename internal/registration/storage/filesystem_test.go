package storage

import (
	"bytes"
	"crypto/rand"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/resize"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// A file system that was shrunk while it was not mounted, as in the RAM system,
// grows again wherever it is.
func TestGrowsAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, tt := range []struct {
		format     string
		size, less int64
		mounted    bool
	}{
		{"ext4", 64 * mib, 40 * mib, true},
		{"ext4", 64 * mib, 40*mib + 100, false},
		{"btrfs", 300 * mib, 270 * mib, true},
		{"btrfs", 300 * mib, 270 * mib, false},
	} {
		name := tt.format
		if tt.mounted {
			name += ", mounted"
		}
		t.Run(name, func(t *testing.T) {
			if tt.format == "ext4" && tt.mounted && !mayGrow(t) {
				t.Skip("growing a mounted ext4 needs CAP_SYS_RESOURCE: qemu-tests/disks has it")
			}
			dev := tooltest.Loop(t, tt.size)
			tooltest.Run(t, "mkfs."+tt.format, "-q", dev)
			data := make([]byte, 3*mib)
			if _, err := rand.Read(data); err != nil {
				t.Fatal(err)
			}
			withFile(t, dev, tt.format, func(path string) error { return os.WriteFile(path, data, 0o600) })
			before := size(t, tt.format, dev)
			s := registered(t, Resize(dev, tt.less))
			if now := size(t, tt.format, dev); now != tt.less-tt.less%4096 && now != tt.less-tt.less%1024 {
				t.Errorf("%d bytes", now)
			}
			dir := ""
			if tt.mounted {
				dir = mounted(t, dev, tt.format)
			}
			if got := undone(t, s); got != "taken back" {
				t.Error(got)
			}
			if dir != "" {
				if err := disk.Unmount(dir); err != nil {
					t.Fatal(err)
				}
			}
			if now := size(t, tt.format, dev); now != before {
				t.Errorf("%d bytes instead of %d", now, before)
			}
			withFile(t, dev, tt.format, func(path string) error {
				b, err := os.ReadFile(path)
				if !bytes.Equal(b, data) {
					t.Error("the file has another content")
				}
				return err
			})
		})
	}
}

// mayGrow says whether this process has CAP_SYS_RESOURCE.
func mayGrow(t *testing.T) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "CapEff:\t")
	line, _, _ := strings.Cut(after, "\n")
	caps, err := strconv.ParseUint(line, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return caps&(1<<24) != 0
}

func size(t *testing.T, format, dev string) int64 {
	t.Helper()
	n, err := resize.Size(format, dev)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func withFile(t *testing.T, dev, format string, f func(path string) error) {
	t.Helper()
	dir := t.TempDir()
	if err := disk.Mount(dev, dir, format, nil); err != nil {
		t.Fatal(err)
	}
	if err := f(dir + "/file"); err != nil {
		t.Error(err)
	}
	if err := disk.Unmount(dir); err != nil {
		t.Fatal(err)
	}
}

// An interrupted resize2fs leaves a file system that says that it has errors.
func TestResizeInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	dev := tooltest.Loop(t, 64*mib)
	tooltest.Run(t, "mkfs.ext4", "-q", dev)
	before := size(t, "ext4", dev)
	for _, at := range []int64{before, 40 * mib} {
		s := registered(t, Resize(dev, 40*mib))
		if at == before {
			tooltest.Run(t, "e2fsck", "-f", "-p", dev)
			tooltest.Run(t, "resize2fs", dev)
		}
		tooltest.Run(t, "debugfs", "-w", "-R", "set_super_value state 2", dev)
		if list := s.List(t.Context()); list[0].Standing.Is != registration.Partly {
			t.Errorf("%+v", list[0].Standing)
		}
		if got := undone(t, s); got != "taken back" {
			t.Error(got)
		}
		if now := size(t, "ext4", dev); now != before {
			t.Errorf("%d bytes instead of %d", now, before)
		}
		tooltest.Run(t, "e2fsck", "-f", "-n", dev)
	}
}

// What others do to the size, and a partition that is too small meanwhile.
func TestOthersResize(t *testing.T) {
	dev := table(t, 96*mib, "label: gpt\nstart=2048, size=131072\n")
	node := disk.PartitionPath(dev, 1)
	tooltest.Run(t, "mkfs.ext4", "-q", node)
	s := registered(t, Resize(node, 40*mib))
	tooltest.Run(t, "resize2fs", node, "44M")
	if got := undone(t, s); !strings.HasPrefix(got, "left alone: it has 46137344 bytes now") {
		t.Error(got)
	}
	tooltest.Run(t, "e2fsck", "-f", "-p", node)
	tooltest.Run(t, "resize2fs", node, "40M")
	tooltest.Run(t, "sgdisk", "--delete=1", "--new=1:2048:100000", dev)
	reread(t, dev)
	if got := undone(t, s); !strings.HasPrefix(got, "failed: ") || !strings.Contains(got, "its partition comes first") {
		t.Error(got)
	}
}

func TestFstab(t *testing.T) {
	s := &Swap{
		UUID: "8f1d1bd6-0000-4222-8333-123456789abc", Label: "SWAP",
		Area: locate.Area{Disk: &locate.Disk{}, Partition: uuid.MustParse("aaaaaaaa-0000-4000-8000-000000000003")},
	}
	for spec, want := range map[string]bool{
		"UUID=8F1D1BD6-0000-4222-8333-123456789ABC": true, "UUID=1": false, `LABEL="SWAP"`: true, "LABEL=swap": false,
		"PARTUUID=AAAAAAAA-0000-4000-8000-000000000003": true, "PARTUUID=1": false, "/dev/null": false, "/dev/none": true,
	} {
		if got := s.named(spec, "/dev/none"); got != want {
			t.Errorf("%s: %t", spec, got)
		}
	}
	if p := priorityOf([]string{"sw", "pri=12"}); p == nil || *p != 12 {
		t.Error(p)
	}
	if p := priorityOf([]string{"sw", "pri=x"}); p != nil {
		t.Error(*p)
	}
}
