package qemutests

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/victorinix/vic/qemu-tests/lab"
)

// A disk image is what an install leaves, made without a machine: foreign tools
// find it sound, and it boots by UEFI and by BIOS, on a disk that is larger than
// itself, up to a login.
func TestDiskImage(t *testing.T) {
	lab.Need(t)
	path := lab.DiskImage(t)
	checkImage(t, path, 512)
	if os.Getenv("VIC_TEST_MATRIX") == "" {
		t.Skip("it is booted with VIC_TEST_MATRIX=1")
	}
	for _, firmware := range []string{"uefi", "bios"} {
		t.Run(firmware, func(t *testing.T) {
			card := filepath.Join(t.TempDir(), "card.img")
			lab.Say(t, "cp", "--sparse=always", path, card)
			if err := os.Truncate(card, 4<<30); err != nil {
				t.Fatal(err)
			}
			checkDiskImage(t, lab.BootImage(t, card, firmware), firmware)
			lab.CheckTable(t, card, 512)
		})
	}
}

func checkDiskImage(t *testing.T, g lab.Guest, firmware string) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	g.Booted()
	booted := map[string]string{
		"uefi": "bootctl --no-pager status | grep -c 'Current Entry: debian-'",
		"bios": "test ! -e /sys/firmware/efi && echo 1",
	}[firmware]
	g.Checks([][2]string{
		{booted, `^1$`},
		{"hostname", `^image1$`},
		{"findmnt -no FSTYPE /; findmnt -no FSTYPE /boot/efi; stat -c %a /boot/efi", `^ext4\nvfat\n700$`},
		// On 4 GiB with an ESP of 512 MiB.
		{"df -B1M --output=size / | tail -1", `^ *3[2-5][0-9]{2}$`},
		{"cat /etc/machine-id", `^[0-9a-f]{32}$`},
		{"id -nG " + lab.User, `\bsudo\b`},
		{"networkctl --no-pager status 'en*'", `Network File: /etc/systemd/network/10-vic\.network(?s:.*)State: routable \(configured\)`},
		{"stat -c '%a %U' /etc/ssh/ssh_host_ed25519_key ~" + lab.User + "/.ssh/authorized_keys", fmt.Sprintf(`^600 root\n600 %s$`, lab.User)},
		{"systemctl is-enabled tell-host-keys.service", `^enabled$`},
		{"journalctl -b --no-pager | grep -c '[s]kipping root file system'; lsinitramfs /boot/initrd.img-$(uname -r) | grep -c /fsck.ext4", `^0\n1$`},
		{"dpkg --audit; dpkg --verify", `^$`},
	})
	if firmware == "bios" { // what an update of the kernel runs: minutes, emulated
		g.Checks([][2]string{{"update-initramfs -u -k all && update-grub 2>&1 && grep -c root=UUID= /boot/grub/grub.cfg", `Found linux image(?s:.*)\n[1-9]`}})
	}
	g.Poweroff(ctx)
}
