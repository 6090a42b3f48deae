package install_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/internal/agent/install"
	"github.com/victorinix/vic/internal/agent/storage"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/plan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// loopMachine is this machine with one disk more: a loop device, which no
// plan would choose.
type loopMachine struct {
	storage.Host
	disk plan.Disk
}

func (m loopMachine) Disks() ([]plan.Disk, error) { return []plan.Disk{m.disk}, nil }

func sh(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := tool.Exec{}.Run(t.Context(), tool.Cmd{Name: name, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out.Stdout))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const loopSize = 256 << 20

// loopSetup is a loop device with traces of an older life, and a payload.
func loopSetup(t *testing.T) (m loopMachine, img string, c install.Config) {
	t.Helper()
	if testing.Short() {
		t.Skip("formats a loop device")
	}
	tooltest.Root(t)
	run := tooltest.Need(t, "losetup", "mksquashfs", "mkfs.ext4", "fsck.ext4", "sgdisk")
	dir := t.TempDir()
	img = filepath.Join(dir, "disk")
	must(t, os.WriteFile(img, nil, 0o600))
	must(t, os.Truncate(img, loopSize))
	sh(t, "mkfs.ext4", "-q", "-L", "old", img)
	dev := sh(t, "losetup", "--find", "--show", img)
	t.Cleanup(func() {
		// t.Context() has ended by now. The partitions would stay for the next
		// user of the loop device.
		if _, err := run.Run(context.Background(), tool.Cmd{Name: "partx", Args: []string{"--delete", dev}}); err != nil {
			t.Log(err) // it has none
		}
		if _, err := run.Run(context.Background(), tool.Cmd{Name: "losetup", Args: []string{"--detach", dev}}); err != nil {
			t.Error(err)
		}
	})

	p := squash(t, dir)
	m = loopMachine{storage.Host{Tools: run, Programs: tool.Exec{}}, plan.Disk{Device: dev, Path: "virtual/" + filepath.Base(dev), Size: loopSize, SectorSize: 512}}
	return m, img, install.Config{Plan: loopPlan(m.disk, p), Tools: run, Machine: install.Host{Programs: tool.Exec{}}, Disks: m, Root: filepath.Join(dir, "target")}
}

// squash makes a payload of a small tree.
func squash(t *testing.T, dir string) request.Payload {
	t.Helper()
	tree, img := filepath.Join(dir, "tree"), filepath.Join(dir, "payload.squashfs")
	for _, d := range []string{"etc", "srv", "dev", "usr/bin"} {
		must(t, os.MkdirAll(filepath.Join(tree, d), 0o755))
	}
	for i := range 200 {
		must(t, os.WriteFile(filepath.Join(tree, "usr/bin", fmt.Sprint(i)), []byte(strings.Repeat(fmt.Sprint(i), 5000)), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(tree, "etc/hostname"), []byte("payload\n"), 0o644))
	must(t, os.Symlink("/etc/hostname", filepath.Join(tree, "srv/link")))
	sh(t, "mksquashfs", tree, img, "-quiet", "-no-progress")
	b, err := os.ReadFile(img)
	must(t, err)
	return request.Payload{Format: "squashfs", Size: int64(len(b)), SHA256: fmt.Sprintf("%x", sha256.Sum256(b)), Source: request.Source{Path: img}}
}

const loopLayout = `
disk:
  main:
    type: disk
    device: /dev/loop0
    content:
      type: gpt
      partitions:
        bios: {priority: 1, size: 1M, type: EF02}
        root: {priority: 2, size: 194M, content: {type: filesystem, format: ext4, mountpoint: /}}
        srv: {priority: 3, size: 100%, content: {type: filesystem, format: ext4, mountpoint: /srv, mountOptions: [noatime]}}
`

func loopPlan(d plan.Disk, p request.Payload) plan.Plan {
	on := onDisk(loopLayout, d)
	step := func(p event.Phase, a plan.Action) plan.Step { return plan.Step{Phase: p, Name: a.Kind(), Action: a} }
	steps := []plan.Step{step(event.Verify, on.Create[0].Action), step(event.Verify, plan.CheckPayload{Payload: p})}
	steps = append(append(steps, on.Create[1:]...), on.Mount...)
	steps = append(steps, step(event.Copy, plan.CopyPayload{Payload: p}),
		step(event.Inject, plan.WriteFile{Path: "/etc/hostname", Mode: 0o644, Content: "target\n"}))
	return plan.Plan{Version: 2, Storage: on, Steps: append(steps, on.Unmount...)}
}

func TestInstallOntoLoopDevice(t *testing.T) {
	m, img, c := loopSetup(t)
	for range 2 { // the second time over the first
		if _, err := install.Run(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if out := sh(t, "sgdisk", "-v", img); !strings.Contains(out, "No problems found") {
			t.Errorf("sgdisk: %s", out)
		}
		root, srv := m.Partition(m.disk.Device, 2), m.Partition(m.disk.Device, 3)
		sh(t, "fsck.ext4", "-fn", root)
		sh(t, "fsck.ext4", "-fn", srv)
		dir := t.TempDir()
		must(t, m.Mount(t.Context(), root, dir, "ext4", []string{"ro"}))
		for name, want := range map[string]string{"etc/hostname": "target\n", "usr/bin/7": strings.Repeat("7", 5000)} {
			if b, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(b) != want {
				t.Errorf("%s: %.20q, %v", name, b, err)
			}
		}
		must(t, m.Mount(t.Context(), srv, filepath.Join(dir, "srv"), "ext4", []string{"ro"}))
		if to, err := os.Readlink(filepath.Join(dir, "srv/link")); err != nil || to != "/etc/hostname" {
			t.Errorf("link to %q, %v", to, err)
		}
		must(t, m.Unmount(t.Context(), filepath.Join(dir, "srv")))
		must(t, m.Unmount(t.Context(), dir))
	}
}

// One byte altered, at either end or between, or one missing: not a byte of
// the disk changes.
func TestAlteredPayloadLeavesTheDiskAlone(t *testing.T) {
	_, img, c := loopSetup(t)
	path := c.Plan.Steps[1].Action.(plan.CheckPayload).Payload.Source.Path
	good, err := os.ReadFile(path)
	must(t, err)
	before := sum(t, img)
	for _, at := range []int{0, 1, len(good) / 2, len(good) - 1, -1} {
		bad := append([]byte(nil), good...)
		if at < 0 {
			bad = bad[:len(bad)-1]
		} else {
			bad[at] ^= 1
		}
		must(t, os.WriteFile(path, bad, 0o600))
		_, err := install.Run(t.Context(), c)
		var e *install.Error
		if !errors.As(err, &e) || e.Exit != storage.ExitIntact {
			t.Errorf("byte %d: got %v", at, err)
		}
	}
	if sum(t, img) != before {
		t.Error("the disk was written to")
	}
}

func TestDiskInUseIsRefused(t *testing.T) {
	m, _, c := loopSetup(t)
	dir := t.TempDir()
	must(t, m.Mount(t.Context(), m.disk.Device, dir, "ext4", nil))
	_, err := install.Run(t.Context(), c)
	must(t, m.Unmount(t.Context(), dir))
	var e *install.Error
	if !errors.As(err, &e) || e.Exit != storage.ExitRefused || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
}

func sum(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	must(t, err)
	return fmt.Sprintf("%x", h.Sum(nil))
}
