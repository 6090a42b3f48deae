package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

// Ends of a boot sector's program.
var (
	hang     = []byte{0xfa, 0xf4, 0xeb, 0xfd}                                           // cli; hlt; jmp to hlt
	poweroff = []byte{0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, 0xfa, 0xf4, 0xeb, 0xfd} // ACPI S5: out 0x604, 0x2000
	reset    = []byte{0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xfa, 0xf4, 0xeb, 0xfd}       // out 0xcf9, 6
)

// say is a boot sector that prints text on the serial port and goes on to end.
func say(text string, end []byte) []byte {
	const head = 19
	msg := 0x7c00 + head + len(end)
	code := []byte{
		0xfa,                   // cli: a dot of the BIOS's own text was once seen to come late
		0x31, 0xc0, 0x8e, 0xd8, // xor ax, ax; mov ds, ax
		0xbe, byte(msg), byte(msg >> 8), // mov si, msg
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8, // lodsb; test al, al; jz end; out dx, al; jmp to lodsb
	}
	code = append(append(code, end...), text...)
	return bootSector(append(code, 0))
}

// guest writes a boot disk.
func guest(t *testing.T, disk []byte) Disk {
	t.Helper()
	path := filepath.Join(t.TempDir(), "boot.img")
	if err := os.WriteFile(path, disk, 0o600); err != nil {
		t.Fatal(err)
	}
	return Disk{Path: path}
}

// needVM skips a test that starts a machine.
func needVM(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a virtual machine")
	}
	tooltest.Need(t, "qemu-system-x86_64", "qemu-img")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// waitConsole waits until the console shows text.
func waitConsole(ctx context.Context, t *testing.T, m *Machine, text string) {
	t.Helper()
	for !strings.Contains(m.Console(), text) {
		select {
		case <-ctx.Done():
			t.Fatalf("console never shows %q, but %q", text, m.Console())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestHowItEnds(t *testing.T) {
	ctx := needVM(t)
	for _, tt := range []struct {
		name  string
		guest []byte
		c     Config
		want  error
	}{
		{"off", say("bye\n", poweroff), Config{}, nil},
		{"reset", say("again\n", reset), Config{NoReboot: true}, ErrReset},
		{"panic and hang", say(panicWords+": no init\n", hang), Config{NoReboot: true}, ErrPanic},
		{"panic and reset", say(panicWords+": no init\n", reset), Config{NoReboot: true}, ErrPanic},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.c.Disks = []Disk{guest(t, tt.guest)}
			m := Start(t, tt.c)
			err := m.Wait(ctx)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if tt.want != nil && !strings.Contains(err.Error(), "console (") {
				t.Errorf("no console in %v", err)
			}
		})
	}
}

func TestPanicWithoutNoRebootGoesOn(t *testing.T) {
	ctx := needVM(t)
	m := Start(t, Config{Disks: []Disk{guest(t, say(panicWords+"\n", reset))}})
	for strings.Count(m.Console(), panicWords) < 2 {
		select {
		case <-m.Done():
			t.Fatalf("ended: %v", m.Wait(ctx))
		case <-ctx.Done():
			t.Fatalf("did not boot twice: %s", m.Console())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestConsoleIsReadableWhileRunning(t *testing.T) {
	ctx := needVM(t)
	m := Start(t, Config{Disks: []Disk{guest(t, say("\r\n\x1b[1mone\r\ntwo\r\n", hang))}})
	waitConsole(ctx, t, m, "two")
	if got := m.ConsoleTail(2); got != "one\ntwo" {
		t.Errorf("tail is %q", got)
	}
}

func TestHangEndsWithContext(t *testing.T) {
	needVM(t)
	ctx, cancel := context.WithCancel(t.Context())
	m, err := Run(ctx, Config{Disks: []Disk{guest(t, say("up", hang))}})
	if err != nil {
		t.Fatal(err)
	}
	short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	if err := m.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait: %v", err)
	}
	select {
	case <-m.Done():
		t.Error("the end of Wait's context ended the machine")
	default:
	}
	cancel()
	if err := m.Wait(t.Context()); !errors.Is(err, ErrKilled) || !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
	dir := m.Dir()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("run folder is left: %v", err)
	}
}

func TestKillLeavesOnlyTheRecord(t *testing.T) {
	ctx := needVM(t)
	dir := filepath.Join(t.TempDir(), "run")
	d := guest(t, say("up", hang))
	d.Snapshot = true
	m := Start(t, Config{Dir: dir, Disks: []Disk{d}, Credentials: map[string]string{"a": "secret"}})
	waitConsole(ctx, t, m, "up")
	m.Kill()
	if err := m.Wait(ctx); !errors.Is(err, ErrKilled) {
		t.Errorf("got %v", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	if got := strings.Join(names, " "); got != "command.sh console.log" {
		t.Errorf("run folder holds %s", got)
	}
	if strings.Contains(m.Command(), "secret") {
		t.Errorf("secret in %s", m.Command())
	}
}

func TestDiskInUseIsRunsError(t *testing.T) {
	ctx := needVM(t)
	d := guest(t, say("up", hang))
	Start(t, Config{Disks: []Disk{d}})
	m, err := Run(ctx, Config{Disks: []Disk{d}})
	if err == nil {
		m.Kill()
		t.Fatal("a disk is used twice")
	}
	if !strings.Contains(err.Error(), `"write" lock`) || !strings.Contains(err.Error(), d.Path) {
		t.Errorf("got %v", err)
	}
}

func TestResetAndQMP(t *testing.T) {
	ctx := needVM(t)
	m := Start(t, Config{NoReboot: true, Disks: []Disk{guest(t, say("up", hang))}})
	waitConsole(ctx, t, m, "up")
	if raw, err := m.QMP(ctx, "query-status", nil); err != nil || !strings.Contains(string(raw), `"running"`) {
		t.Errorf("query-status: %s %v", raw, err)
	}
	if _, err := m.QMP(ctx, "no-such-command", nil); err == nil || !strings.Contains(err.Error(), "no-such-command") {
		t.Errorf("got %v", err)
	}
	if err := m.Reset(ctx); err != nil {
		t.Error(err)
	}
	if err := m.Wait(ctx); !errors.Is(err, ErrReset) {
		t.Errorf("got %v", err)
	}
	if _, err := m.QMP(ctx, "query-status", nil); !errors.Is(err, errMonitorClosed) {
		t.Errorf("after the end: %v", err)
	}
}
