package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/plan/storage"
	"github.com/victorinix/vic/internal/request"
)

// firmwareDir is where Debian's raspi-firmware puts what the firmware of a board
// reads.
const firmwareDir = "/boot/firmware"

// firmware is the file system that the board's firmware reads.
func (t target) firmware() *storage.Filesystem {
	if f := t.at(firmwareDir); f != nil && f.FSType == "vfat" && len(f.Parts) == 1 && f.Parts[0].Entry.Number == 1 {
		return f
	}
	return nil
}

var (
	errBoardInstalled = errors.New("a system for a board is flashed onto its card, not installed: vic flash")
	errNoFirmware     = errors.New("the layout has no vfat mounted at " + firmwareDir + " on its first partition, where the board's firmware looks")
)

// checkBoard refuses what the board's firmware would not start.
func (t target) checkBoard() error {
	switch {
	case !t.anywhere:
		return errBoardInstalled
	case t.firmware() == nil:
		return errNoFirmware
	}
	return nil
}

// boardConfig is read by the hooks of raspi-firmware at every update of a kernel;
// what they would write now is written with it.
func (t target) boardConfig() []named {
	b := *t.req.System.Board
	consoles := []string{"tty0"}
	if b.Console != "" {
		consoles = []string{b.Console, "tty0"}
	}
	root := t.storage.Boot.Root
	extra := strings.Join(append(slices.Clone(t.storage.Boot.Cmdline), t.req.System.Cmdline...), " ")
	s := []named{
		// A size for CMA keeps a Pi 4 from starting, and the others have one from
		// their device trees.
		t.file("/etc/default/raspi-firmware", "CMA=0\nROOTPART="+shellQuote(root)+"\nCONSOLES="+shellQuote(strings.Join(consoles, " "))+"\n"),
	}
	custom := customConfig(b)
	if len(custom) > 0 {
		s = append(s, t.file("/etc/default/raspi-firmware-custom", strings.Join(custom, "\n")+"\n"))
	}
	if extra != "" {
		s = append(s, t.file("/etc/default/raspi-extra-cmdline", extra+"\n"))
	}
	words := []string{}
	for _, c := range consoles {
		words = append(words, "console="+c)
	}
	words = append(words, "root="+root, "rw", "fsck.repair=yes", "net.ifnames=0", "rootwait")
	if extra != "" {
		words = append(words, extra)
	}
	return append(s,
		t.file(firmwareDir+"/config.txt", configTxt(t.req.Payload.Kernel, custom)),
		t.file(firmwareDir+"/cmdline.txt", strings.Join(words, " ")+"\n"))
}

// customConfig are the lines of config.txt that are not the hooks' own.
func customConfig(b request.Board) []string {
	var lines []string
	if b.Console == "" { // the hooks always enable it
		lines = append(lines, "enable_uart=0")
	}
	for _, o := range b.Overlays {
		lines = append(lines, "dtoverlay="+o)
	}
	return append(lines, b.Config...)
}

// configTxt is what the hooks of raspi-firmware write.
func configTxt(release string, custom []string) string {
	lines := []string{
		"# Made with the image. The hooks of raspi-firmware make another one of",
		"# /etc/default/raspi-firmware-custom, at the first update of a kernel.",
		"arm_64bit=1", "enable_uart=1", "upstream_kernel=1", "kernel=vmlinuz-" + release, "initramfs initrd.img-" + release,
	}
	return strings.Join(append(lines, custom...), "\n") + "\n"
}

// growScript enlarges a partition of an MBR, in the one sector that describes it,
// and tells the kernel, which may have it mounted.
const growScript = `#!/bin/sh
# Enlarges partition %[1]d of the disk that / is on to the end of that disk.
set -eu
root=$(findmnt --noheadings --output SOURCE /)
disk=$(basename "$(readlink -f "/sys/class/block/$(basename "$root")/..")")
for part in "/sys/class/block/$disk/$disk"*; do
	[ "$(cat "$part/partition")" = %[1]d ] || continue
	end=$(($(cat "$part/start") + $(cat "$part/size")))
	# Less than 1 MiB: it has grown.
	[ $(($(cat "/sys/class/block/$disk/size") - end)) -ge 2048 ] || exit 0
	echo ', +' | sfdisk --quiet --no-reread --no-tell-kernel --partno %[1]d "/dev/$disk"
	exec partx --update --nr %[1]d "/dev/$disk"
done
echo "$disk has no partition %[1]d" >&2
exit 1
`

const (
	growProgram = "/usr/local/lib/vic/grow-partition"
	growUnit    = "/etc/systemd/system/vic-grow.service"
	growService = "[Unit]\nDescription=Enlarge the last partition to the end of its disk\nDefaultDependencies=no\n" +
		"Before=local-fs-pre.target systemd-growfs-root.service shutdown.target\nConflicts=shutdown.target\n\n" +
		"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=" + growProgram + "\n\n" +
		"[Install]\nWantedBy=sysinit.target\n"
)

// growthMBR does for an MBR what systemd-repart(8) does for a GPT: systemd knows no
// other table.
func (t target) growthMBR(number int) []named {
	link := "/etc/systemd/system/sysinit.target.wants/vic-grow.service"
	return []named{
		{growProgram, WriteFile{Path: growProgram, Mode: 0o755, Content: fmt.Sprintf(growScript, number)}},
		t.file(growUnit, growService),
		{link, Symlink{link, growUnit}},
	}
}
