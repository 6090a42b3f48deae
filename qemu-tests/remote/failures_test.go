package remote

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/remote/oldsystem"
)

// panicked has the kernel panic in RAM: it starts the machine again by itself.
func panicked(ctx context.Context, t *testing.T, old *oldsystem.System) {
	goesByItself(ctx, t, old, func() error {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if _, err := old.SSH(ctx, "root", "echo c >/proc/sysrq-trigger", ""); err == nil {
			return errors.New("the kernel lives on")
		}
		return nil
	})
	if log := old.Console(); !strings.Contains(log, "Kernel panic - not syncing") || !strings.Contains(log, "Rebooting in 10 seconds") {
		t.Errorf("the kernel did not panic:\n%s", old.ConsoleTail(40))
	}
}

// restarted has the machine start again in RAM, without the system there having a say.
func restarted(ctx context.Context, t *testing.T, old *oldsystem.System) {
	goesByItself(ctx, t, old, func() error { return old.Reset(ctx) })
}

// goesByItself has the machine leave the RAM system before a client has it verify:
// the old system comes back, and the client says so. It stands still meanwhile: to
// verify takes no longer than to ask for an end.
func goesByItself(ctx context.Context, t *testing.T, old *oldsystem.System, end func() error) {
	t.Helper()
	c := vic(ctx, t, old, "install", "debian", "-o", "kernel=cloud", "--on", old.Name, "--disk", "match:serial="+old.Serial,
		"--phases", "scan,build,enter,verify", "--yes", "--json")
	c.entered(t, old, event.Done)
	if err := c.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	writes := inRAM(ctx, t, old)
	if err := end(); err != nil {
		t.Error(err)
	}
	if err := c.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	exit, events := c.end(t)
	if said := last(events, 3) + c.stderr.String(); exit != 4 || !strings.Contains(said, "has left the RAM system") {
		t.Errorf("exit code %d\n%s", exit, said)
	}
	back(ctx, t, old, writes)
}

// entered waits for an event of kexec.
func (c *client) entered(t *testing.T, old *oldsystem.System, state event.State) {
	t.Helper()
	if !c.until(func(e event.Event) bool { return e.Phase == event.Enter && e.Step == "kexec" && e.State == state }) {
		exit, events := c.end(t)
		t.Fatalf("exit code %d\n%s\n%s\nconsole ends:\n%s", exit, last(events, 20), c.stderr.String(), old.ConsoleTail(30))
	}
}

// intruded has somebody else answer at the machine's address once that is on its way
// into RAM: the client sends nothing, and the old system comes back.
func intruded(ctx context.Context, t *testing.T, old *oldsystem.System) {
	text, err := os.ReadFile(old.SSHConfig)
	if err != nil {
		t.Fatal(err)
	}
	o := *old
	o.SSHConfig = filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(o.SSHConfig, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c := vic(ctx, t, &o, "install", "debian", "-o", "kernel=cloud", "--on", old.Name, "--disk", "match:serial="+old.Serial,
		"--probation", "60s", "--yes", "--json")
	c.entered(t, old, event.Start)
	port, asked := intruder(t)
	moved := regexp.MustCompile(`(?m)^Port .*`).ReplaceAll(text, fmt.Appendf(nil, "Port %d", port))
	if bytes.Equal(moved, text) {
		t.Fatalf("no port in %s", text)
	}
	// ssh reads it as a whole, or not at all.
	if err := os.WriteFile(o.SSHConfig+".new", moved, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(o.SSHConfig+".new", o.SSHConfig); err != nil {
		t.Fatal(err)
	}
	exit, events := c.end(t)
	if said := last(events, 3) + c.stderr.String(); exit != 4 || !strings.Contains(said, "another machine answers") {
		t.Errorf("exit code %d\n%s", exit, said)
	}
	if n := asked.Load(); n == 0 {
		t.Error("nobody came to the intruder")
	} else if n > 1 {
		t.Error("the intruder was talked to")
	}
	back(ctx, t, old, inRAM(ctx, t, old))
}

// intruder is an SSH server with a key of its own, which lets everybody in. asked
// is 1 once it has shown its key, and more if that was accepted.
func intruder(t *testing.T) (port int, asked *atomic.Int32) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	asked = new(atomic.Int32)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			asked.Store(max(asked.Load(), 1))
			if s, _, _, err := ssh.NewServerConn(conn, config); err == nil {
				asked.Store(2)
				s.Close()
			}
			conn.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, asked
}

// A machine with too little memory is told how much there is, and how much it takes.
func TestTooSmall(t *testing.T) {
	if !matrix() {
		t.Skip("the arithmetic has tests of its own: VIC_TEST_MATRIX=1 shows it on a machine")
	}
	lab.Need(t)
	old := oldsystem.Start(t, oldsystem.Config{MemoryMiB: 128})
	ctx, cancel := context.WithTimeout(t.Context(), installLimit)
	defer cancel()
	if _, err := old.Answered(ctx); err != nil {
		t.Fatal(err)
	}
	c := vic(ctx, t, old, "rescue", "--on", old.Name, "--yes")
	exit, _ := c.end(t)
	said := regexp.MustCompile(`the machine has (\d+) MiB of memory, and the RAM system needs (\d+) MiB`).FindStringSubmatch(c.stderr.String())
	if exit != 3 || said == nil {
		t.Fatalf("exit code %d:\n%s", exit, c.stderr.String())
	}
	has, err1 := strconv.Atoi(said[1])
	needs, err2 := strconv.Atoi(said[2])
	// A kernel keeps up to 50 MiB for itself. With 256 MiB the machine is installed.
	if err1 != nil || err2 != nil || has < 78 || has > 128 || needs <= has || needs > 206 {
		t.Errorf("%s", said[0])
	}
	t.Log(said[0])
}
