package accesspoint

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/internal/service"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// appliance is a machine, and a client on its Ethernet side.
type appliance struct {
	dir     string
	key     string // the file of the key that may log in
	machine *vm.Machine
	ns      string
}

func newAppliance(t *testing.T) *appliance {
	t.Helper()
	a := &appliance{dir: t.TempDir(), ns: fmt.Sprintf("vicap%d", os.Getpid())}
	b := a.build(t)
	cable := a.cable(t)
	a.machine = vm.Start(t, vm.Config{
		Name: "access-point", MemoryMiB: 640, Kernel: b.Path(builder.KernelFile), Initrd: []string{a.initrd(t, b)},
		Cmdline: b.Cmdline + " console=ttyS0 quiet vic.net=no", NICs: []vm.NIC{{Cable: cable}},
	})
	t.Cleanup(func() {
		if t.Failed() {
			if out, err := a.ssh("/usr/bin/vic-init services; /usr/bin/vic-init services log wifi; /usr/bin/vic-init services log radio"); err == nil {
				t.Log(out)
			}
		}
	})
	return a
}

// build builds the appliance. Who tries again and again may have it in the folder
// $VIC_TEST_ACCESS_POINT: what is there is not built again.
func (a *appliance) build(t *testing.T) *builder.Bundle {
	t.Helper()
	dir := os.Getenv("VIC_TEST_ACCESS_POINT")
	if dir == "" {
		dir = t.TempDir()
	}
	a.key = filepath.Join(dir, "key")
	out := filepath.Join(dir, "bundle")
	if b, err := builder.OpenBundle(out); err == nil {
		return b
	}
	makeKey(t, a.key)
	path := filepath.Join(dir, "item.yaml")
	if err := os.WriteFile(path, []byte(item), 0o644); err != nil {
		t.Fatal(err)
	}
	lab.MustVic(t, "build", path, "-o", "sshkey=@"+a.key+".pub", "--out", out)
	b, err := builder.OpenBundle(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// makeKey makes the key that may log in.
func makeKey(t *testing.T, path string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(path+".pub", ssh.MarshalAuthorizedKey(key), 0o644), os.WriteFile(path, pem.EncodeToMemory(block), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// initrd is the bundle's, with the simulated world, and a graph that has it.
func (a *appliance) initrd(t *testing.T, b *builder.Bundle) string {
	t.Helper()
	program := filepath.Join(a.dir, "radio")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./radio")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
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
	if err := errors.Join(b.Initrd(f), initramfs.WriteSegment(f, files, builder.DefaultTime)); err != nil {
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
func (a *appliance) cable(t *testing.T) *os.File {
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

// client runs a program where the cable ends.
func (a *appliance) client(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", a.ns}, argv...)...).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, out)
	}
	return string(out), err
}

func (a *appliance) ssh(command string) (string, error) {
	return a.client("ssh", "-F", "none", "-i", a.key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile="+a.dir+"/known",
		"-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "root@192.168.77.1", command)
}

func (a *appliance) eventually(t *testing.T, what string, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		select {
		case <-a.machine.Done():
			t.Fatalf("%s: the machine ended", what)
		default:
		}
		if err = f(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v\n%s", what, err, a.machine.ConsoleTail(60))
}

// plug asks for an address until there is one.
func (a *appliance) plug(t *testing.T) {
	t.Helper()
	script := filepath.Join(a.dir, "dhclient-script")
	text := "#!/bin/sh\n[ -n \"$new_ip_address\" ] || exit 0\nip addr replace $new_ip_address/$new_subnet_mask dev " + tapName + "\nip route replace default via $new_routers\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"ip link set lo up", "ip link set " + tapName + " up"} {
		if _, err := a.client(strings.Fields(command)...); err != nil {
			t.Fatal(err)
		}
	}
	a.eventually(t, "a lease", func() error {
		_, err := a.client("timeout", "20", "dhclient", "-1", "-sf", script, "-lf", a.dir+"/leases", "-pf", a.dir+"/pid", tapName)
		_ = exec.Command("pkill", "-F", a.dir+"/pid").Run() // it stays to renew the lease
		_ = os.Remove(a.dir + "/leases")
		return err
	})
}

func (a *appliance) page(url string, options ...string) error {
	page, err := a.client(append([]string{"curl", "-sS", "--max-time", "5", url}, options...)...)
	if err == nil && page != "the internet\n" {
		err = fmt.Errorf("got %q", page)
	}
	return err
}
