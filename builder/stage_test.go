package builder

import (
	"strings"
	"testing"
)

// GRUB finds the stage by sectors, and the machine's own consoles win.
func TestStageGRUBConfig(t *testing.T) {
	b := &Bundle{Arch: "amd64", Cmdline: "rootfstype=ramfs"}
	text := StageBoot{Cmdline: "console=ttyS1 panic=10"}.grubConfig(b, Range{7 << 30, 64 << 20}, "vic/vmlinuz", "vic/initrd")
	for _, want := range []string{"loopback vic 14680064+131072\n", "linux (vic)/vic/vmlinuz rootfstype=ramfs console=ttyS1 panic=10\n", "initrd (vic)/vic/initrd\nboot\n", "reboot\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if got := b.StageCmdline(StageBoot{Cmdline: "panic=10"}); got != "rootfstype=ramfs console=ttyS0,115200 console=tty0 panic=10" {
		t.Error(got)
	}
}
