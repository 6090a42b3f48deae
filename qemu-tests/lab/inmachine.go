package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/initramfs"
	"github.com/victorinix/vic/qemu-tests/lab/inram/runs"
	"github.com/victorinix/vic/qemu-tests/vm"
)

const module = "github.com/victorinix/vic/"

// RunInRAM runs compiled tests of packages in a machine with the RAM system of a
// bundle: as root, with $CI set, and each as a subtest of its own. A test that
// skips there has failed.
func RunInRAM(ctx context.Context, t *testing.T, b *builder.Bundle, memoryMiB int, list runs.List) {
	t.Helper()
	dir := t.TempDir()
	initrd, said := filepath.Join(dir, "initrd"), filepath.Join(dir, "said")
	f, err := os.Create(initrd)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(b.Initrd(f), initramfs.WriteSegment(f, testFiles(t, dir, list), builder.DefaultTime)); err != nil {
		t.Fatal(err)
	}
	m := vm.Start(t, vm.Config{
		Name: "tests", MemoryMiB: memoryMiB, NoReboot: true, Kernel: b.Path(builder.KernelFile), Initrd: []string{initrd},
		Cmdline: b.Cmdline + " console=ttyS0 quiet vic.net=no",
		Extra:   Port(runs.Port, said),
	})
	Shows(ctx, t, m, "Nothing to do")
	Shows(ctx, t, m, "\n$ ") // the shell's prompt
	if err := m.SendConsole(runs.Dir + "/inram " + runs.Dir + "/runs.json\n"); err != nil {
		t.Fatal(err)
	}
	for _, r := range list.Runs {
		t.Run(r.Package, func(t *testing.T) {
			output := ended(ctx, t, m, said, r)
			results := strings.Join(regexp.MustCompile(`(?m)^ *--- .*`).FindAllString(output, -1), "\n")
			t.Logf("\n%s", results)
			if results == "" || strings.Contains(results, "--- SKIP") {
				t.Errorf("not all that was asked for has run:\n%s", output)
			}
		})
	}
	if err := m.Wait(ctx); err != nil {
		t.Error(err)
	}
}

// Port is QEMU's end of a virtio-serial port (see package port): what the guest
// writes goes to a file.
func Port(name, file string) []string { return serialPort(name, "file", file) }

// Socket is the same with a Unix socket that somebody listens on before the machine
// starts.
func Socket(name, socket string) []string { return serialPort(name, "socket", socket) }

func serialPort(name, kind, path string) []string {
	return []string{"-device", "virtio-serial-pci,id=" + name, "-chardev", fmt.Sprintf("%s,id=%s,path=%s", kind, name, path),
		"-device", fmt.Sprintf("virtserialport,bus=%s.0,chardev=%s,name=%s", name, name, name)}
}

// ended waits until a run has ended, and returns its output.
func ended(ctx context.Context, t *testing.T, m *vm.Machine, file string, r runs.Run) string {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		gone := ctx.Err() != nil
		select {
		case <-m.Done():
			gone = true
		default:
		}
		said, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		output, failure, ended := r.Output(string(said))
		switch {
		case ended && failure != "":
			t.Errorf("%s\n%s", failure, output)
			return output
		case ended:
			return output
		case gone:
			t.Fatalf("the machine or the time ended before the tests did:\n%s", output)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// testFiles are the program that runs tests, the test binaries, and what they
// read.
func testFiles(t *testing.T, dir string, list runs.List) []initramfs.File {
	t.Helper()
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	var files []initramfs.File
	add := func(name string, perm fs.FileMode, b []byte) {
		files = append(files, initramfs.Regular(strings.TrimPrefix(name, "/"), perm, b))
	}
	add(runs.Dir+"/runs.json", 0o644, text)
	add(runs.Dir+"/inram", 0o755, compiled(t, dir, "build", module+"qemu-tests/lab/inram"))
	for _, r := range list.Runs {
		add(r.Program(), 0o755, compiled(t, dir, "test", "-c", module+r.Package))
		data := filepath.Join("..", "..", r.Package, "testdata")
		err := filepath.WalkDir(data, func(file string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			name, err := filepath.Rel(data, file)
			if err != nil {
				return err
			}
			b, err := os.ReadFile(file)
			add(path.Join(r.Folder(), "testdata", filepath.ToSlash(name)), 0o644, b)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	return files
}

// compiled is the program that go makes.
func compiled(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	out := filepath.Join(dir, "program")
	cmd := exec.CommandContext(t.Context(), "go", append(args[:len(args)-1:len(args)-1], "-trimpath", "-ldflags=-s -w", "-o", out, args[len(args)-1])...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, b)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
