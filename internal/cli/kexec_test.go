package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/envscan"
)

func TestKexecWords(t *testing.T) {
	const running = "BOOT_IMAGE=/vmlinuz root=UUID=1 console=tty0 console=ttyS0,115200 quiet"
	if got := (&kexecFlags{}).words(running); got != "console=tty0 console=ttyS0,115200" {
		t.Errorf("got %q", got)
	}
	if got := (&kexecFlags{cmdline: "vic.shell"}).words(running); got != "vic.shell" {
		t.Errorf("got %q", got)
	}
}

// All that stands in the way is told at once.
func TestMayKexec(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		builder.BundleFile: `{"version": 1, "arch": "arm64", "files": []}`,
		builder.KernelFile: strings.Repeat("k", 8<<20),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b, err := builder.OpenBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	var f envscan.Facts
	f.HW.Arch, f.State.MemoryAvailable = "amd64", 80<<20
	f.OS.Kexec.Why = []string{"not root", "kernel.kexec_load_disabled is 1"}
	err = mayKexec(b, f, 24<<20)
	if err == nil {
		t.Fatal("allowed")
	}
	for _, want := range []string{
		"the bundle is for arm64 and this machine is amd64",
		"this system cannot start another kernel: not root; kernel.kexec_load_disabled is 1",
		"80 MiB of memory are available, and loading the bundle takes 88 MiB",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q in:\n%v", want, err)
		}
	}
	f.HW.Arch, f.State.MemoryAvailable, f.OS.Kexec.Allowed = "arm64", 88<<20, true
	if err := mayKexec(b, f, 24<<20); err != nil {
		t.Error(err)
	}
}
