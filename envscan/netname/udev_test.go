package netname

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/victorinix/vic/internal/tool/tooltest"
)

// jail is a folder that is the whole world of udev: udevadm with its libraries,
// and a /sys that a test has written. udev takes it for a /sys when told not to
// look (docs/ENVIRONMENT.md of systemd).
type jail struct {
	dir     string
	version string // of udev: 252
}

// newJail is the folder in $VIC_TEST_UDEV, which has /udevadm and what that
// needs, or one made of this host's udev.
func newJail(t *testing.T) jail {
	t.Helper()
	tooltest.Root(t)
	j := jail{dir: t.TempDir()}
	from := os.Getenv("VIC_TEST_UDEV")
	if from != "" {
		if err := os.CopyFS(j.dir, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	} else {
		tooltest.Need(t, "udevadm", "ldd")
		j.hostUdev(t)
	}
	tree{"sys/firmware/x": "", "proc/cmdline": "", "proc/device-tree": "-> /sys/firmware/devicetree/base", "run/x": ""}.writeTo(t, j.dir)
	out, err := j.command("--version").Output()
	if err != nil {
		t.Fatalf("udevadm --version: %v", err)
	}
	j.version, _, _ = strings.Cut(strings.TrimSpace(string(out)), " ")
	t.Logf("udev %s", j.version)
	return j
}

func (j jail) hostUdev(t *testing.T) {
	t.Helper()
	program, err := exec.LookPath("udevadm")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("ldd", program).Output()
	if err != nil {
		t.Fatalf("ldd %s: %v", program, err)
	}
	files := map[string]string{program: "/udevadm"}
	for _, word := range strings.Fields(string(out)) {
		if strings.HasPrefix(word, "/") {
			files[word] = word
		}
	}
	for from, to := range files {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(j.dir, to)), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(j.dir, to), b, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (j jail) command(args ...string) *exec.Cmd {
	cmd := exec.Command("/udevadm", args...)
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: j.dir}
	return cmd
}

// ask is what udev itself says by a scheme.
func (j jail) ask(t *testing.T, s Scheme) Names {
	t.Helper()
	cmd := j.command("test-builtin", "net_id", "/sys/class/net/eth0")
	cmd.Env = []string{"NET_NAMING_SCHEME=" + s.Name, "SYSTEMD_DEVICE_VERIFY_SYSFS=0", "LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu/systemd"}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError // where nothing is to be named, some releases fail
	if err != nil && !errors.As(err, &exit) || !strings.Contains(stderr.String(), "naming scheme '"+s.Name+"'") {
		t.Fatalf("udevadm: %v\n%s%s", err, &stdout, &stderr)
	}
	props := map[string]string{}
	for line := range strings.Lines(stdout.String()) {
		if k, v, ok := strings.Cut(strings.TrimRight(line, "\n"), "="); ok {
			props[k] = v
		}
	}
	return Names{props["ID_NET_NAME_ONBOARD"], props["ID_NET_NAME_SLOT"], props["ID_NET_NAME_PATH"], props["ID_NET_NAME_MAC"]}
}

// rewrittenCases depend on the release more than on the scheme: see rewritten.
const rewrittenCases = "infiniband, port name that could hide something"

// Udev itself has nothing else to say about any of the cases, by any scheme that
// it knows.
func TestUdevAgrees(t *testing.T) {
	if testing.Short() {
		t.Skip("runs udevadm some hundred times")
	}
	j := newJail(t)
	newest, _, err := OfSystemd(j.version)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for name, tt := range namesCases() {
		if strings.HasPrefix(name, "vio") && j.version < "254" {
			continue // it wants net/eth0 to be the end of /sys/devices/vio/...
		}
		if err := os.RemoveAll(filepath.Join(j.dir, "sys")); err != nil {
			t.Fatal(err)
		}
		tt.tree.writeTo(t, j.dir)
		d, err := Read(tt.tree.write(t), "eth0")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range Schemes() {
			if j.version >= "254" && !s.has(rewritten) && strings.Contains(rewrittenCases, name) {
				continue
			}
			if got, want := Of(d, s), j.ask(t, s); got != want {
				t.Errorf("%s, %s: %+v, udev says %+v", name, s.Name, got, want)
			}
			compared++
			if s.Name == newest.Name {
				break
			}
		}
	}
	if compared < 500 {
		t.Errorf("%d comparisons are too few", compared)
	}
}
