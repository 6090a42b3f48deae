package remote

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/remote/oldsystem"
)

// TestRescue has one machine that is looked at, refused for all kinds of reasons,
// taken into RAM, and given back; that panics there, and that starts again by itself;
// and that is left in the middle, by a client that vanishes, and by one that is shown
// another host key. Not a byte is written to its disk by any of it.
func TestRescue(t *testing.T) {
	if !matrix() {
		t.Skip("TestInstall begins with what matters most of it: VIC_TEST_MATRIX=1 has all")
	}
	lab.Need(t)
	old := oldsystem.Start(t, oldsystem.Config{Release: "bookworm", MemoryMiB: 256, Watchdog: "reset"})
	ctx, cancel := context.WithTimeout(t.Context(), installLimit)
	defer cancel()
	if _, err := old.Answered(ctx); err != nil {
		t.Fatal(err)
	}
	refused(ctx, t, old)
	for _, f := range []func(context.Context, *testing.T, *oldsystem.System){panicked, restarted, enterAndLeave, vanish, intruded, locked} {
		if began := time.Now(); !t.Failed() {
			f(ctx, t, old)
			t.Logf("%.0f s", time.Since(began).Seconds())
		}
	}
}

// refused are runs that must not get as far as the machine's end.
func refused(ctx context.Context, t *testing.T, old *oldsystem.System) {
	for _, tt := range []struct {
		name string
		args []string
		exit int
		want string
	}{
		{"another disk", []string{"install", "debian", "--on", old.Name, "--disk", "match:serial=ELSEWHERE"}, 3, "no single disk matches"},
		{"another machine in between", []string{"install", "debian", "--on", "impostor", "--disk", "/dev/vda"}, 3, "host key"},
		{"nobody there", []string{"install", "debian", "--on", "nobody", "--disk", "/dev/vda"}, 3, "connect to nobody"},
		{"not in RAM", []string{"rescue", "--on", old.Name, "--leave"}, 3, "not in the RAM system"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			old := impostors(t, old)
			c := vic(ctx, t, old, append(tt.args, "--yes")...)
			exit, _ := c.end(t)
			if exit != tt.exit || !strings.Contains(c.stderr.String(), tt.want) {
				t.Errorf("exit code %d, expected %d and %q:\n%s", exit, tt.exit, tt.want, c.stderr.String())
			}
		})
	}
	t.Run("three side by side", func(t *testing.T) {
		c := vic(ctx, t, impostors(t, old), "install", "debian", "-o", "kernel=cloud", "--on", old.Name, "--on", "impostor", "--on", "nobody",
			"--disk", "match:serial="+old.Serial, "--phases", "scan,build", "--yes")
		exit, _ := c.end(t)
		said := c.stderr.String()
		if exit != 3 || !strings.Contains(said, "nobody: connect to nobody") || !strings.Contains(said, "impostor: connect to impostor") ||
			strings.Contains(said, "vic: "+old.Name+":") || !strings.Contains(said, old.Name+"  build") {
			t.Errorf("exit code %d:\n%s", exit, said)
		}
	})
}

// impostors adds other names to the SSH configuration: one whose host key is
// another, and one that is not there.
func impostors(t *testing.T, old *oldsystem.System) *oldsystem.System {
	t.Helper()
	text, err := os.ReadFile(old.SSHConfig)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	known := filepath.Join(dir, "known")
	// Some host key of somebody else's (RFC 8032, test 1).
	const other = "* ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea\n"
	if err := os.WriteFile(known, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	more := fmt.Sprintf("Host impostor\n  UserKnownHostsFile %s\nHost nobody\n  HostName 127.0.0.1\n  Port 1\n", known) +
		strings.Replace(string(text), "Host "+old.Name, "Host impostor", 1) + string(text)
	s := *old
	s.SSHConfig = filepath.Join(dir, "config")
	if err := os.WriteFile(s.SSHConfig, []byte(more), 0o600); err != nil {
		t.Fatal(err)
	}
	return &s
}

// enterAndLeave goes into the RAM system and back.
func enterAndLeave(ctx context.Context, t *testing.T, old *oldsystem.System) {
	c := vic(ctx, t, old, "rescue", "--on", old.Name, "--yes")
	if exit, _ := c.end(t); exit != 0 {
		t.Fatalf("exit code %d:\n%s\nconsole ends:\n%s", exit, c.stderr.String(), old.ConsoleTail(30))
	}
	writes, err := old.Writes(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	// The same name, address, host key and user's key as before.
	out, err := old.SSH(ctx, "root", "vic status; vic-env get os.ram; uname -r", "")
	if err != nil || !strings.Contains(out, "true") {
		t.Fatalf("the RAM system says %q, %v", out, err)
	}
	c = vic(ctx, t, old, "rescue", "--on", old.Name, "--leave")
	if exit, _ := c.end(t); exit != 0 {
		t.Fatalf("leave: exit code %d:\n%s", exit, c.stderr.String())
	}
	back(ctx, t, old, writes)
}

// back waits for the old system, which is the first that writes to the disk again.
func back(ctx context.Context, t *testing.T, old *oldsystem.System, writes int64) {
	t.Helper()
	began := time.Now()
	for {
		n, err := old.Writes(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		out, sshErr := old.SSH(ctx, "root", "cat /proc/uptime /etc/machine-id; ls /run/vic 2>&1; :", "")
		switch {
		case sshErr == nil && strings.Contains(out, old.MachineID) && !strings.Contains(out, "events.jsonl"):
			t.Logf("the old system is back after %.0f s", time.Since(began).Seconds())
			return
		case strings.Contains(out, "events.jsonl") && n != writes:
			t.Fatalf("the RAM system has written to the disk: %d operations", n-writes)
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the old system does not come back: %q, %v\nconsole ends:\n%s", out, sshErr, old.ConsoleTail(30))
		case <-time.After(2 * time.Second):
		}
	}
}

// vanish kills the client once the machine is in RAM: it goes back by itself.
func vanish(ctx context.Context, t *testing.T, old *oldsystem.System) {
	c := vic(ctx, t, old, "install", "debian", "-o", "kernel=cloud", "--on", old.Name, "--disk", "match:serial="+old.Serial,
		"--probation", "30s", "--phases", "scan,build,enter", "--yes", "--json")
	if !c.until(func(e event.Event) bool { return e.Phase == event.Enter && e.Step == "kexec" && e.State == event.Done }) {
		exit, events := c.end(t)
		t.Fatalf("exit code %d\n%s\n%s", exit, last(events, 20), c.stderr.String())
	}
	if err := c.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	c.end(t)
	back(ctx, t, old, inRAM(ctx, t, old))
}

// inRAM waits for the RAM system, and returns how often the disk was written to.
func inRAM(ctx context.Context, t *testing.T, old *oldsystem.System) (writes int64) {
	t.Helper()
	for {
		// What was begun with a system that has gone since hangs.
		try, cancel := context.WithTimeout(ctx, 8*time.Second)
		_, sshErr := old.SSH(try, "root", "cat "+eventFile, "")
		cancel()
		writes, err := old.Writes(ctx, 0)
		switch {
		case err != nil:
			t.Fatal(err)
		case sshErr == nil:
			return writes
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the RAM system does not answer: %v\nconsole ends:\n%s", sshErr, old.ConsoleTail(30))
		case <-time.After(time.Second):
		}
	}
}

// eventFile is only in the RAM system.
const eventFile = "/run/vic/events.jsonl"

// locked is a system that cannot be left by kexec.
func locked(ctx context.Context, t *testing.T, old *oldsystem.System) {
	if _, err := old.SSH(ctx, "root", "echo 1 >/proc/sys/kernel/kexec_load_disabled", ""); err != nil {
		t.Fatal(err)
	}
	c := vic(ctx, t, old, "rescue", "--on", old.Name, "--yes")
	exit, _ := c.end(t)
	if said := c.stderr.String(); exit != 3 || !strings.Contains(said, "kernel.kexec_load_disabled") || !strings.Contains(said, "nothing was changed") {
		t.Errorf("exit code %d:\n%s", exit, said)
	}
}
