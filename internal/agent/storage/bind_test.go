package storage_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/agent/storage"
	plan "github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

// A directory that the layout provides is bound as the target has it, any other
// as this machine has it, read-only where that is wanted.
func TestBind(t *testing.T) {
	tooltest.Root(t)
	outside, root := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "file"), []byte("of this machine"), 0o600))
	l, err := layout.Parse("layout.yaml", []byte(`
disk: {main: {type: disk, content: {type: gpt, partitions: {x: {size: 1M}}}}}
nodev:
  /: {fsType: tmpfs}
  /persist: {fsType: tmpfs}
  /cache: {fsType: none, device: `+outside+`, mountOptions: [bind, ro]}
  /home: {fsType: auto, device: /persist/home, mountOptions: [bind]}
`))
	must(t, err)
	p, err := plan.New(plan.Config{Layout: l, Seed: seed, Disks: map[string]plan.State{"main": {Disk: identity("one")}}})
	must(t, err)
	p.Unmount = slices.DeleteFunc(p.Unmount, func(s plan.Step) bool { return s.Action.Kind() == "flush" })
	machine := storage.Host{Tools: tool.Exec{}, Programs: tool.Exec{}}
	c := storage.Config{Root: root, Machine: machine, Tools: tool.Exec{}}
	t.Cleanup(func() {
		c.Steps = p.Unmount
		must(t, storage.Run(context.Background(), c))
	})
	c.Steps = p.Mount
	for range 2 {
		must(t, storage.Run(t.Context(), c))
	}
	if b, err := os.ReadFile(filepath.Join(root, "cache/file")); err != nil || string(b) != "of this machine" {
		t.Errorf("%q %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(root, "cache/other"), nil, 0o600); err == nil {
		t.Error("what is bound read-only was written to")
	}
	must(t, os.WriteFile(filepath.Join(root, "home/letter"), nil, 0o600))
	if _, err := os.Stat(filepath.Join(root, "persist/home/letter")); err != nil {
		t.Error(err)
	}
	c.Steps = p.Unmount
	must(t, storage.Run(t.Context(), c))
	must(t, os.RemoveAll(outside))
	c.Steps = p.Mount
	if err := storage.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), outside) {
		t.Errorf("a directory that is not there: %v", err)
	}
}
