package storage_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/internal/agent/storage"
	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// layered keeps LVM in LUKS, whose last volume gives or takes the space.
func layered(size string) string {
	return fmt.Sprintf(`
disk: {main: {type: disk, content: {type: gpt, partitions: {
  data: {keep: true, label: data, resize: %s, content: {type: luks, name: crypt, content: {type: lvm_pv, vg: pool}}},
}}}}
lvm_vg: {pool: {type: lvm_vg, lvs: {home: {size: 100%%FREE, content: {type: filesystem, format: ext4, mountpoint: /home}}}}}
`, size)
}

// withLayers is a disk with such a partition of 4 GiB.
func withLayers() (*fake, map[string]plan.Disk) {
	names := map[string]plan.Disk{"main": identity("one")}
	f := newFake(identity("one"))
	f.tables["/dev/one"] = &probe.Table{Table: layout.Table{Kind: layout.KindGPT, GUID: seed, SectorSize: 512, Size: 8 << 30, Entries: []layout.Entry{
		{Number: 1, Label: "data", Type: layout.TypeLinux, GUID: uuid.MustParse("0b0b0b0b-0000-4000-8000-000000000001"), FirstLBA: 2048, LastLBA: 2048 + 4<<21 - 1},
	}}}
	f.content["/dev/one-1"] = storage.Content{Type: "crypto_LUKS", UUID: "crypt"}
	f.content["/dev/mapper/vic-resize-2"] = storage.Content{Type: "LVM2_member", Group: "pool"}
	f.content["/dev/pool/home"] = storage.Content{Type: "ext4"}
	f.vols["pool"] = []string{"home"}
	return f, names
}

// The layers of a partition are changed from the inside out when it shrinks, and
// from the outside in when it grows; run again after it died anywhere, the rest
// is done.
func TestLayersAreResizedInOrder(t *testing.T) {
	const mib = 1 << 20
	for size, want := range map[string][]string{
		"2G": {
			fmt.Sprintf("resize /dev/pool/home to %d", 2<<30-16*mib-mib),
			fmt.Sprintf("shrink pv /dev/mapper/vic-resize-2 to %d", 2<<30-16*mib),
			"write table /dev/one", "write table /dev/one",
		},
		"6G": {
			"write table /dev/one",
			fmt.Sprintf("grow pv /dev/mapper/vic-resize-2 to %d", 6<<30-16*mib),
			fmt.Sprintf("resize /dev/pool/home to %d", 6<<30-16*mib-mib),
			"write table /dev/one",
		},
	} {
		effects := func(f *fake) []string {
			return slices.DeleteFunc(slices.Clone(f.log), func(s string) bool { return strings.HasPrefix(s, "release") || strings.HasPrefix(s, "wipe") })
		}
		run := func(f *fake, names map[string]plan.Disk) error {
			c := config(f, planFor(t, f, layered(size), names, false), names)
			return storage.Run(t.Context(), c)
		}
		f, names := withLayers()
		must(t, run(f, names))
		// Nothing is left to finish: the last table is found done.
		if got := effects(f); !slices.Equal(got, want) && !slices.Equal(got, want[:len(want)-1]) {
			t.Errorf("%s:\n got %q\nwant %q", size, got, want)
		}
		if f.active["/dev/mapper/vic-resize-2"] != "" {
			t.Errorf("%s: what was opened for it is still open: %v", size, f.active)
		}
		for at := 1; at <= f.count; at++ {
			for _, how := range []string{"before", "inside", "after"} {
				g, names := withLayers()
				g.at, g.how = at, how
				if err := run(g, names); !errors.Is(err, errDied) {
					t.Fatalf("%s, died %s %d: %v", size, how, at, err)
				}
				g.reboot()
				must(t, run(g, names))
				if g.content["/dev/pool/home"] != f.content["/dev/pool/home"] || g.tables["/dev/one"].Entries[0] != f.tables["/dev/one"].Entries[0] {
					t.Errorf("%s, died %s %d: %+v %+v", size, how, at, g.content, g.tables["/dev/one"])
				}
			}
		}
	}
}

// What stands on a partition that has its size already is left alone while it
// is in use.
func TestResizedAndInUse(t *testing.T) {
	f, names := withLayers()
	f.active["/dev/mapper/crypt"] = "/dev/one-1"
	f.mounts = []storage.Mount{{Target: "/home", Source: "/dev/mapper/crypt"}}
	p := planFor(t, f, layered("4G"), names, false)
	p.Create = slices.DeleteFunc(p.Create, func(s plan.Step) bool { return s.Action.Kind() != "resize" })
	if len(p.Create) != 1 {
		t.Fatalf("%d steps", len(p.Create))
	}
	if err := storage.Run(t.Context(), config(f, p, names)); err != nil || len(f.log) > 0 {
		t.Errorf("%v %q", err, f.log)
	}
}

// The wrong group is refused before anything is written.
func TestResizeAnotherGroup(t *testing.T) {
	f, names := withLayers()
	f.content["/dev/mapper/vic-resize-2"] = storage.Content{Type: "LVM2_member", Group: "other"}
	err := storage.Run(t.Context(), config(f, planFor(t, f, layered("2G"), names, false), names))
	if err == nil || !strings.Contains(err.Error(), "and not a physical volume of pool") || slices.ContainsFunc(f.log, func(s string) bool { return !strings.HasPrefix(s, "release") }) {
		t.Errorf("%v %q", err, f.log)
	}
}

// An NTFS is shrunk for a new neighbour, and grown again, also when its program
// is killed; the files in it are the same afterwards.
func TestResizeNTFS(t *testing.T) {
	if testing.Short() {
		t.Skip("formats loop devices")
	}
	tooltest.Need(t, "mkfs.ntfs", "ntfsresize", "ntfscp", "ntfscat", "sgdisk", "mkswap")
	m := real(t, loopDisk(t, t.TempDir(), 128<<20))
	d := m.disks[0]
	sh(t, "sgdisk", "--new=1:2048:+100M", "--change-name=1:windows", "--typecode=1:0700", backing(t, d.Device))
	must(t, m.Flush(d.Device))
	sh(t, "partx", "--update", d.Device)
	part := m.Partition(d.Device, 1)
	sh(t, "mkfs.ntfs", "--quick", "--quiet", part)
	data := make([]byte, 3<<20)
	_, err := rand.Read(data)
	must(t, err)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, data, 0o600))
	sh(t, "ntfscp", "--quiet", part, file, "file")
	for _, step := range []struct {
		size string
		more string
		want int64
	}{{"40M", `swap: {size: "100%", content: {type: swap}}`, 40 << 20}, {"100%", "", 126 << 20}} {
		text := fmt.Sprintf(`disk: {main: {type: disk, content: {type: gpt, partitions: {windows: {keep: true, resize: "%s"}, %s}}}}`, step.size, step.more)
		run := func(tools tool.Runner) error {
			c := m
			c.Tools = tools
			return storage.Run(t.Context(), loopConfig(t, c, steps(t, m, text, false), nil))
		}
		if err := run(killer{program: "ntfsresize", how: "after", after: time.Second, hit: new(bool)}); !errors.Is(err, errDied) {
			t.Fatalf("to %s, killed: %v", step.size, err)
		}
		must(t, run(tool.Exec{}))
		size, _, err := m.Measure(part)
		must(t, err)
		content, err := m.ContentSize("ntfs", part)
		if err != nil || size < step.want || size > step.want+1<<20 || content > size || content < size-64<<10 {
			t.Errorf("to %s: the partition has %d, its ntfs %d %v", step.size, size, content, err)
		}
		out, err := tool.Exec{}.Run(t.Context(), tool.Cmd{Name: "ntfscat", Args: []string{"--force", part, "file"}})
		if err != nil || !bytes.Equal(out.Stdout, data) {
			t.Errorf("to %s: the file has %d bytes %v", step.size, len(out.Stdout), err)
		}
		must(t, run(tool.Exec{})) // a third time
	}
	sh(t, "ntfsresize", "--info", "--force", part) // it checks, too
}
