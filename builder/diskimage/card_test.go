package diskimage

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/builder/raspberry"
	"github.com/victorinix/vic/images"
	"github.com/victorinix/vic/internal/request"
)

// firmware is what the hooks of raspi-firmware leave for a board, but for some files.
func firmware(board string, without ...string) []sample {
	b, _ := raspberry.Find(board)
	list := folders("boot/firmware", "boot/firmware/overlays")
	for _, name := range append([]string{"vmlinuz-" + release, "initrd.img-" + release, "cmdline.txt", b.DeviceTree, "overlays/disable-bt.dtbo"}, b.Firmware...) {
		if !slices.Contains(without, filepath.Base(name)) {
			list = append(list, file("boot/firmware/"+name, name))
		}
	}
	return list
}

// pi is a tree for a board.
func pi(t *testing.T, files []sample) *builder.Tree {
	t.Helper()
	list := append(accounts(t), folders("boot", "etc/systemd", "etc/systemd/system")...)
	list = append(list, file("etc/os-release", "ID=debian\n"), file("boot/vmlinuz-"+release, strings.Repeat("kernel", 1000)), file("boot/initrd.img-"+release, "initrd"))
	return packedFor(t, "arm64", append(list, files...))
}

func cardConfig(t *testing.T, tree *builder.Tree) Config {
	t.Helper()
	doc, err := images.Layout(images.RaspberryPiLayout, "arm64")
	if err != nil {
		t.Fatal(err)
	}
	c := config(t, tree)
	c.Layout = parsed(t, string(doc))
	c.System.Board = &request.Board{Name: "pi4", Console: "ttyS1,115200", Overlays: []string{"disable-bt"}}
	return c
}

// A card has an MBR, what the firmware reads in its first partition, told what this
// card is, and a root that grows.
func TestCardIsSound(t *testing.T) {
	env := archive(t)
	path := filepath.Join(t.TempDir(), "card.img")
	res, err := Write(t.Context(), env, cardConfig(t, pi(t, firmware("pi4"))), path)
	if err != nil || len(res.Warnings) > 0 {
		t.Fatal(err, res.Warnings)
	}
	if out := say(t, "sfdisk", "--verify", path); !strings.Contains(out, "No errors detected") {
		t.Errorf("sfdisk:\n%s", out)
	}
	if table := say(t, "sfdisk", "--dump", path); !strings.Contains(table, "label: dos") || !strings.Contains(table, "start=        8192, size=     1048576, type=c") || !strings.Contains(table, "start=     1056768,") {
		t.Errorf("the table is\n%s", table)
	}
	slot, root := fmt.Sprintf("%s@@%d", path, 4*mib), fmt.Sprintf("%s?offset=%d", path, 516*mib)
	if out := say(t, "e2fsck", "-fn", root); !strings.Contains(out, "Pass 5") {
		t.Errorf("e2fsck:\n%s", out)
	}
	if config := say(t, "mtype", "-i", slot, "::config.txt"); !strings.Contains(config, "\nkernel=vmlinuz-"+release+"\n") || !strings.Contains(config, "\ndtoverlay=disable-bt\n") {
		t.Errorf("config.txt:\n%s", config)
	}
	uuid := strings.TrimSpace(say(t, "blkid", "-p", "-o", "value", "-s", "UUID", "-O", fmt.Sprint(516*mib), path))
	if cmdline := say(t, "mtype", "-i", slot, "::cmdline.txt"); uuid == "" || !strings.Contains(cmdline, " root=UUID="+uuid+" ") {
		t.Errorf("the root is %q, cmdline.txt:\n%s", uuid, cmdline)
	}
	if fstab := say(t, "debugfs", "-R", "cat /etc/fstab", root); !strings.Contains(fstab, "x-systemd.growfs") || !strings.Contains(fstab, " /boot/firmware vfat ") {
		t.Errorf("fstab:\n%s", fstab)
	}
	if stat := say(t, "debugfs", "-R", "stat /usr/local/lib/vic/grow-partition", root); !strings.Contains(stat, "Mode:  0755") {
		t.Errorf("grow-partition:\n%s", stat)
	}
}

// What the board's firmware would not find is told, and no image is left.
func TestCardLacksFirmware(t *testing.T) {
	env := archive(t)
	path := filepath.Join(t.TempDir(), "card.img")
	for _, name := range []string{"start4.elf", "bcm2711-rpi-4-b.dtb", "disable-bt.dtbo", "vmlinuz-" + release} {
		_, err := Write(t.Context(), env, cardConfig(t, pi(t, firmware("pi4", name))), path)
		if err == nil || !strings.Contains(err.Error(), name+" is missing") {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s: there is an image", name)
		}
	}
}
