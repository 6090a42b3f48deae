// Package appliance is the reverse Wi-Fi access point in a virtual machine, with
// simulated radios in it (../radio), and a cable in its Ethernet port, whose other end
// is for a client (../client), or for nobody.
package appliance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/internal/service"
	"github.com/victorinix/vic/qemu-tests/accesspoint/client"
	"github.com/victorinix/vic/qemu-tests/accesspoint/client/wire"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// item is the appliance, for an architecture, with what the simulated world needs.
const item = `
from: reverse-wifi-access-point
options:
  arch: %s
  hostname: attic
  wifi-firmware: false
lists:
  packages:
    - names: [hostapd, iproute2]
  programs:
    - names: [hostapd, ip]
  modules:
    - names: [mac80211_hwsim]
`

// Appliance is a machine, and who is plugged into it.
type Appliance struct {
	*vm.Machine
	Bundle *builder.Bundle // that it was started from
	arch   string
	dir    string
	key    string         // the file of the key that may log in
	cable  *os.File       // for a client
	client *client.Client // nil before Plug
}

// port is what the simulated world tells by.
const port = "org.vic.radio"

// consoles are what the kernel of an architecture calls the machine's serial port.
var consoles = map[string]string{"amd64": "ttyS0", "arm64": "ttyAMA0"}

// New starts an appliance of an architecture. It ends with the test.
func New(t *testing.T, arch string) *Appliance {
	t.Helper()
	a := &Appliance{arch: arch, dir: t.TempDir()}
	a.Bundle = a.build(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("make a cable: %v", err)
	}
	a.cable = os.NewFile(uintptr(fds[0]), "cable")
	t.Cleanup(func() { a.cable.Close() })
	config := vm.Config{
		Name: "access-point", Arch: arch, MemoryMiB: 640, Kernel: a.Bundle.Path(builder.KernelFile), Initrd: []string{a.initrd(t)},
		Cmdline: a.Bundle.Cmdline + " console=" + consoles[arch] + " quiet vic.net=no",
		NICs:    []vm.NIC{{Cable: os.NewFile(uintptr(fds[1]), "card"), MAC: randomMAC(), Address: fmt.Sprintf("00:%02x.0", 0x10+rand.IntN(0x0f))}},
		Extra:   lab.Port(port, a.said()),
	}
	if arch == "arm64" {
		config.Firmware = "none" // QEMU starts the kernel
	}
	a.Machine = vm.Start(t, config)
	return a
}

// build builds the appliance. Who tries again and again may have it in the folder
// $VIC_TEST_ACCESS_POINT: what is there is not built again.
func (a *Appliance) build(t *testing.T) *builder.Bundle {
	t.Helper()
	dir := os.Getenv("VIC_TEST_ACCESS_POINT")
	if dir == "" {
		dir = t.TempDir()
	}
	dir = filepath.Join(dir, a.arch)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	a.key = filepath.Join(dir, "key")
	out := filepath.Join(dir, "bundle")
	if b, err := builder.OpenBundle(out); err == nil {
		return b
	}
	lab.MakeKey(t, a.key)
	path := filepath.Join(dir, "item.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, item, a.arch), 0o644); err != nil {
		t.Fatal(err)
	}
	lab.MustVic(t, "build", path, "-o", "sshkey=@"+a.key+".pub", "--out", out)
	b, err := builder.OpenBundle(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// initrd is the bundle's, with the simulated world, and a graph that has it.
func (a *Appliance) initrd(t *testing.T) string {
	t.Helper()
	program := filepath.Join(a.dir, "radio")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "github.com/victorinix/vic/qemu-tests/accesspoint/radio")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+a.arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	elf, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(a.dir, "initrd")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(a.Bundle.Initrd(f), initramfs.WriteSegment(f, []initramfs.File{
		initramfs.Regular("radio", 0o755, elf),
		initramfs.Regular("etc/vic/services.json", 0o644, graph(t)),
	}, builder.DefaultTime)); err != nil {
		t.Fatal(err)
	}
	return path
}

// graph is the appliance's, after the simulated world, and before a service that tells
// that all of them are ready.
func graph(t *testing.T) []byte {
	t.Helper()
	text, err := images.Services("wifi-access-point")
	if err != nil {
		t.Fatal(err)
	}
	g, err := service.Decode(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	tell := service.Service{Name: "tell", Command: []string{"/radio", "tell", port}, Ready: &service.Ready{Exit: true}}
	for i, s := range g.Services {
		tell.Needs = append(tell.Needs, s.Name)
		if s.Name == "cards" {
			g.Services[i].Needs = append(s.Needs, "radio/made")
		}
	}
	g.Services = append(g.Services, tell,
		service.Service{Name: "radio", Command: []string{"/radio"}, Outputs: []string{"made"}, Ready: &service.Ready{Output: "made"}})
	text, err = json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.Decode(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return text
}

// said is the file of what the simulated world tells.
func (a *Appliance) said() string { return filepath.Join(a.dir, "said") }

// randomMAC is another one for each start, of those that QEMU has.
func randomMAC() string {
	return fmt.Sprintf("52:54:00:%02x:%02x:%02x", rand.IntN(256), rand.IntN(256), rand.IntN(256))
}

// Plug switches a client on that is plugged in, once.
func (a *Appliance) Plug(t *testing.T) *client.Client {
	t.Helper()
	a.client = client.Start(t, client.Config{Cable: a.cable, MAC: randomMAC(), Key: a.key})
	t.Cleanup(func() {
		if t.Failed() {
			if out, err := a.SSH("/usr/bin/vic-init services; /usr/bin/vic-init services log wifi; /usr/bin/vic-init services log radio"); err == nil {
				t.Log(out)
			}
		}
	})
	return a.client
}

// SSH has the client run a shell command on the appliance, and returns what it
// printed.
func (a *Appliance) SSH(command string) (string, error) { return a.client.SSH(wire.Key, command) }

// Eventually repeats f for minutes, until it succeeds.
func (a *Appliance) Eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if a.ended() {
			t.Fatalf("%s: a machine ended: %v", what, err)
		}
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v\n%s", what, err, a.ConsoleTail(60))
}

// ended: one of the machines is off.
func (a *Appliance) ended() bool {
	var plugged <-chan struct{}
	if a.client != nil {
		plugged = a.client.Done()
	}
	select {
	case <-a.Done():
	case <-plugged:
	default:
		return false
	}
	return true
}

// Serving waits until all services are ready, and returns where each stands. Times
// are seconds from the start of its kernel.
func (a *Appliance) Serving(t *testing.T) []service.ServiceStatus {
	t.Helper()
	var status service.Status
	a.Eventually(t, "services", func() error {
		f, err := os.Open(a.said())
		if err != nil {
			return err
		}
		defer f.Close()
		return json.NewDecoder(f).Decode(&status)
	})
	return slices.DeleteFunc(status.Services, func(s service.ServiceStatus) bool { return s.Name == "tell" })
}
