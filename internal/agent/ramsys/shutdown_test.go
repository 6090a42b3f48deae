package ramsys

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const someMounts = `1 1 0:2 / / rw - rootfs rootfs rw
20 1 0:18 / /proc rw,nosuid - proc proc rw
24 1 0:22 / /run rw - tmpfs tmpfs rw
30 24 7:0 / /run/vic/system ro,nodev - erofs /system.erofs ro
31 1 0:30 / /usr rw - overlay overlay rw,lowerdir=/a:/b
40 1 254:2 / /mnt/target\040disk rw shared:1 master:2 - ext4 /dev/vda3 rw
41 40 254:1 / /mnt/target\040disk/boot/efi rw - vfat /dev/vda2 rw
42 40 0:5 / /mnt/target\040disk/dev rw - devtmpfs dev rw
`

func TestMountPoints(t *testing.T) {
	got, err := mountPoints(strings.NewReader(someMounts))
	want := []string{"/run/vic/system", "/usr", "/mnt/target disk", "/mnt/target disk/boot/efi"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	for _, bad := range []string{"1 2 3\n", "1 1 0:2 / /mnt rw\n"} {
		if got, err := mountPoints(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: got %q", bad, got)
		}
	}
}

func FuzzMountPoints(f *testing.F) {
	f.Add(someMounts)
	f.Add(`1 1 0:2 / /\04 rw - ext4`)
	f.Fuzz(func(t *testing.T, s string) {
		points, err := mountPoints(strings.NewReader(s))
		if err == nil && slices.Contains(points, "/") {
			t.Error("the root is to stay")
		}
	})
}

// TestProcesses finds a program, and neither this process nor kernel threads.
func TestProcesses(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pids := processes("/proc")
	if !slices.Contains(pids, cmd.Process.Pid) || slices.Contains(pids, os.Getpid()) {
		t.Errorf("got %v, started %d, am %d", pids, cmd.Process.Pid, os.Getpid())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	if slices.Contains(processes("/proc"), cmd.Process.Pid) {
		t.Error("it has ended")
	}
}

func TestConsoleDevices(t *testing.T) {
	sys := t.TempDir()
	if got := consoleDevices(sys); !slices.Equal(got, []string{"/dev/console"}) {
		t.Errorf("none: %v", got)
	}
	if err := os.MkdirAll(filepath.Join(sys, "class/tty/console"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sys, "class/tty/console/active"), []byte("tty0 ttyS0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := consoleDevices(sys); !slices.Equal(got, []string{"/dev/tty1", "/dev/ttyS0"}) {
		t.Errorf("got %v", got)
	}
	for device, want := range map[string]string{"/dev/tty1": "linux", "/dev/ttyS0": "dumb", "/dev/hvc0": "dumb", "/dev/ttyAMA0": "dumb", "/dev/console": "dumb", "/dev/tty": "dumb"} {
		if got := terminal(device); got != want {
			t.Errorf("%s: got %s", device, got)
		}
	}
}

// The scripts call vic-init with the name of the command before everything
// else, which is how Main knows it.
func TestCommandScripts(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("bb", filepath.Join(dir, "shutdown")); err != nil {
		t.Fatal(err)
	}
	if err := writeCommands(dir, "/bin/echo"); err != nil {
		t.Fatal(err)
	}
	for _, name := range commands() {
		path := filepath.Join(dir, name)
		out, err := exec.CommandContext(t.Context(), path, "a", "-r").Output()
		if want := name + " " + path + " a -r\n"; err != nil || string(out) != want {
			t.Errorf("got %q, %v, want %q", out, err, want)
		}
	}
	for _, tt := range [][2]string{{"/bbin/vic install x", "install x"}, {"/usr/sbin/vic install", "install"}, {"/other x", "/other x"}, {"install x", "install x"}, {"", ""}} {
		if got := strings.Join(scriptArgs("vic", strings.Fields(tt[0])), " "); got != tt[1] {
			t.Errorf("%q: got %q", tt[0], got)
		}
	}
}
