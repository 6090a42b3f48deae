package probation

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/internal/handover"
	"github.com/victorinix/vic/internal/netconf"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// sent says what a machine is sent into RAM with.
type sent struct {
	probation int64  // seconds
	disk      string // empty: none
	watchdog  string // what the hardware's does; empty: there is none
	cmdline   string
}

// ramMachine is a machine in RAM, and who may talk to it.
type ramMachine struct {
	*vm.Machine
	client ssh.Signer
	host   ssh.PublicKey // that of the system before
}

// mac is that of the first card, see vm.NIC.
const mac = "52:54:00:76:69:00"

// machine starts the RAM system as a kexec would: with the bundle, and behind it
// what the system before hands over.
func machine(t *testing.T, s sent) ramMachine {
	t.Helper()
	hostPEM, host := newKey(t)
	_, client := newKey(t)
	h := handover.Handover{
		Version: handover.Version, Hostname: "old1", Probation: s.probation, Port: 22,
		Network: netconf.Config{Links: []netconf.Link{{
			Name: "lan0", Kind: netconf.Physical, NIC: &netconf.NIC{MAC: mac}, DHCP4: true,
		}}},
		AuthorizedKeys: []string{strings.TrimSpace(string(ssh.MarshalAuthorizedKey(client.PublicKey())))},
	}
	b := lab.Bundle(t)
	initrd := filepath.Join(t.TempDir(), "initrd")
	f, err := os.Create(initrd)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(b.Initrd(f), segment(f, h, hostPEM)); err != nil {
		t.Fatal(err)
	}
	c := vm.Config{
		Dir: filepath.Join(t.TempDir(), "run"), NoReboot: true, Events: true, Watchdog: s.watchdog,
		Kernel: b.Path(builder.KernelFile), Initrd: []string{initrd},
		Cmdline: strings.TrimSpace(b.Cmdline + " console=ttyS0 " + s.cmdline),
		NICs:    []vm.NIC{{Forward: []int{22}, Restrict: true}},
	}
	if s.disk != "" {
		c.Disks = []vm.Disk{{Path: s.disk, Serial: "old"}}
	}
	return ramMachine{Machine: vm.Start(t, c), client: client, host: host.PublicKey()}
}

// segment is what follows the initramfs of a machine that was sent into RAM.
func segment(w io.Writer, h handover.Handover, hostKey []byte) error {
	var doc strings.Builder
	if err := h.Encode(&doc); err != nil {
		return err
	}
	name := func(path string) string { return strings.TrimPrefix(path, "/") }
	return initramfs.WriteSegment(w, []initramfs.File{
		initramfs.Directory("vic", 0o755),
		initramfs.Regular(name(handover.Path), 0o600, []byte(doc.String())),
		initramfs.Directory(name(handover.KeyDir), 0o700),
		initramfs.Regular(name(handover.KeyDir)+"/ssh_host_ed25519_key", 0o600, hostKey),
	}, builder.DefaultTime)
}

func newKey(t *testing.T) ([]byte, ssh.Signer) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block), signer
}

// guest is a login.
type guest struct {
	t      *testing.T
	client *ssh.Client
}

// login logs in, to the host key of the system before and to no other.
func (m ramMachine) login(ctx context.Context, t *testing.T) guest {
	t.Helper()
	client, err := m.SSH(ctx, vm.SSHConfig{Signer: m.client, HostKeys: []ssh.PublicKey{m.host}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return guest{t, client}
}

// output runs a command, which has to succeed.
func (g guest) output(command string) string {
	g.t.Helper()
	session, err := g.client.NewSession()
	if err != nil {
		g.t.Fatal(err)
	}
	defer session.Close()
	out, err := session.CombinedOutput(command)
	if err != nil {
		g.t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return strings.TrimSpace(string(out))
}

// follow runs a command that goes on. The function that it returns is for the time
// after its end: what it had to say.
func (g guest) follow(command string) (seen func() string) {
	g.t.Helper()
	session, err := g.client.NewSession()
	if err != nil {
		g.t.Fatal(err)
	}
	out, err := session.StdoutPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := session.Start(command); err != nil {
		g.t.Fatal(err)
	}
	all := make(chan string, 1)
	go func() {
		b, _ := io.ReadAll(out) // the end of the connection is that of the machine
		all <- string(b)
	}()
	return func() string {
		g.client.Close()
		return <-all
	}
}
