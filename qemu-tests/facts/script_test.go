package facts

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// machineScript is a machine in RAM with Debian's generic kernel that runs a
// shell script: see package script.
type machineScript struct {
	modules []string          // to load, with parameters
	tools   []string          // programs of this host, with their libraries
	static  map[string]string // programs without libraries, by path in the machine
	files   map[string]string // texts, by path
	script  string
	config  vm.Config
}

// run returns what the script printed between "@ NAME" lines, by name.
func (s machineScript) run(t *testing.T) map[string]string {
	t.Helper()
	kernel, modules, release := lab.Kernel(t, "generic")
	s.modules = append(slices.Clone(s.modules), "virtio_blk")
	names := make([]string, len(s.modules))
	for i, m := range s.modules {
		names[i], _, _ = strings.Cut(m, " ")
	}
	dir := t.TempDir()
	buildGo(t, filepath.Join(dir, "init"), "build", "github.com/victorinix/vic/qemu-tests/facts/script")
	buildGo(t, filepath.Join(dir, "vic-env"), "build", "github.com/victorinix/vic/cmd/vic-env")
	files := []initramfs.File{
		fileOf(t, filepath.Join(dir, "init"), "init"), fileOf(t, filepath.Join(dir, "vic-env"), "usr/bin/vic-env"),
		initramfs.Regular("modules", 0o644, []byte(strings.Join(s.modules, "\n"))), initramfs.Regular("script", 0o644, []byte(s.script)),
	}
	for path, program := range s.static {
		files = append(files, fileOf(t, program, path))
	}
	for path, text := range s.files {
		files = append(files, initramfs.Regular(path, 0o644, []byte(text)))
	}
	for _, path := range withLibraries(t, append(s.tools, "/bin/sh")) {
		files = append(files, fileOf(t, path, merged(path)))
	}
	for _, dir := range []string{"bin", "sbin", "lib64"} {
		files = append(files, initramfs.Symlink(dir, "usr/"+dir))
	}
	var archive bytes.Buffer
	if _, err := initramfs.Write(&archive, initramfs.Config{Modules: os.DirFS(modules), Release: release, Sets: names, Files: files, Time: time.Unix(0, 0)}); err != nil {
		t.Fatal(err)
	}
	c := s.config
	c.Kernel, c.Initrd, c.Cmdline = kernel, []string{filepath.Join(dir, "initrd")}, "console=ttyS0 quiet loglevel=0 panic=-1"
	output := filepath.Join(dir, "output")
	if err := vm.BlankDisk(output, 8<<20); err != nil {
		t.Fatal(err)
	}
	c.Disks = append(slices.Clone(c.Disks), vm.Disk{Path: output, Format: "raw", Serial: "vic-output"})
	if err := os.WriteFile(c.Initrd[0], archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	m := vm.Start(t, c)
	if err := m.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(output)
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(out), "\x00")
	return parts(text)
}

func parts(text string) map[string]string {
	found := map[string]string{}
	name := ""
	for line := range strings.Lines(text) {
		if n, ok := strings.CutPrefix(line, "@ "); ok {
			name = strings.TrimSpace(n)
			found[name] = ""
			continue
		}
		found[name] += line
	}
	return found
}

// buildGo has the go command write a static program.
func buildGo(t *testing.T, out string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", slices.Insert(args, 1, "-o", out)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
}

func fileOf(t *testing.T, path, name string) initramfs.File {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return initramfs.Regular(strings.TrimPrefix(name, "/"), 0o755, b)
}

// merged is a path in a system whose /bin, /sbin and /lib are links into /usr.
func merged(path string) string {
	if strings.HasPrefix(path, "/usr/") {
		return path
	}
	return "/usr" + path
}

// withLibraries are programs of this host and the libraries that they load, by
// path.
func withLibraries(t *testing.T, names []string) []string {
	t.Helper()
	tooltest.Need(t, append(names, "ldd")...)
	var list []string
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, path)
		for _, word := range strings.Fields(lab.Say(t, "ldd", path)) {
			if strings.HasPrefix(word, "/") {
				list = append(list, word)
			}
		}
	}
	slices.SortFunc(list, func(a, b string) int { return strings.Compare(merged(a), merged(b)) })
	return slices.CompactFunc(list, func(a, b string) bool { return merged(a) == merged(b) })
}
