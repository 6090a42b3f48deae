package storage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/agent/storage"
	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// kinds are layouts of one disk, and the program that makes what is in it.
var kinds = map[string]struct{ program, content string }{
	"ext4":  {"mkfs.ext4", `{type: filesystem, format: ext4, mountpoint: /}`},
	"ext2":  {"mkfs.ext2", `{type: filesystem, format: ext2, mountpoint: /}`},
	"vfat":  {"mkfs.vfat", `{type: filesystem, format: vfat}`},
	"xfs":   {"mkfs.xfs", `{type: filesystem, format: xfs, mountpoint: /}`},
	"exfat": {"mkfs.exfat", `{type: filesystem, format: exfat}`},
	"f2fs":  {"mkfs.f2fs", `{type: filesystem, format: f2fs}`},
	"swap":  {"mkswap", `{type: swap}`},
	"btrfs": {"btrfs", `{type: btrfs, subvolumes: {root: {mountpoint: /}, root/deep: {}, home: {mountpoint: /home}}, swap: {file: {size: 20M}}}`},
	"luks":  {"cryptsetup", `{type: luks, name: vic-test, extraFormatArgs: [--pbkdf, pbkdf2, --pbkdf-force-iterations, "1000"]}`},
	"whole": {"mkfs.ext4", ""},
}

// sizeOf is enough for a kind: an xfs has 300 MiB at least.
func sizeOf(kind string) int64 {
	switch kind {
	case "xfs", "btrfs":
		return 384 << 20
	}
	return 64 << 20
}

func kindLayout(name string) string {
	if name == "whole" {
		return `disk: {main: {type: disk, content: {type: filesystem, format: ext4, mountpoint: /}}}`
	}
	return `disk: {main: {type: disk, content: {type: gpt, partitions: {bios: {size: 1M, type: EF02}, it: {size: "100%", content: ` + kinds[name].content + `}}}}}`
}

// steps are those that make the disk. What stands in a LUKS container cannot be
// reached where the kernel has no device mapper.
func steps(t *testing.T, m loops, text string, anew bool) plan.Plan {
	t.Helper()
	l, err := layout.Parse("layout.yaml", []byte(text))
	must(t, err)
	p, err := plan.New(plan.Config{Layout: l, Disks: map[string]plan.State{"main": scan(t, m)}, Seed: seed, Anew: anew})
	must(t, err)
	p.Create = slices.DeleteFunc(p.Create, func(s plan.Step) bool { return s.Action.Kind() == "luks-open" })
	return p
}

func loopConfig(t *testing.T, m loops, p plan.Plan, j *storage.Journal) storage.Config {
	return storage.Config{
		Steps: p.Create, Disks: map[string]plan.Disk{"main": m.disks[0]}, Root: t.TempDir(), Machine: m, Tools: m.Tools, Journal: j,
		Secrets: secret.NewSet(map[string]string{"luks-vic-test": "secret\n"}),
	}
}

// random is what programs choose anew each time.
var random = regexp.MustCompile(`(?m)^(DEVNAME|UUID_SUB|PART_ENTRY_DISK|FSSIZE|FSLASTBLOCK)=.*\n|"device": *"[^"]*",?|"node": *"[^"]*",?|"sectorsize".*`)

// describe is what foreign programs say of a disk.
func describe(t *testing.T, m loops) string {
	t.Helper()
	d := m.disks[0].Device
	var b strings.Builder
	parts := []string{d}
	if table, err := m.Table(d); err != nil || table != nil {
		must(t, err)
		b.WriteString(sh(t, "sfdisk", "--json", d))
		if out := sh(t, "sgdisk", "--verify", d); !strings.Contains(out, "No problems found") {
			t.Errorf("sgdisk: %s", out)
		}
		parts = []string{m.Partition(d, 1), m.Partition(d, 2)}
	}
	for _, p := range parts {
		out, err := tool.Exec{}.Run(t.Context(), tool.Cmd{Name: "blkid", Args: []string{"--probe", "--output", "export", p}})
		var te *tool.Error
		if err != nil && (!errors.As(err, &te) || te.Exit != 2) { // nothing found
			t.Fatal(err)
		}
		b.WriteString("\n" + string(out.Stdout))
	}
	return random.ReplaceAllString(b.String(), "")
}

// check has the format's own program look at what was made.
func check(t *testing.T, m loops, name string) {
	t.Helper()
	node := m.Partition(m.disks[0].Device, 2)
	switch name {
	case "whole":
		sh(t, "e2fsck", "-fn", m.disks[0].Device)
	case "swap":
	case "luks":
		out := sh(t, "cryptsetup", "luksDump", node)
		if n := strings.Count(out, ": luks2\n"); n != 1 {
			t.Errorf("%d keys: %s", n, out)
		}
		c := tool.Cmd{Name: "cryptsetup", Args: []string{"open", "--test-passphrase", "--key-file", "-", node}, Stdin: strings.NewReader("secret")}
		if _, err := (tool.Exec{}).Run(t.Context(), c); err != nil {
			t.Error(err)
		}
	default:
		must(t, disk.Fsck(t.Context(), tool.Exec{}, name, node, false))
	}
	if name == "btrfs" {
		must(t, m.WithMount(t.Context(), node, "btrfs", func(dir string) error {
			if out := sh(t, "btrfs", "subvolume", "list", dir); strings.Count(out, "path root\n") != 1 || strings.Count(out, "\n") != 2 || !strings.Contains(out, "path root/deep") {
				t.Errorf("subvolumes: %s", out)
			}
			st, err := os.Stat(filepath.Join(dir, "file"))
			if err == nil && st.Size() != 20<<20 {
				t.Errorf("swap file of %d bytes", st.Size())
			}
			return err
		}))
	}
}

// Every kind of content: its program is killed before, inside and after; the
// run is repeated, with and without its journal, and leaves what an undisturbed
// one leaves.
func TestKilledOnLoopDevices(t *testing.T) {
	if testing.Short() {
		t.Skip("formats loop devices")
	}
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			tooltest.Need(t, kind.program, "sgdisk", "sfdisk", "blkid", "losetup")
			dir := t.TempDir()
			m := real(t, loopDisk(t, dir, sizeOf(name)))
			text := kindLayout(name)
			must(t, storage.Run(t.Context(), loopConfig(t, m, steps(t, m, text, true), nil)))
			want := describe(t, m)
			check(t, m, name)
			again := loopConfig(t, m, steps(t, m, text, false), nil)
			again.Machine = readOnly{m}
			must(t, storage.Run(t.Context(), again))
			for i, k := range []killer{{how: "inside", after: 4 * time.Millisecond}, {how: "after"}, {how: "inside", after: 8 * time.Millisecond}} {
				k.program, k.hit = kind.program, new(bool)
				journal := i%2 == 0
				killed(t, m, fmt.Sprintf("%s %v, journal %t", k.how, k.after, journal), text, k, journal, want, name)
			}
		})
	}
}

// killed runs on a blank disk, is killed, and runs again.
func killed(t *testing.T, m loops, what, text string, k killer, journal bool, want, name string) {
	t.Helper()
	blank(t, m)
	p := steps(t, m, text, true)
	path := storage.MemDir(t) + "/journal"
	open := func() (j *storage.Journal) {
		if journal {
			hash, err := storage.Hash(map[string]plan.Disk{"main": m.disks[0]}, p.Create)
			must(t, err)
			j, err = storage.OpenJournal(path, hash)
			must(t, err)
		}
		return j
	}
	first := m
	first.Tools = k
	j := open()
	err := storage.Run(t.Context(), loopConfig(t, first, p, j))
	must(t, j.Close())
	if !errors.Is(err, errDied) || exit(err) != storage.ExitPartial {
		t.Fatalf("%s: %v", what, err)
	}
	if !journal {
		p = steps(t, m, text, true)
	}
	j = open()
	if err := storage.Run(t.Context(), loopConfig(t, m, p, j)); err != nil {
		t.Fatalf("%s, run again: %v", what, err)
	}
	must(t, j.Close())
	if got := describe(t, m); got != want {
		t.Errorf("%s:\n got %s\nwant %s", what, got, want)
	}
	check(t, m, name)
}

// blank empties the file of a disk.
func blank(t *testing.T, m loops) {
	t.Helper()
	img, size := backing(t, m.disks[0].Device), m.disks[0].Size
	must(t, errors.Join(os.Truncate(img, 0), os.Truncate(img, size)))
	for _, n := range []int{1, 2} {
		if err := m.Flush(m.Partition(m.disks[0].Device, n)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	must(t, m.Flush(m.disks[0].Device))
}

// readOnly is a machine that refuses to be written to.
type readOnly struct{ loops }

var errWritten = errors.New("something was written")

func (readOnly) Wipe(context.Context, string, []disk.Range, []disk.Range) error { return errWritten }
func (readOnly) Mkfs(context.Context, disk.Filesystem, string) error            { return errWritten }
func (readOnly) WriteTable(context.Context, string, layout.Table, bool) error   { return errWritten }
func (readOnly) Release(context.Context, string, []disk.Range) ([]string, error) {
	return nil, errWritten
}

// The power fails at each write of the wipe and of both tables.
func TestCutInTableWrites(t *testing.T) {
	if testing.Short() {
		t.Skip("formats loop devices")
	}
	tooltest.Need(t, "sgdisk", "sfdisk", "blkid", "losetup", "mkfs.ext4", "mkswap")
	m := real(t, loopDisk(t, t.TempDir(), sizeOf("swap")))
	text := kindLayout("swap")
	counted := m
	counted.writes = 1 << 30
	must(t, storage.Run(t.Context(), loopConfig(t, counted, steps(t, m, text, true), nil)))
	want, total := describe(t, m), *m.wrote
	if total < 10 {
		t.Fatalf("only %d writes", total)
	}
	for n := 1; n < total; n += 1 + total/15 {
		sh(t, "mkfs.ext4", "-q", "-F", m.disks[0].Device) // the disk's former life
		must(t, m.Flush(m.disks[0].Device))
		cut := m
		cut.writes, cut.wrote = n, new(int)
		if err := storage.Run(t.Context(), loopConfig(t, cut, steps(t, m, text, true), nil)); !errors.Is(err, errDied) {
			t.Fatalf("after write %d: %v", n, err)
		}
		must(t, storage.Run(t.Context(), loopConfig(t, m, steps(t, m, text, true), nil)))
		if got := describe(t, m); got != want {
			t.Errorf("after write %d:\n got %s\nwant %s", n, got, want)
		}
	}
}

// A device that returns errors once it is full: the file behind it has no room.
func TestDeviceThatFails(t *testing.T) {
	tooltest.Root(t)
	tooltest.Need(t, "mkfs.ext4", "losetup")
	dir := t.TempDir()
	must(t, disk.Mount("tmpfs", dir, "tmpfs", []string{"size=5M"}))
	t.Cleanup(func() {
		if err := disk.Unmount(dir); err != nil {
			t.Error(err)
		}
	})
	m := real(t, loopDisk(t, dir, 512<<20))
	err := storage.Run(t.Context(), loopConfig(t, m, steps(t, m, kindLayout("ext4"), true), nil))
	if exit(err) != storage.ExitPartial {
		t.Errorf("%v", err)
	}
	t.Log(err)
}

func TestDeviceThatIsTooSmallOrReadOnly(t *testing.T) {
	tooltest.Root(t)
	tooltest.Need(t, "losetup")
	m := real(t, loopDisk(t, t.TempDir(), 64<<20))
	p := steps(t, m, kindLayout("ext4"), true)
	c := loopConfig(t, m, p, nil)
	d := c.Disks["main"]
	must(t, os.Truncate(backing(t, d.Device), 32<<20))
	sh(t, "losetup", "--set-capacity", d.Device)
	small, err := storage.HostDisk(filepath.Base(d.Device))
	must(t, err)
	m.disks[0] = small
	if err := storage.Run(t.Context(), c); exit(err) != storage.ExitRefused || !strings.Contains(err.Error(), "found 33554432 bytes") {
		t.Errorf("a disk that has shrunk: %v", err)
	}

	ro := real(t, loopDisk(t, t.TempDir(), 64<<20, "--read-only"))
	if err := storage.Run(t.Context(), loopConfig(t, ro, steps(t, ro, kindLayout("ext4"), true), nil)); exit(err) != storage.ExitRefused || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a read-only disk: %v", err)
	}
}
