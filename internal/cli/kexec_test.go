package cli

import "testing"

func TestKexecWords(t *testing.T) {
	const running = "BOOT_IMAGE=/vmlinuz root=UUID=1 console=tty0 console=ttyS0,115200 quiet"
	if got := (&kexecFlags{}).words(running); got != "console=tty0 console=ttyS0,115200" {
		t.Errorf("got %q", got)
	}
	if got := (&kexecFlags{cmdline: "vic.shell"}).words(running); got != "vic.shell" {
		t.Errorf("got %q", got)
	}
}
