// Package client is a machine that is plugged into an access point: Debian's cloud
// kernel, and a program (guest/) that does what the test asks for.
//
//	test ── Question ──> guest ── DHCP, DNS, HTTP, SSH ──> access point
//	     <── Answer ────        over the cable
package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/qemu-tests/accesspoint/client/wire"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// patience is how long the machine may take to start, and for an answer. The program
// in it gives up earlier, and says why.
const patience = time.Minute

// Config is what a client is made of.
type Config struct {
	Cable *os.File // what its card is plugged into: see vm.NIC
	MAC   string
	Key   string // the file of the SSH key that the access point knows
}

// Client is a machine that is plugged in.
type Client struct {
	*vm.Machine
	conn      net.Conn
	questions *json.Encoder
	answers   *json.Decoder
}

// Start switches a client on. It ends with the test.
func Start(t *testing.T, config Config) *Client {
	t.Helper()
	// The path of a socket has at most 107 bytes.
	dir, err := os.MkdirTemp("", "vic-client-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "port")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	kernel, modules, release := lab.Kernel(t, "cloud")
	c := &Client{Machine: vm.Start(t, vm.Config{
		Name: "client", Kernel: kernel, Initrd: []string{initrd(t, dir, config.Key, modules, release)}, Cmdline: "console=ttyS0 quiet panic=-1",
		NICs: []vm.NIC{{Cable: config.Cable, MAC: config.MAC}}, Extra: lab.Socket(wire.Port, socket), NoReboot: true,
	})}
	if err := l.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if c.conn, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.conn.Close() })
	c.questions, c.answers = json.NewEncoder(c.conn), json.NewDecoder(c.conn)
	return c
}

// initrd is the program, and the modules for its card.
func initrd(t *testing.T, dir, key, modules, release string) string {
	t.Helper()
	program, stranger := filepath.Join(dir, "guest"), filepath.Join(dir, "stranger")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "github.com/victorinix/vic/qemu-tests/accesspoint/client/guest")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lab.MakeKey(t, stranger)
	var files []initramfs.File
	for name, from := range map[string]string{"/init": program, wire.Key: key, wire.Stranger: stranger} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, initramfs.Regular(strings.TrimPrefix(name, "/"), 0o755, b))
	}
	path := filepath.Join(dir, "initrd")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = initramfs.Write(f, initramfs.Config{Modules: os.DirFS(modules), Release: release, Sets: []string{"virtio_net"}, Files: files, Time: builder.DefaultTime})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// ask has something done.
func (c *Client) ask(words ...string) (wire.Answer, error) {
	var a wire.Answer
	err := c.conn.SetDeadline(time.Now().Add(patience))
	if err == nil {
		err = c.questions.Encode(wire.Question{Words: words})
	}
	if err == nil {
		err = c.answers.Decode(&a)
	}
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err != nil {
		err = fmt.Errorf("client: %s: %w: %s", strings.Join(words, " "), err, a.Text)
	}
	return a, err
}

// Plug asks for a lease.
func (c *Client) Plug() (*wire.Lease, error) {
	a, err := c.ask(wire.Plug)
	return a.Lease, err
}

// IPv6 are its addresses by router advertisements, and last the router.
func (c *Client) IPv6() ([]string, error) {
	a, err := c.ask(wire.IPv6)
	return a.Lines, err
}

// Resolve asks for the addresses of a name, of family "4" or "6".
func (c *Client) Resolve(family, name string) ([]string, error) {
	a, err := c.ask(wire.Resolve, family, name)
	return a.Lines, err
}

// Get fetches a page over IPv4 ("4") or IPv6 ("6").
func (c *Client) Get(family, url string) (string, error) {
	a, err := c.ask(wire.Get, family, url)
	return a.Text, err
}

// Reach tries a TCP port: see package reach.
func (c *Client) Reach(host, port string) (string, error) {
	a, err := c.ask(wire.Reach, host, port)
	return a.Text, err
}

// SSH runs a shell command on the access point, with the key in a file of the client
// (wire.Key), and returns what it printed.
func (c *Client) SSH(key, command string) (string, error) {
	a, err := c.ask(wire.SSH, key, command)
	return a.Text, err
}
