package raspberry

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/builder/raspberry"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

const (
	// Where the partition of the firmware is, as images/layouts/raspberry-pi.yaml has it.
	firmwareOffset, firmwareSize = 4 * mib, 512 * mib
	debianCard                   = 4096 * mib
)

// A normal Debian for a Pi: what is on its card is sound, has all that the board's
// firmware looks for, and in QEMU's Pi boots to a login, grown to the card. What
// Debian's hooks write at an update is what vic has written.
func TestDebian(t *testing.T) {
	if os.Getenv("VIC_TEST_MATRIX") != "1" {
		t.Skip("builds Debian for arm64 under emulation and boots it in an emulated Raspberry Pi: VIC_TEST_MATRIX=1")
	}
	need(t)
	if _, err := os.Stat("/proc/sys/fs/binfmt_misc/qemu-aarch64"); err != nil {
		t.Skip("maintainer scripts for arm64 do not run here: qemu-user-static, binfmt-support")
	}
	image := lab.BoardImage(t, "pi3", "ttyS1")
	checkDebian(t, image)
	card := filepath.Join(t.TempDir(), "card.img")
	lab.Say(t, "cp", "--sparse=always", image, card)
	if err := os.Truncate(card, debianCard); err != nil {
		t.Fatal(err)
	}
	m := startDebian(t, card)
	g := lab.LoginImage(t, m, 25*time.Minute)
	g.Checks([][2]string{
		{"hostname", `^image1$`},
		{"findmnt -no FSTYPE /; findmnt -no FSTYPE /boot/firmware; stat -c %a /boot/firmware", `^ext4\nvfat\n700$`},
		{"df -B1M --output=size / | tail -1", `^ *3[2-5][0-9]{2}$`},
		{"cat /proc/device-tree/model", `Raspberry Pi 3 Model B`},
		{"systemctl --failed --no-legend", `^$`},
		{"id -nG " + lab.User, `\bsudo\b`},
	})
	before := g.Sudo("cat /boot/firmware/cmdline.txt; grep -v ^# /boot/firmware/config.txt | grep .")
	g.Sudo("update-initramfs -u")
	if after := g.Sudo("cat /boot/firmware/cmdline.txt; grep -v ^# /boot/firmware/config.txt | grep ."); words(after) != words(before) {
		t.Errorf("after an update of the initramfs the firmware is told\n%s\nand was told\n%s", after, before)
	}
	g.Poweroff(t.Context())
	if out := lab.Say(t, "sfdisk", "--verify", card); !strings.Contains(out, "No errors detected") {
		t.Errorf("sfdisk --verify: %s", out)
	}
}

// words is a text without the differences of its spaces.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

func checkDebian(t *testing.T, image string) {
	t.Helper()
	if out := lab.Say(t, "sfdisk", "--verify", image); !strings.Contains(out, "No errors detected") {
		t.Errorf("sfdisk --verify: %s", out)
	}
	table := lab.Say(t, "sfdisk", "--dump", image)
	root := regexp.MustCompile(`start= *(\d+), size= *(\d+), type=83`).FindStringSubmatch(table)
	if root == nil || !strings.Contains(table, "start=        8192, size=     1048576, type=c") {
		t.Fatalf("the table is\n%s", table)
	}
	var start, size int64
	if _, err := fmt.Sscan(root[1], &start); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(root[2], &size); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	firmware, system := filepath.Join(dir, "firmware"), filepath.Join(dir, "root")
	lab.Slice(t, image, firmware, firmwareOffset, firmwareSize)
	lab.Slice(t, image, system, start*512, size*512)
	lab.Say(t, "fsck.vfat", "-n", firmware)
	lab.Say(t, "e2fsck", "-fn", system)
	names := lab.Say(t, "mdir", "-b", "-i", firmware, "::/")
	board, _ := raspberry.Find("pi3")
	for _, f := range append([]string{"config.txt", "cmdline.txt", board.DeviceTree}, board.Firmware...) {
		if !strings.Contains(names, "/"+f+"\n") {
			t.Errorf("the firmware's partition has no %s:\n%s", f, names)
		}
	}
}

// setting is a line of config.txt.
var setting = regexp.MustCompile(`(?m)^(kernel=|initramfs )(\S+)`)

// startDebian starts a card as the firmware of a Pi 3 would, which reads config.txt.
func startDebian(t *testing.T, card string) *vm.Machine {
	t.Helper()
	dir := t.TempDir()
	take := func(name string) string {
		to := filepath.Join(dir, name)
		lab.Say(t, "mcopy", "-n", "-i", fmt.Sprintf("%s@@%d", card, firmwareOffset), "::/"+name, to)
		return to
	}
	text := map[string]string{}
	for _, name := range []string{"config.txt", "cmdline.txt"} {
		b, err := os.ReadFile(take(name))
		if err != nil {
			t.Fatal(err)
		}
		text[name] = string(b)
	}
	files := map[string]string{}
	for _, m := range setting.FindAllStringSubmatch(text["config.txt"], -1) {
		files[strings.Trim(m[1], "= ")] = take(m[2])
	}
	return vm.Start(t, vm.Config{
		Name: "pi-debian", Dir: filepath.Join(dir, "run"), Arch: "arm64", Firmware: "none", Board: vm.RaspberryPi,
		Kernel: files["kernel"], Initrd: []string{files["initramfs"]},
		DeviceTree: take("bcm2837-rpi-3-b.dtb"), Cmdline: strings.TrimSpace(text["cmdline.txt"]),
		Disks: []vm.Disk{{Path: card, Format: "raw", Bus: "mmc"}},
		NICs:  []vm.NIC{{Model: "usb-net", Forward: []int{22}, Restrict: true}},
	})
}
