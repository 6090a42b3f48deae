package qemutests

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// decodeEvents reads what --json printed.
func decodeEvents(t *testing.T, stream string) []event.Event {
	t.Helper()
	var all []event.Event
	dec := event.NewDecoder(strings.NewReader(stream))
	for {
		e, err := dec.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
}

// phases are the phases of a stream, each once, in the order of their first
// event.
func phases(events []event.Event) []event.Phase {
	var seen []event.Phase
	for _, e := range events {
		if !slices.Contains(seen, e.Phase) {
			seen = append(seen, e.Phase)
		}
	}
	return seen
}

// result is what a stream says was installed.
func result(t *testing.T, events []event.Event) event.Result {
	t.Helper()
	for _, e := range slices.Backward(events) {
		if e.Result != nil {
			return *e.Result
		}
	}
	t.Fatal("the event stream has no result")
	return event.Result{}
}

// guest is an installed system that answers by SSH.
type guest struct {
	t      *testing.T
	m      *vm.Machine
	client *ssh.Client
}

// login logs in to a machine whose host keys are known.
func login(t *testing.T, m *vm.Machine, user string, want event.Result) guest {
	t.Helper()
	signer, err := loginKey()
	if err != nil {
		t.Fatal(err)
	}
	var pinned []ssh.PublicKey
	for _, line := range want.HostKeys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		pinned = append(pinned, key)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	client, err := m.SSH(ctx, vm.SSHConfig{User: user, Signer: signer, HostKeys: pinned})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return guest{t, m, client}
}

// try runs a shell command in the guest.
func (g guest) try(command, stdin string) (string, error) {
	session, err := g.client.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	session.Stdin = strings.NewReader(stdin)
	out, err := session.CombinedOutput(command)
	return strings.TrimSpace(string(out)), err
}

// sudo runs a shell command as root; it has to succeed.
func (g guest) sudo(command string) string {
	g.t.Helper()
	out, err := g.try("sudo -S -p '' sh -c '"+strings.ReplaceAll(command, "'", `'\''`)+"'", password+"\n")
	if err != nil {
		g.t.Fatalf("sudo %s: %v\n%s", command, err, out)
	}
	return out
}

// check is what a command has to print.
type check struct{ command, want string }

// checks runs commands as root and compares what they print with regular
// expressions. They run in one session: under emulation, each takes seconds.
func (g guest) checks(all []check) {
	g.t.Helper()
	const cut = "---- 8< ----"
	var script strings.Builder
	for _, c := range all {
		script.WriteString("( " + c.command + " ) 2>&1; echo; echo '" + cut + "'\n")
	}
	outputs := strings.Split(g.sudo(script.String()), cut)
	if len(outputs) != len(all)+1 {
		g.t.Fatalf("%d outputs of %d commands", len(outputs)-1, len(all))
	}
	for i, c := range all {
		if got := strings.TrimSpace(outputs[i]); !regexp.MustCompile(c.want).MatchString(got) {
			g.t.Errorf("%s: got %q, want %s", c.command, got, c.want)
		}
	}
}

// booted waits until systemd has started everything, and names what failed.
func (g guest) booted() {
	g.t.Helper()
	if state := g.sudo("systemctl is-system-running --wait || true"); state != "running" {
		g.t.Errorf("the system is %s:\n%s", state, g.sudo("systemctl --failed --no-legend; journalctl -b -p warning --no-pager | tail -40"))
	}
}

// poweroff ends the machine from within. The connection may end before the
// command has answered: what counts is that the machine ends, and how.
func (g guest) poweroff(ctx context.Context) {
	g.t.Helper()
	var cut *ssh.ExitMissingError
	if out, err := g.try("sudo -S systemctl --no-block poweroff", password+"\n"); err != nil && !errors.As(err, &cut) {
		g.t.Fatalf("power off: %v\n%s", err, out)
	}
	if err := g.m.Wait(ctx); err != nil {
		g.t.Error(err)
	}
}

// keepConsoles links the consoles of vic's machines, which it removes with
// their folders, into dir, until ctx ends. It returns a function that ends it
// and returns what all consoles showed.
func keepConsoles(t *testing.T, dir string) (stop func() []byte) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			tmp, _ := lastTmp.Load().(string)
			logs, err := filepath.Glob(filepath.Join(tmp, "vic-vm-*", "*", "console.log"))
			if err != nil {
				t.Error(err)
			}
			for _, log := range logs {
				name := filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(log, tmp), "/", "_"))
				if err := os.Link(log, name); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("keep console: %v", err)
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	return func() []byte {
		cancel()
		<-done
		var all bytes.Buffer
		kept, err := filepath.Glob(filepath.Join(dir, "*console.log"))
		if err != nil {
			t.Error(err)
		}
		for _, k := range kept {
			b, err := os.ReadFile(k)
			if err != nil {
				t.Error(err)
			}
			all.Write(b)
		}
		return all.Bytes()
	}
}
