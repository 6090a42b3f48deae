package storage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/agent/storage"
	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

func sh(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := tool.Exec{}.Run(context.Background(), tool.Cmd{Name: name, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out.Stdout))
}

// loopDisk is a disk that is a file.
func loopDisk(t *testing.T, dir string, size int64, options ...string) plan.Disk {
	t.Helper()
	tooltest.Root(t)
	img := filepath.Join(dir, fmt.Sprintf("disk-%d", time.Now().UnixNano()))
	must(t, os.WriteFile(img, nil, 0o600))
	must(t, os.Truncate(img, size))
	dev := sh(t, "losetup", append(append([]string{"--find", "--show"}, options...), img)...)
	t.Cleanup(func() {
		// Partitions would stay for the next user of the loop device; that there
		// are none is an error of partx.
		if out, err := exec.Command("partx", "--delete", dev).CombinedOutput(); err != nil {
			t.Logf("partx: %v: %s", err, out)
		}
		sh(t, "losetup", "--detach", dev)
	})
	d, err := storage.HostDisk(filepath.Base(dev))
	must(t, err)
	return d
}

// loops is this machine with loop devices for disks, which no plan would
// choose. It dies in a write of a table or of a wipe, when told to.
type loops struct {
	storage.Host
	disks []plan.Disk
	// writes are those that succeed before the machine dies; 0: all.
	writes int
	wrote  *int
}

func (m loops) Disks() ([]plan.Disk, error) { return m.disks, nil }

// failing is a device whose writes fail after a number of them.
type failing struct {
	*disk.File
	m loops
}

func (f failing) WriteAt(p []byte, off int64) (int, error) {
	*f.m.wrote++
	if f.m.writes > 0 && *f.m.wrote > f.m.writes {
		return 0, errDied
	}
	return f.File.WriteAt(p, off)
}

func (m loops) open(device string, do func(disk.Device) error) error {
	d, err := disk.Open(device, os.O_RDWR)
	if err != nil {
		return err
	}
	return errors.Join(do(failing{d, m}), d.Close())
}

func (m loops) Wipe(ctx context.Context, device string, ranges, keep []disk.Range) error {
	if m.writes == 0 {
		return m.Host.Wipe(ctx, device, ranges, keep)
	}
	return m.open(device, func(d disk.Device) error { return disk.Wipe(ctx, d, ranges, keep) })
}

func (m loops) WriteTable(ctx context.Context, device string, t layout.Table, efiFirst bool) error {
	if m.writes == 0 {
		return m.Host.WriteTable(ctx, device, t, efiFirst)
	}
	if err := m.open(device, func(d disk.Device) error { return disk.WriteTable(ctx, d, t, !efiFirst) }); err != nil {
		return err
	}
	return disk.Reread(ctx, device, t)
}

// real is a machine with one loop device.
func real(t *testing.T, d plan.Disk) loops {
	return loops{Host: storage.Host{Tools: tool.Exec{}, Programs: tool.Exec{}}, disks: []plan.Disk{d}, wrote: new(int)}
}

// killer is a Runner that kills one program: before, a while after it began, or
// when it has ended.
type killer struct {
	program string
	how     string
	after   time.Duration
	hit     *bool
}

func (k killer) Run(ctx context.Context, c tool.Cmd) (tool.Output, error) {
	if c.Name != k.program || *k.hit {
		return tool.Exec{}.Run(ctx, c)
	}
	*k.hit = true
	switch k.how {
	case "before":
		return tool.Output{}, errDied
	case "after":
		out, err := tool.Exec{}.Run(ctx, c)
		return out, errors.Join(err, errDied)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, k.after, errDied)
	defer cancel()
	out, err := tool.Exec{}.Run(ctx, c)
	return out, errors.Join(err, errDied)
}

// scan is the state of a disk as far as these plans go by it.
func scan(t *testing.T, m loops) plan.State {
	t.Helper()
	d := m.disks[0]
	s := plan.State{Disk: d}
	found, err := m.Table(d.Device)
	must(t, err)
	whole, err := m.Content(d.Device)
	must(t, err)
	if found == nil {
		for _, c := range whole {
			s.Found = append(s.Found, plan.Found{Type: c.Type, UUID: c.UUID, Size: c.Size})
		}
		return s
	}
	s.Table = &found.Table
	for _, e := range found.Entries {
		list, err := m.Content(m.Partition(d.Device, e.Number))
		must(t, err)
		for _, c := range list {
			s.Found = append(s.Found, plan.Found{Partition: e.Number, Type: c.Type, UUID: c.UUID, Size: c.Size})
		}
	}
	return s
}

func backing(t *testing.T, device string) string {
	return sh(t, "losetup", "--noheadings", "--output", "BACK-FILE", device)
}
