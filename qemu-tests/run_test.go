package qemutests

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/qemu-tests/lab"
)

// screen is what a terminal has shown.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// shows waits until it has shown a text, behind what it has shown already.
func (s *screen) shows(ctx context.Context, t *testing.T, from int, text string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(s.String()[from:], text) {
		select {
		case <-ctx.Done():
			t.Fatalf("the terminal does not show %q:\n%s", text, s)
		case <-tick.C:
		}
	}
}

// A person runs the RAM system in a machine like another, asks it what it is at
// its console, and ends it.
func TestRun(t *testing.T) {
	lab.Need(t)
	facts, err := json.Marshal(envscan.Facts{Schema: envscan.Schema, HW: envscan.HW{
		Arch: "amd64", Firmware: envscan.Firmware{Type: "bios"}, CPU: envscan.CPU{Count: 1}, Memory: envscan.Memory{Total: 384 << 20},
		Disk: []envscan.Disk{{Name: "nvme0n1", Transport: "nvme", Serial: "LIKE-0001", Size: 2 << 30, SectorSize: 512, Physical: 512}},
		NIC:  []envscan.NIC{{Name: "eno1", Kind: "ethernet", Path: "pci-0000:00:1f.6", Driver: "e1000e", HWAddr: "02:00:00:00:00:31"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	like, cache := filepath.Join(t.TempDir(), "facts.json"), cacheDir(t)
	if err := os.WriteFile(like, facts, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	tmp := t.TempDir()
	cmd := exec.CommandContext(ctx, lab.Program(t), "run", "installer", "-o", "vm", "--like", like, "--cache", cache)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its machine
	cmd.WaitDelay = time.Minute
	var out, complaints screen
	cmd.Stdout, cmd.Stderr = &out, &complaints
	keys, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }() // should a wait fail
	out.shows(ctx, t, 0, "Nothing to do")
	out.shows(ctx, t, 0, "\n$ ")
	for command, want := range map[string]string{
		"vic-env get hw.nic.0.hwaddr":  "02:00:00:00:00:31",
		"vic-env get hw.nic.0.path":    "pci-0000:00:1f.6",
		"vic-env get hw.disk.0.serial": "LIKE-0001",
	} {
		from := len(out.String())
		if _, err := io.WriteString(keys, command+"\n"); err != nil {
			t.Fatal(err)
		}
		out.shows(ctx, t, from, want)
	}
	if _, err := keys.Write([]byte{0x1d}); err != nil { // Ctrl-]
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("vic run: %v\n%s", err, &complaints)
	}
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("vic left %v in its TMPDIR (%v)", left, err)
	}
}

func cacheDir(t *testing.T) string {
	t.Helper()
	dir, err := lab.CacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
