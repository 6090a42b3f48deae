package lab

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// userKey is the key of this run's user.
var userKey = sync.OnceValues(func() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(nil)
	return key, err
})

func loginKey() (ssh.Signer, error) {
	key, err := userKey()
	if err != nil {
		return nil, err
	}
	return ssh.NewSignerFromKey(key)
}

// AuthorizedKey is the public half of the login key, for requests that a test makes
// itself.
func AuthorizedKey(t *testing.T) string {
	t.Helper()
	signer, err := loginKey()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
}

// writeLoginKey writes the public half of the login key into dir, for
// -o sshkey=@FILE.
func writeLoginKey(t *testing.T, dir string) string {
	t.Helper()
	signer, err := loginKey()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "key.pub")
	if err := os.WriteFile(path, ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Guest is an installed system that answers by SSH.
type Guest struct {
	*vm.Machine
	t      *testing.T
	client *ssh.Client
}

// Login logs in as User to a machine whose host keys are known from its
// installation.
func Login(t *testing.T, m *vm.Machine, installed event.Result) Guest {
	t.Helper()
	signer, err := loginKey()
	if err != nil {
		t.Fatal(err)
	}
	var pinned []ssh.PublicKey
	for _, line := range installed.HostKeys {
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		pinned = append(pinned, key)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	client, err := m.SSH(ctx, vm.SSHConfig{User: User, Signer: signer, HostKeys: pinned})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return Guest{m, t, client}
}

// SSHConfig writes a configuration of ssh(1) in which "guest" is the guest, as
// User, with nothing but its own host keys known.
func (g Guest) SSHConfig(installed event.Result) string {
	g.t.Helper()
	dir := g.t.TempDir()
	key, err := userKey()
	if err != nil {
		g.t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		g.t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(g.Addr(0, 22))
	if err != nil {
		g.t.Fatal(err)
	}
	known := ""
	for _, line := range installed.HostKeys {
		known += fmt.Sprintf("[%s]:%s %s\n", host, port, line)
	}
	for name, text := range map[string]string{
		"key": string(pem.EncodeToMemory(block)), "known": known,
		"config": fmt.Sprintf("Host guest\n Hostname %s\n Port %s\n User %s\n IdentityFile %s/key\n IdentitiesOnly yes\n BatchMode yes\n UserKnownHostsFile %s/known\n StrictHostKeyChecking yes\n",
			host, port, User, dir, dir),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			g.t.Fatal(err)
		}
	}
	return filepath.Join(dir, "config")
}

// Try runs a shell command in the guest.
func (g Guest) Try(command, stdin string) (string, error) {
	session, err := g.client.NewSession()
	if err != nil {
		return "", err
	}
	defer session.Close()
	session.Stdin = strings.NewReader(stdin)
	out, err := session.CombinedOutput(command)
	return strings.TrimSpace(string(out)), err
}

// Sudo runs a shell command as root; it has to succeed.
func (g Guest) Sudo(command string) string {
	g.t.Helper()
	out, err := g.Try("sudo -S -p '' sh -c '"+strings.ReplaceAll(command, "'", `'\''`)+"'", Password+"\n")
	if err != nil {
		g.t.Fatalf("sudo %s: %v\n%s", command, err, out)
	}
	return out
}

// Checks runs shell commands as root, each with a regular expression for what it
// has to print. They run in one session: under emulation, each takes seconds.
func (g Guest) Checks(all [][2]string) {
	g.t.Helper()
	const cut = "---- 8< ----"
	var script strings.Builder
	for _, c := range all {
		script.WriteString("( " + c[0] + " ) 2>&1; echo; echo '" + cut + "'\n")
	}
	outputs := strings.Split(g.Sudo(script.String()), cut)
	if len(outputs) != len(all)+1 {
		g.t.Fatalf("%d outputs of %d commands", len(outputs)-1, len(all))
	}
	for i, c := range all {
		if got := strings.TrimSpace(outputs[i]); !regexp.MustCompile(c[1]).MatchString(got) {
			g.t.Errorf("%s: got %q, want %s", c[0], got, c[1])
		}
	}
}

// Booted waits until systemd has started everything, and names what failed.
func (g Guest) Booted() {
	g.t.Helper()
	if state := g.Sudo("systemctl is-system-running --wait || true"); state != "running" {
		g.t.Errorf("the system is %s:\n%s", state, g.Sudo("systemctl --failed --no-legend; journalctl -b -p warning --no-pager | tail -40"))
	}
}

// Poweroff ends the machine from within.
func (g Guest) Poweroff(ctx context.Context) {
	g.t.Helper()
	g.end(ctx, "poweroff")
}

// Hibernate has the machine write its memory to the swap, and end.
func (g Guest) Hibernate(ctx context.Context) {
	g.t.Helper()
	g.end(ctx, "hibernate")
}

// end runs a verb of systemctl that ends the machine. The connection may end
// before the command has answered: what counts is that the machine ends, and how.
func (g Guest) end(ctx context.Context, verb string) {
	g.t.Helper()
	var cut *ssh.ExitMissingError
	if out, err := g.Try("sudo -S systemctl --no-block "+verb, Password+"\n"); err != nil && !errors.As(err, &cut) {
		g.t.Fatalf("%s: %v\n%s", verb, err, out)
	}
	if err := g.Wait(ctx); err != nil {
		g.t.Error(err)
	}
}

// Shows waits until the console shows text.
func Shows(ctx context.Context, t *testing.T, m *vm.Machine, text string) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(m.Console(), text) {
		select {
		case <-m.Done():
			t.Fatalf("machine ended before its console showed %q: %v", text, m.Wait(ctx))
		case <-ctx.Done():
			t.Fatalf("console does not show %q", text)
		case <-tick.C:
		}
	}
}
