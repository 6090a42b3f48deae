package handover_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/netconf"
	"github.com/victorinix/vic/internal/plan/handover"
	"github.com/victorinix/vic/internal/tool/tooltest"
)

const networkd = "/lib/systemd/systemd-networkd"

// TestNetworkd has systemd-networkd read the files, which must leave nothing
// over, and, where all is static and the kernel has the kinds of links, set up
// the same network that the files were made from.
func TestNetworkd(t *testing.T) {
	switch name := os.Getenv(inside); name {
	case "":
	case everything:
		readNetworkd(t)
		return
	default:
		compareNetworkd(t, machines[slices.IndexFunc(machines, func(m machine) bool { return m.name == name })])
		return
	}
	tooltest.Need(t, "ip")
	if _, err := os.Stat(networkd); err != nil {
		tooltest.Missing(t, err.Error())
	}
	for _, m := range machines {
		enter(t, m.name)
	}
	enter(t, everything)
}

// everything is a document of package netconf with all that one can say.
const everything = "../../netconf/testdata/everything.json"

func readNetworkd(t *testing.T) {
	doc, err := os.ReadFile(everything)
	if err != nil {
		t.Fatal(err)
	}
	var c netconf.Config
	if err := json.Unmarshal(doc, &c); err != nil {
		t.Fatal(err)
	}
	private(t)
	said, end := start(t, netconf.Networkd(c))
	defer end()
	understood(t, said)
}

// log is what a program says, as it says it.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// wrong is how systemd begins what it has to say about a file.
var wrong = regexp.MustCompile(`(?m)^/etc/systemd/network/[^ ]+: .*$`)

// understood waits until systemd-networkd has read its files, and has no
// complaints.
func understood(t *testing.T, said *log) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for want := "Enumeration completed"; !strings.Contains(said.String(), want); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("systemd-networkd did not say %q:\n%s", want, said)
		}
	}
	for _, line := range wrong.FindAllString(said.String(), -1) {
		if !strings.HasSuffix(line, ": Successfully loaded.") {
			t.Error(line)
		}
	}
}

func compareNetworkd(t *testing.T, m machine) {
	private(t)
	plug(t, m, false)
	want, _ := handover.Network(factsOf(t, m.name))
	said, end := start(t, netconf.Networkd(want))
	defer end()
	understood(t, said)
	if m.absent || slices.ContainsFunc(want.Addresses, func(a netconf.Address) bool { return a.Dynamic }) {
		t.Log("a kind of link, or a server, is not there: only how the files are read was looked at")
		return
	}
	diff := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		got, _ := handover.Network(scanned(t, m))
		got.DNS = want.DNS // which is not the kernel's
		if diff = cmp.Diff(want, got); diff == "" {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("- as handed over, + as systemd-networkd has it:\n%s\n%s", diff, said)
}

// private makes the namespace one that systemd-networkd runs in without udev and
// D-Bus: as in a container, /sys is read-only.
func private(t *testing.T) {
	t.Helper()
	umask := unix.Umask(0) // it becomes the user systemd-network
	defer unix.Umask(umask)
	err := errors.Join(
		unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("tmpfs", "/etc/systemd/network", "tmpfs", 0, "mode=755"),
		unix.Mount("tmpfs", "/run", "tmpfs", 0, ""),
		unix.Mount("tmpfs", "/lib/systemd/network", "tmpfs", 0, "mode=755"),
		unix.Mount("sysfs", "/sys", "sysfs", unix.MS_RDONLY, ""),
		os.MkdirAll("/run/systemd/netif/links", 0o777),
		os.Mkdir("/run/systemd/netif/leases", 0o777),
		os.Mkdir("/run/systemd/netif/lldp", 0o777))
	if err != nil {
		t.Fatal(err)
	}
}

// start has systemd-networkd run with files. The cards are virtual, and have no
// permanent address.
func start(t *testing.T, files []netconf.File) (said *log, end func()) {
	t.Helper()
	const dir = "/etc/systemd/network/"
	for _, f := range files {
		text := strings.ReplaceAll(f.Content, "PermanentMACAddress=", "MACAddress=")
		if err := os.WriteFile(dir+filepath.Base(f.Path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	said = &log{}
	cmd := exec.Command(networkd)
	cmd.Env = []string{"SYSTEMD_LOG_LEVEL=debug", "SYSTEMD_LOG_TARGET=console"}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return said, func() {
		err := errors.Join(cmd.Process.Signal(unix.SIGTERM), cmd.Wait())
		for _, f := range files {
			err = errors.Join(err, os.Remove(dir+filepath.Base(f.Path)))
		}
		if err != nil {
			t.Error(err)
		}
	}
}
