// Package disks installs Debian onto disks that are laid out in other ways than
// by default, in virtual machines, and boots what was installed.
//
//	vic install --layout testdata/X.yaml --vm ──> images ─┬─ sgdisk, fsck, cryptsetup, mdadm, debugfs
//	                                                      └─ booted ──SSH──> lsblk, findmnt, ...
//
// It is a package of its own so that its tests run beside those of qemu-tests.
package disks

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/vm"
)

func TestMain(m *testing.M) { lab.Main(m) }

// limit is how long a machine has to boot, log in and power off.
const limit = 15 * time.Minute

const passphrase = "correct horse battery staple"

// The passphrase of a container on LVM is asked for on the console, on a disk
// with sectors of 4096 bytes: vic types it to prove the install. The system
// hibernates to its swap, and resumes from it.
func TestLUKSOnLVM(t *testing.T) {
	lab.Need(t)
	key := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(key, []byte(passphrase+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := lab.Installed(t, lab.Spec{
		Name: "luks-on-lvm", Firmware: "uefi", Sector: 4096, Prove: true, // vic has to type the passphrase
		Args: []string{"--layout", "testdata/luks-on-lvm.yaml", "-s", "luks-cryptroot=@" + key},
	})
	for what, text := range map[string]string{"consoles": string(s.Consoles), "events": s.Run.Stdout, "stderr": s.Run.Stderr} {
		if strings.Contains(text, passphrase) {
			t.Errorf("the passphrase is in the %s", what)
		}
	}
	if lab.Contains(t, s.Paths[0], []byte(passphrase)) {
		t.Error("the passphrase is on the disk")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
	defer cancel()
	s = s.Overlay(t)
	g := unlocked(ctx, t, s, "boot")
	g.Booted()
	g.Checks([][2]string{
		{"findmnt -no SOURCE,FSTYPE,UUID /", `^/dev/mapper/cryptroot +xfs +` + s.Result.RootUUID + `$`},
		{"lsblk -rsno TYPE /dev/mapper/cryptroot", `^crypt\nlvm\npart\ndisk$`},
		{"cryptsetup luksDump /dev/sys/root | grep -m1 Version; blockdev --getss /dev/mapper/cryptroot", `^Version:\s+2\n4096$`},
		{"swapon --noheadings --show=NAME; readlink -f /dev/mapper/sys-swap", `^(/dev/dm-\d+)\n(/dev/dm-\d+)$`},
		{"cat /proc/cmdline", `resume=/dev/mapper/sys-swap`},
		{"cat /sys/power/resume", `^25\d:\d+$`},
		{"vgs --noheadings -o vg_name,pv_count,lv_count", `^sys +1 +2$`},
	})
	boot := g.Sudo("cat /proc/sys/kernel/random/boot_id; touch /run/before")
	g.Hibernate(ctx)
	g = unlocked(ctx, t, s, "resume")
	g.Checks([][2]string{
		{"cat /proc/sys/kernel/random/boot_id; ls /run/before", `^` + boot + `\n/run/before$`},
		{"journalctl -b -k -o cat | grep -c 'PM: hibernation: hibernation exit'", `^1$`},
		{"swapon --noheadings --show=NAME; systemctl is-system-running", `^/dev/dm-\d+\nrunning$`},
	})
	g.Poweroff(ctx)
}

// unlocked starts the system, types the passphrase, and logs in. To hibernate
// takes half of the memory, which in 256 MiB has to be found page by page.
func unlocked(ctx context.Context, t *testing.T, s lab.System, name string) lab.Guest {
	t.Helper()
	m := vm.Start(t, s.Config(t, vm.Config{Name: name, MemoryMiB: 512, Disks: s.Drives()}, false))
	lab.Shows(ctx, t, m, "unlock disk cryptroot")
	if err := m.SendConsole(passphrase + "\n"); err != nil {
		t.Fatal(err)
	}
	return lab.Login(t, m, s.Result)
}

// With both disks, and with the first one pulled, the system boots; the ESP is
// on RAID, and has an entry for each disk.
func TestRAID1(t *testing.T) {
	lab.Need(t)
	s := lab.Installed(t, lab.Spec{
		Name: "raid1-btrfs", Firmware: "uefi",
		Disks: []lab.Target{{Name: "one", Size: 5 << 30}, {Name: "two", Size: 5 << 30}},
		Args:  []string{"--layout", "testdata/raid1-btrfs.yaml"},
	})
	for _, path := range s.Paths {
		lab.CheckTable(t, path, 512)
	}
	boot := func(name string, state string, s lab.System) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			g := lab.Login(t, s.Boot(t, vm.Config{Name: name}), s.Result)
			g.Booted()
			g.Checks([][2]string{
				{"findmnt -no FSTYPE,UUID /; for d in / /home /var/log; do findmnt -no OPTIONS $d | grep -o 'subvol=.*'; done", `^btrfs +` + s.Result.RootUUID + `\nsubvol=/@\nsubvol=/@home\nsubvol=/@var/log$`},
				{"findmnt -no SOURCE,FSTYPE /boot/efi; lsblk -rno TYPE $(findmnt -no SOURCE /boot/efi)", `^/dev/md\S+ +vfat\nraid1$`},
				{"mdadm --detail /dev/md/system | grep -E 'State :|Raid Devices'", `(?s)Raid Devices : 2.*` + state},
			})
			g.Poweroff(ctx)
		})
	}
	boot("both disks", `State : (clean|active)`, s)
	pulled := s
	pulled.Paths, pulled.Disks = s.Paths[1:], s.Disks[1:]
	boot("first disk pulled", `State : (clean|active), degraded`, pulled)
}

// What is kept is there afterwards, byte for byte, also in a file system that
// was shrunk.
func TestKeep(t *testing.T) {
	lab.Need(t)
	image, want := usedDisk(t)
	s := lab.Installed(t, lab.Spec{
		Name: "keep", Firmware: "bios", Disks: []lab.Target{{Path: image}},
		Args: []string{"--layout", "testdata/keep.yaml"},
	})
	lab.CheckTable(t, image, 512)
	lab.Say(t, "sgdisk", "-v", image)
	for number, size := range map[int64]int64{1: 1 << 30, 2: 1 << 30} {
		part := filepath.Join(t.TempDir(), "part")
		lab.Slice(t, image, part, partStart[number], size)
		lab.Say(t, "e2fsck", "-fn", part)
		got := files(t, part)
		for line := range strings.Lines(want[number]) {
			if !strings.Contains(got, line) { // what the install adds to /home comes besides
				t.Errorf("partition %d: missing or changed: %s", number, line)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	g := lab.Login(t, s.Boot(t, vm.Config{}), s.Result)
	g.Booted()
	g.Checks([][2]string{
		{"for d in /home /srv; do findmnt -no SOURCE,FSTYPE $d; done", `^/dev/vda1 +ext4\n/dev/vda2 +ext4$`},
		{"cat /home/letter; df -B1M --output=size /srv | tail -1", `^dear reader\n +9\d\d$`},
	})
	g.Poweroff(ctx)
}

// partStart is where the partitions of usedDisk begin, in bytes.
var partStart = map[int64]int64{1: 1 << 20, 2: 1<<20 + 1<<30}

// usedDisk is a disk with two file systems to keep, and one to lose. want is
// what files has to say of each afterwards.
func usedDisk(t *testing.T) (image string, want map[int64]string) {
	t.Helper()
	dir := lab.Dir(t, "used")
	image = filepath.Join(dir, "disk.img")
	if err := vm.BlankDisk(image, 8<<30); err != nil {
		t.Fatal(err)
	}
	lab.Say(t, "sgdisk", "-n", "1:0:+1G", "-c", "1:home", "-n", "2:0:+4G", "-c", "2:data", "-n", "3:0:0", "-c", "3:old", image)
	want = map[int64]string{}
	for number, size := range map[int64]string{1: "1G", 2: "4G"} {
		tree, part := t.TempDir(), filepath.Join(t.TempDir(), "part")
		fill(t, tree)
		lab.Say(t, "mke2fs", "-q", "-t", "ext4", "-d", tree, part, size)
		want[number] = files(t, part)
		lab.Say(t, "dd", "if="+part, "of="+image, "bs=1M", "conv=notrunc,sparse", "status=none",
			"oflag=seek_bytes", "seek="+itoa(partStart[number]))
	}
	return image, want
}

func fill(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "letter"), []byte("dear reader\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		name := filepath.Join(dir, "d"+itoa(int64(i%7)), itoa(int64(i)))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(strings.Repeat(name, 1000+i*37)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// files lists all regular files of an ext4 image with their digests. It reads
// the image without mounting it.
func files(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	lab.Say(t, "debugfs", "-R", "rdump / "+dir, image)
	var list strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			fmt.Fprintf(&list, "%s %s\n", lab.Digest(t, path), strings.TrimPrefix(path, dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(list.String(), "\n") < 200 {
		t.Fatalf("%s holds too few files:\n%s", image, list.String())
	}
	return list.String()
}
