package storage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/agent/storage"
	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/secret"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// stacked is LVM in LUKS, and a btrfs on an array of two disks.
const stacked = `
disk:
  one:
    type: disk
    content:
      type: gpt
      partitions:
        crypt:
          size: 200M
          content:
            type: luks
            name: vic-test-crypt
            extraFormatArgs: [--pbkdf, pbkdf2, --pbkdf-force-iterations, "1000"]
            content: {type: lvm_pv, vg: vic-test-vg}
        md: {size: 150M, content: {type: mdraid, name: vic-test}}
  two:
    type: disk
    content:
      type: gpt
      partitions:
        md: {size: 150M, content: {type: mdraid, name: vic-test}}
mdadm:
  vic-test:
    type: mdadm
    level: 1
    metadata: "1.2"
    content: {type: btrfs, subvolumes: {home: {mountpoint: /home}}}
lvm_vg:
  vic-test-vg:
    type: lvm_vg
    lvs:
      root: {size: 64M, content: {type: filesystem, format: ext4, mountpoint: /}}
      swap: {size: "100%FREE", content: {type: swap}}
`

// needKernel skips where the kernel has no device mapper or no arrays.
func needKernel(t *testing.T) {
	t.Helper()
	tooltest.Root(t)
	if testing.Short() {
		t.Skip("formats loop devices")
	}
	tooltest.Need(t, "cryptsetup", "lvm", "mdadm", "mkfs.ext4", "mkfs.btrfs", "btrfs", "losetup")
	for _, path := range []string{"/sys/module/dm_mod", "/proc/mdstat"} {
		if _, err := os.Stat(path); err != nil {
			t.Skipf("this kernel has no device mapper or no arrays: %v", err)
		}
	}
}

// pair is a machine with two loop devices.
func pair(t *testing.T) (loops, map[string]plan.Disk) {
	dir := t.TempDir()
	one, two := loopDisk(t, dir, 384<<20), loopDisk(t, dir, 192<<20)
	m := real(t, one)
	m.disks = append(m.disks, two)
	return m, map[string]plan.Disk{"one": one, "two": two}
}

func planPair(t *testing.T, m loops, names map[string]plan.Disk, anew bool) plan.Plan {
	t.Helper()
	l, err := layout.Parse("layout.yaml", []byte(stacked))
	must(t, err)
	states := map[string]plan.State{}
	for name, d := range names {
		one := m
		one.disks = []plan.Disk{d}
		states[name] = scan(t, one)
	}
	p, err := plan.New(plan.Config{Layout: l, Disks: states, Seed: uuid.NewSHA1(seed, []byte(t.Name())), Anew: anew})
	must(t, err)
	return p
}

func pairConfig(t *testing.T, m loops, names map[string]plan.Disk, steps []plan.Step) storage.Config {
	return storage.Config{
		Steps: steps, Disks: names, Root: t.TempDir(), Machine: m, Tools: m.Tools,
		Secrets: secret.NewSet(map[string]string{"luks-vic-test-crypt": "passphrase-of-a-test\n"}),
	}
}

// Everything is made, mounted, unmounted and closed; mounted again without
// another format; and formatted again without a change.
func TestStacked(t *testing.T) {
	needKernel(t)
	m, names := pair(t)
	p := planPair(t, m, names, true)
	c := pairConfig(t, m, names, p.Create)
	down := c
	down.Steps = p.Unmount
	t.Cleanup(func() { must(t, storage.Run(context.WithoutCancel(t.Context()), down)) })
	must(t, storage.Run(t.Context(), c))
	for i := range 2 {
		c.Steps = p.Mount
		must(t, storage.Run(t.Context(), c))
		must(t, storage.Run(t.Context(), c)) // mounted already
		file := c.Root + "/home/file"
		if i == 0 {
			must(t, os.WriteFile(file, []byte("data"), 0o600))
		} else if b, err := os.ReadFile(file); err != nil || string(b) != "data" {
			t.Errorf("%q, %v", b, err)
		}
		if out := sh(t, "findmnt", "--noheadings", "--output", "FSTYPE", c.Root); out != "ext4" {
			t.Errorf("mounted: %q", out)
		}
		must(t, storage.Run(t.Context(), down))
		must(t, storage.Run(t.Context(), down)) // closed already
		again := pairConfig(t, m, names, planPair(t, m, names, false).Create)
		again.Machine = readOnly{m}
		must(t, storage.Run(t.Context(), again))
		must(t, storage.Run(t.Context(), down))
	}
}

// Each program is killed while it makes something, and the run repeated by a
// new plan, with everything that the first one opened still open.
func TestStackedKilled(t *testing.T) {
	needKernel(t)
	for _, program := range []string{"cryptsetup", "pvcreate", "vgcreate", "lvcreate", "mkfs.ext4", "mkswap", "mdadm", "mkfs.btrfs", "btrfs"} {
		t.Run(program, func(t *testing.T) {
			m, names := pair(t)
			p := planPair(t, m, names, true)
			first := m
			first.Tools = killer{program: program, how: "after", hit: new(bool)}
			down := pairConfig(t, m, names, p.Unmount)
			t.Cleanup(func() { must(t, storage.Run(context.WithoutCancel(t.Context()), down)) })
			if err := storage.Run(t.Context(), pairConfig(t, first, names, p.Create)); !errors.Is(err, errDied) {
				t.Fatal(err)
			}
			again := planPair(t, m, names, false)
			must(t, storage.Run(t.Context(), pairConfig(t, m, names, again.Create)))
			if bad := wrong(t, m, names); bad != "" {
				t.Error(bad)
			}
			c := down
			c.Steps = again.Mount
			must(t, storage.Run(t.Context(), c))
		})
	}
}

// wrong says what is not as it shall be, as foreign programs see it.
func wrong(t *testing.T, m loops, names map[string]plan.Disk) string {
	t.Helper()
	var bad []string
	for name, d := range names {
		if out := sh(t, "sfdisk", "--json", d.Device); strings.Contains(strings.ToLower(out), plan.TypeUnfinished.String()) {
			bad = append(bad, name+" is unfinished")
		}
	}
	if out := sh(t, "lvs", "--noheadings", "--options", "lv_name", "vic-test-vg"); !slices.Equal(strings.Fields(out), []string{"root", "swap"}) {
		bad = append(bad, fmt.Sprintf("volumes: %q", out))
	}
	node, err := m.Node(plan.Device{Array: "vic-test"}, "")
	must(t, err)
	if out := sh(t, "mdadm", "--detail", node); !strings.Contains(out, "raid1") || !strings.Contains(out, "Raid Devices : 2") {
		bad = append(bad, out)
	}
	out, err := tool.Exec{}.Run(t.Context(), tool.Cmd{Name: "btrfs", Args: []string{"check", node}})
	if err != nil {
		bad = append(bad, string(out.Stdout), err.Error())
	}
	return strings.Join(bad, "\n")
}

// layers is LVM in LUKS with a volume that has the rest, and one behind it.
func layers(keep string) string {
	return fmt.Sprintf(`
disk: {main: {type: disk, content: {type: gpt, partitions: {data: {%s, label: data, content:
  {type: luks, name: vic-test-crypt, extraFormatArgs: [--pbkdf, pbkdf2, --pbkdf-force-iterations, "1000"], content: {type: lvm_pv, vg: vic-test-vg}}}}}}}
lvm_vg:
  vic-test-vg:
    type: lvm_vg
    lvs:
      home: {size: "100%%FREE", priority: 2, content: {type: filesystem, format: ext4, mountpoint: /}}
      swap: {size: 16M, priority: 1, content: {type: swap}}
`, keep)
}

// A partition shrinks with all that stands in it, and grows again, also when a
// program is killed on the way; the files are there afterwards.
func TestStackedResize(t *testing.T) {
	needKernel(t)
	m := real(t, loopDisk(t, t.TempDir(), 400<<20))
	names := map[string]plan.Disk{"main": m.disks[0]}
	part := m.Partition(m.disks[0].Device, 1)
	planned := func(keep string) plan.Plan {
		l, err := layout.Parse("layout.yaml", []byte(layers(keep)))
		must(t, err)
		p, err := plan.New(plan.Config{Layout: l, Disks: map[string]plan.State{"main": scan(t, m)}, Seed: uuid.NewSHA1(seed, []byte(t.Name()))})
		must(t, err)
		return p
	}
	p := planned("size: 300M")
	down := pairConfig(t, m, names, p.Unmount)
	t.Cleanup(func() { must(t, storage.Run(context.Background(), down)) })
	up := down
	run := func(steps []plan.Step, tools tool.Runner) error {
		c := up
		host := m
		host.Tools = tools
		c.Steps, c.Tools, c.Machine = steps, tools, host
		return storage.Run(t.Context(), c)
	}
	must(t, run(p.Create, tool.Exec{}))
	must(t, run(p.Mount, tool.Exec{}))
	data := []byte(strings.Repeat("what is kept\n", 1<<18))
	must(t, os.WriteFile(up.Root+"/file", data, 0o600))
	must(t, storage.Run(t.Context(), down))
	for _, step := range []struct {
		keep    string
		size    int64
		program string
	}{{"keep: true, resize: 200M", 200 << 20, "lvresize"}, {"keep: true, resize: 350M", 350 << 20, "pvresize"}, {"keep: true, resize: 180M", 180 << 20, "resize2fs"}} {
		if err := run(planned(step.keep).Create, killer{program: step.program, how: "after", hit: new(bool)}); !errors.Is(err, errDied) {
			t.Fatalf("%s: %s was not killed: %v", step.keep, step.program, err)
		}
		p := planned(step.keep)
		must(t, run(p.Create, tool.Exec{}))
		must(t, run(p.Create, tool.Exec{})) // once more
		must(t, storage.Run(t.Context(), down))
		if size, _, err := m.Measure(part); err != nil || size != step.size {
			t.Errorf("%s: the partition has %d bytes %v", step.keep, size, err)
		}
		must(t, run(p.Mount, tool.Exec{}))
		if b, err := os.ReadFile(up.Root + "/file"); err != nil || string(b) != string(data) {
			t.Errorf("%s: the file has %d bytes %v", step.keep, len(b), err)
		}
		free := sh(t, "vgs", "--noheadings", "--options", "vg_free_count", "vic-test-vg")
		node, err := m.Node(plan.Device{VG: "vic-test-vg", LV: "home"}, "")
		must(t, err)
		must(t, storage.Run(t.Context(), down))
		if free != "0" || node == "" {
			t.Errorf("%s: %s extents are free", step.keep, free)
		}
	}
}
