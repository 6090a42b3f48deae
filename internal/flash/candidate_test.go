package flash

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/victorinix/vic/disk/sysfs"
)

// tree is a made-up machine: files below /sys and /proc.
func tree(t *testing.T, files map[string]string) sysfs.Root {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return sysfs.Root(root)
}

// aDisk adds a disk with partitions, each with its holders.
func aDisk(files map[string]string, name, dev string, attrs map[string]string, partitions ...string) {
	dir := "sys/block/" + name + "/"
	for attr, v := range map[string]string{"size": "62333952", "dev": dev, "removable": "0", "ro": "0", "device/model": "Card  Reader"} {
		files[dir+attr] = v
	}
	for attr, v := range attrs {
		files[dir+attr] = v
	}
	for i, holder := range partitions {
		part := dir + name + string(rune('1'+i)) + "/"
		files[part+"partition"] = string(rune('1' + i))
		files[part+"dev"] = dev + string(rune('1'+i))
		if holder != "" {
			files[part+"holders/"+holder] = ""
		}
	}
}

// What is refused, and why: disks of the system through everything that can be
// between, disks in use, those that are not removable.
func TestRefuse(t *testing.T) {
	files := map[string]string{
		"proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n/dev/sdc1 partition 1000 0 -2\n",
		"proc/self/mountinfo": strings.Join([]string{
			"20 1 253:0 / / rw - ext4 /dev/mapper/vg-root rw",
			"21 20 0:50 / /nix/store ro - overlay overlay ro,lowerdir=/layers/a:/layers/b,upperdir=/rw/up,workdir=/rw/work",
			"22 20 8:641 / /layers ro - ext4 /dev/sde1 ro",
			"23 20 8:481 / /media/card rw - vfat /dev/sdd1 rw",
			"24 20 7:0 / /snap ro - squashfs /dev/loop0 ro",
			"25 20 8:801 / /media/live ro - iso9660 /dev/sdf1 ro",
			"26 20 8:161 / /boot/efi rw - vfat /dev/sdb1 rw",
			"",
		}, "\n"),
		"sys/block/loop0/size": "8", "sys/block/loop0/dev": "7:0", "sys/block/loop0/loop/backing_file": "/media/live/fs.squashfs",
		"sys/block/dm-0/size": "8", "sys/block/dm-0/dev": "253:0", "sys/block/dm-0/dm/uuid": "LVM-x", "sys/block/dm-1/size": "8", "sys/block/dm-1/dev": "253:1", "sys/block/dm-1/dm/uuid": "CRYPT-LUKS2-x",
	}
	removable := map[string]string{"removable": "1"}
	aDisk(files, "sda", "8:0", nil, "dm-0")
	aDisk(files, "sdb", "8:16", nil, "")
	aDisk(files, "sdc", "8:32", removable, "")
	aDisk(files, "sdd", "8:48", removable, "")
	aDisk(files, "sde", "8:64", removable, "")
	aDisk(files, "sdf", "8:80", removable, "")
	aDisk(files, "sdg", "8:96", removable, "dm-1")
	aDisk(files, "sdh", "8:112", nil)
	aDisk(files, "sdi", "8:128", map[string]string{"removable": "1", "ro": "1"})
	aDisk(files, "sdj", "8:144", map[string]string{"removable": "1", "size": "0"})
	aDisk(files, "sdk", "8:160", removable, "")
	aDisk(files, "mmcblk0", "179:0", map[string]string{"device/type": "SD"})
	aDisk(files, "mmcblk1", "179:8", map[string]string{"device/type": "MMC"})
	root := tree(t, files)
	for _, tt := range []struct{ name, why string }{
		{"sda", "runs from it, or needs it (/dev/dm-0 mounted on /)"},
		{"sdb", "runs from it, or needs it (/dev/sdb1 mounted on /boot/efi)"},
		{"sdc", "runs from it, or needs it (/dev/sdc1 is swap)"},
		{"sdd", ""},
		{"sde", "needs it (/dev/sde1 mounted on /layers, below the overlay of this system)"},
		{"sdf", "needs it (/dev/sdf1 mounted on /media/live, it holds what loop0 shows)"},
		{"sdg", "in use: /dev/sdg1 held by dm-1 (CRYPT)"},
		{"sdh", "not removable (Card Reader, 31.9 GB"},
		{"sdi", "write-protected"},
		{"sdj", "no medium"},
		{"sdk", ""},
		{"mmcblk0", ""},
		{"mmcblk1", "not removable"},
	} {
		c, err := inspect(root, tt.name)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Refuse(Consent{Umount: true})
		if tt.why == "" && err != nil || tt.why != "" && (err == nil || !strings.Contains(err.Error(), tt.why)) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.why)
		}
		if tt.name == "sdd" && c.Refuse(Consent{}) == nil {
			t.Error("a mounted card is taken without --umount")
		}
	}
}
