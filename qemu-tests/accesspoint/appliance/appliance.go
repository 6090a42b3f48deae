// Package appliance is the reverse Wi-Fi access point in a virtual machine, with
// simulated radios in it (../radio), and a client on its Ethernet side: a tap in a
// network namespace.
package appliance

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/internal/service"
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

// Appliance is a machine, and a client on its Ethernet side.
type Appliance struct {
	*vm.Machine
	Bundle *builder.Bundle // that it was started from
	arch   string
	dir    string
	key    string // the file of the key that may log in
	ns     string
}

// consoles are what the kernel of an architecture calls the machine's serial port.
var consoles = map[string]string{"amd64": "ttyS0", "arm64": "ttyAMA0"}

// New starts an appliance of an architecture. It ends with the test.
func New(t *testing.T, arch string) *Appliance {
	t.Helper()
	a := &Appliance{arch: arch, dir: t.TempDir(), ns: fmt.Sprintf("vicap%d", os.Getpid())}
	a.Bundle = a.build(t)
	cable := a.cable(t)
	config := vm.Config{
		Name: "access-point", Arch: arch, MemoryMiB: 640, Kernel: a.Bundle.Path(builder.KernelFile), Initrd: []string{a.initrd(t)},
		Cmdline: a.Bundle.Cmdline + " console=" + consoles[arch] + " quiet vic.net=no", NICs: []vm.NIC{{Cable: cable}},
	}
	if arch == "arm64" {
		config.Firmware = "none" // QEMU starts the kernel
	}
	a.Machine = vm.Start(t, config)
	t.Cleanup(func() {
		if t.Failed() {
			if out, err := a.SSH("/usr/bin/vic-init services; /usr/bin/vic-init services log wifi; /usr/bin/vic-init services log radio"); err == nil {
				t.Log(out)
			}
		}
	})
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
	files := []initramfs.File{initramfs.Regular("radio", 0o755, elf), initramfs.Regular("etc/vic/services.json", 0o644, graph(t))}
	if err := errors.Join(a.Bundle.Initrd(f), initramfs.WriteSegment(f, files, builder.DefaultTime)); err != nil {
		t.Fatal(err)
	}
	return path
}

// graph is the appliance's, after the simulated world.
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
	for i, s := range g.Services {
		if s.Name == "cards" {
			g.Services[i].Needs = append(s.Needs, "radio/made")
		}
	}
	g.Services = append(g.Services, service.Service{Name: "radio", Command: []string{"/radio"}, Outputs: []string{"made"}, Ready: &service.Ready{Output: "made"}})
	text, err = json.Marshal(g)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.Decode(bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return text
}

// cable is one end of a cable to a client: a tap in a network namespace.
func (a *Appliance) cable(t *testing.T) *os.File {
	t.Helper()
	lab.Say(t, "ip", "netns", "add", a.ns)
	t.Cleanup(func() { // the test's context has ended by then
		if out, err := exec.Command("ip", "netns", "del", a.ns).CombinedOutput(); err != nil {
			t.Errorf("remove the namespace: %v: %s", err, out)
		}
	})
	// What ip-netns(8) puts in the place of /etc/resolv.conf.
	etc := filepath.Join("/etc/netns", a.ns)
	t.Cleanup(func() { os.RemoveAll(etc) })
	if err := errors.Join(os.MkdirAll(etc, 0o755), os.WriteFile(etc+"/resolv.conf", []byte("nameserver 192.168.77.1\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	tap := openTap(t)
	lab.Say(t, "ip", "link", "set", tapName, "netns", a.ns)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	here := os.NewFile(uintptr(fds[0]), "cable")
	t.Cleanup(func() { here.Close(); tap.Close() })
	go func() { // to the machine
		frame := make([]byte, 4+65536)
		for {
			n, err := tap.Read(frame[4:])
			if err != nil {
				return
			}
			binary.BigEndian.PutUint32(frame, uint32(n))
			if _, err := here.Write(frame[:4+n]); err != nil {
				return
			}
		}
	}()
	go func() { // from it
		var size [4]byte
		for {
			if _, err := io.ReadFull(here, size[:]); err != nil {
				return
			}
			frame := make([]byte, binary.BigEndian.Uint32(size[:]))
			if _, err := io.ReadFull(here, frame); err != nil {
				return
			}
			_, _ = tap.Write(frame) // a tap that is down drops it
		}
	}()
	return os.NewFile(uintptr(fds[1]), "card")
}

const tapName = "vicap0"

func openTap(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	req, err := unix.NewIfreq(tapName)
	if err != nil {
		t.Fatal(err)
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		t.Fatalf("make a tap: %v", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "tap")
}

// Client runs a program where the cable ends.
func (a *Appliance) Client(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", a.ns}, argv...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return string(out), err
}

// SSH runs a shell command on the appliance, and returns what it printed.
func (a *Appliance) SSH(command string) (string, error) {
	return a.Client("ssh", "-F", "none", "-i", a.key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile="+a.dir+"/known",
		"-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "root@192.168.77.1", command)
}

// Eventually repeats f for minutes, until it succeeds.
func (a *Appliance) Eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		select {
		case <-a.Done():
			t.Fatalf("%s: the machine ended", what)
		default:
		}
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v\n%s", what, err, a.ConsoleTail(60))
}

// Plug asks for an address until there is one.
func (a *Appliance) Plug(t *testing.T) {
	t.Helper()
	script := filepath.Join(a.dir, "dhclient-script")
	text := "#!/bin/sh\n[ -n \"$new_ip_address\" ] || exit 0\nip addr replace $new_ip_address/$new_subnet_mask dev " + tapName + "\nip route replace default via $new_routers\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"ip link set lo up", "ip link set " + tapName + " up"} {
		if _, err := a.Client(strings.Fields(command)...); err != nil {
			t.Fatal(err)
		}
	}
	a.Eventually(t, "a lease", func() error {
		_, err := a.Client("timeout", "20", "dhclient", "-1", "-sf", script, "-lf", a.dir+"/leases", "-pf", a.dir+"/pid", tapName)
		_ = exec.Command("pkill", "-F", a.dir+"/pid").Run() // it stays to renew the lease
		_ = os.Remove(a.dir + "/leases")
		return err
	})
}

// Page fetches a page of the simulated internet, with options of curl.
func (a *Appliance) Page(url string, options ...string) error {
	page, err := a.Client(append([]string{"curl", "-sS", "--max-time", "5", url}, options...)...)
	if err == nil && page != "the internet\n" {
		err = fmt.Errorf("got %q", page)
	}
	return err
}

// Serving waits until all services are ready, and returns how many seconds after the
// start of its kernel the last one was.
func (a *Appliance) Serving(t *testing.T) (last float64) {
	t.Helper()
	a.Eventually(t, "services", func() error {
		text, err := a.SSH("/usr/bin/vic-init services --json")
		if err != nil {
			return err
		}
		var status service.Status
		if err := json.Unmarshal([]byte(text), &status); err != nil {
			return err
		}
		last = 0
		for _, s := range status.Services {
			if s.State != service.Running && s.State != service.Done {
				return fmt.Errorf("%s is %s: %s", s.Name, s.State, s.Reason)
			}
			last = max(last, s.Since)
		}
		return nil
	})
	return last
}
