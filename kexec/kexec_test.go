package kexec

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/tool"
)

// runner notes what is run.
type runner struct {
	ran []string
	err error
}

func (r *runner) Run(_ context.Context, c tool.Cmd) (tool.Output, error) {
	r.ran = append(r.ran, strings.Join(append([]string{c.Name}, c.Args...), " "))
	return tool.Output{}, r.err
}

// system is a host with files, and what happened to it.
func system(t *testing.T, files map[string]string) (Host, *runner, *[]int) {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, reboots := &runner{}, &[]int{}
	return Host{Tools: r, Root: root, Sync: func() {}, Reboot: func(cmd int) error {
		*reboots = append(*reboots, cmd)
		return nil
	}}, r, reboots
}

func TestLeaveSystemd(t *testing.T) {
	h, r, reboots := system(t, map[string]string{"run/systemd/system/x": ""})
	if err := h.Leave(t.Context()); err != nil || !slices.Equal(r.ran, []string{"systemctl kexec"}) || len(*reboots) > 0 {
		t.Errorf("%v %q %v", err, r.ran, *reboots)
	}
	r.err = errors.New("no")
	if err := h.Leave(t.Context()); !errors.Is(err, r.err) {
		t.Error(err)
	}
}

func TestLeaveOthers(t *testing.T) {
	h, r, reboots := system(t, map[string]string{
		"proc/sysrq-trigger": "",
		"proc/self/mounts":   "tmpfs /run tmpfs rw 0 0\n/dev/vda1 / ext4 ro,relatime 0 0\n",
	})
	if err := h.Leave(t.Context()); err != nil || len(r.ran) > 0 || !slices.Equal(*reboots, []int{unix.LINUX_REBOOT_CMD_KEXEC}) {
		t.Errorf("%v %q %v", err, r.ran, *reboots)
	}
	if b, err := os.ReadFile(h.Root + "/proc/sysrq-trigger"); err != nil || string(b) != "u" {
		t.Errorf("%q %v", b, err)
	}
	// A machine without /proc is not left.
	h, _, reboots = system(t, nil)
	if err := h.Leave(t.Context()); err == nil || len(*reboots) > 0 {
		t.Errorf("%v %v", err, *reboots)
	}
}

// A file system that stays writable does not keep a machine from being left.
func TestLeaveBusy(t *testing.T) {
	h, _, reboots := system(t, map[string]string{
		"proc/sysrq-trigger": "", "proc/self/mounts": "/dev/vda1 / ext4 rw,relatime 0 0\n",
	})
	h.Settle = 10 * time.Millisecond
	if err := h.Leave(t.Context()); err != nil || len(*reboots) != 1 {
		t.Errorf("%v %v", err, *reboots)
	}
	h.Settle = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Leave(ctx); !errors.Is(err, context.Canceled) || len(*reboots) != 1 {
		t.Errorf("canceled: %v %v", err, *reboots)
	}
}

func TestLoadRefuses(t *testing.T) {
	empty, err := Memory("empty")
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	for cmdline, want := range map[string]string{
		strings.Repeat("x", 2048): "its command line has 2048 bytes, at most 2047",
		"a\x00b":                  "zero byte",
	} {
		if _, err := Load(Kernel{empty, empty, cmdline}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	// An empty file is no kernel, whatever this machine allows.
	if _, err := Load(Kernel{empty, empty, "quiet"}); err == nil {
		t.Error("an empty file was loaded")
	}
}

func TestMemory(t *testing.T) {
	f, err := Memory("x")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		t.Errorf("%v %v: the kernel takes regular files only", st, err)
	}
}
