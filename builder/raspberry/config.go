package raspberry

import (
	"fmt"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
)

// The names of files in a slot.
const (
	kernelFile    = "kernel8.img"
	initramfsFile = "initramfs.img"
	cmdlineFile   = "cmdline.txt"
	configFile    = "config.txt"
	systemFile    = "system.erofs"
)

// configText is config.txt.
func (s Spec) configText() string {
	lines := []string{
		"# Made by vic. Lines of your own: -o config-txt=...",
		"arm_64bit=1",
		"# Device trees of the kernel's own, not those of the firmware's makers.",
		"upstream_kernel=1",
		"kernel=" + kernelFile,
		"initramfs " + initramfsFile + " followkernel",
		"disable_splash=1",
		"boot_delay=0",
	}
	if s.Serial {
		lines = append(lines, "enable_uart=1")
	} else {
		lines = append(lines, "enable_uart=0")
	}
	for _, o := range s.Overlays {
		lines = append(lines, "dtoverlay="+o)
	}
	return strings.Join(append(lines, s.Config...), "\n") + "\n"
}

// serialConsole is that of all boards but the Pi 5.
const serialConsole = "console=" + uart

// cmdline is cmdline.txt: one line.
func (s Spec) cmdline(disk uint32, slot int) string {
	words := []string{}
	if s.Serial {
		words = append(words, serialConsole)
	}
	words = append(words, "console=tty0", fmt.Sprintf("vic.system=SLOT=%08x-%02x", disk, slot),
		// Nobody is there: what fails is started again, of an update the old slot.
		"vic.onerror=reboot", "panic=10")
	return strings.Join(append(words, s.Cmdline...), " ") + "\n"
}

var (
	printable = lazyregexp.New(`^[\x20-\x7e]*$`)
	overlay   = lazyregexp.New(`^[a-z0-9][a-z0-9_-]*(,[a-z0-9_-]+(=[!-+\--~]*)?)*$`)
)

// maxLine is the longest line of config.txt that the firmware reads.
const maxLine = 98

// Check refuses what the firmware would not understand, or would take for
// something else.
func (s Spec) Check() error {
	for _, line := range s.Config {
		if !printable.MatchString(line) || len(line) > maxLine {
			return fmt.Errorf("config.txt: line %q: at most %d printable ASCII characters", line, maxLine)
		}
		key, _, _ := strings.Cut(strings.TrimSpace(line), "=")
		key, _, _ = strings.Cut(key, " ")
		switch key {
		case "kernel", "initramfs", "cmdline", "os_prefix", "arm_64bit", "upstream_kernel", "device_tree", "start_file", "fixup_file", "ramfsfile":
			return fmt.Errorf("config.txt: line %q: what %s says is how the card starts", line, key)
		case "include":
			return fmt.Errorf("config.txt: line %q: there is no other file on the card", line)
		}
	}
	for _, o := range s.Overlays {
		if !overlay.MatchString(o) || len(o) > maxLine-len("dtoverlay=") {
			return fmt.Errorf("overlay %q is not NAME, or NAME with ,PARAMETER=VALUE after it", o)
		}
	}
	for _, w := range s.Cmdline {
		if !printable.MatchString(w) || strings.ContainsAny(w, " ") {
			return fmt.Errorf("kernel parameter %q: printable ASCII characters without spaces", w)
		}
	}
	return nil
}
