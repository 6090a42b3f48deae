package reinstall

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/victorinix/vic/internal/tool"
	"github.com/victorinix/vic/internal/tool/tooltest"
	"github.com/victorinix/vic/qemu-tests/lab"
	"github.com/victorinix/vic/qemu-tests/remote/oldsystem"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// limit is for one machine: three boots and an install, emulated.
const limit = 20 * time.Minute

// scenario is one old system, and how it is to be left.
type scenario struct {
	name  string
	old   oldsystem.Config
	args  []string // of vic install
	room  string   // that the plan has to choose
	enter string
	// before are commands in the old system.
	before string
	// gone are the swap files that the plan has to give up.
	gone []string
}

func scenarios() []scenario {
	bios := oldsystem.Config{Release: "bookworm", Firmware: "bios", FS: "ext4", MemoryMiB: 384, DiskMiB: 3072}
	withSwap := bios
	withSwap.DiskMiB, withSwap.Prepare = 4096, addSwap
	behind := bios
	behind.DiskMiB = 4096
	uefi := oldsystem.Config{Release: "trixie", Firmware: "uefi", FS: "btrfs", MemoryMiB: 512, DiskMiB: 4096}
	uefi.Prepare = func(t *testing.T, image string) { lab.Say(t, "sgdisk", "--move-second-header", image) }
	grub := oldsystem.Config{Release: "bookworm", Firmware: "uefi", Loader: "grub", FS: "ext4", MemoryMiB: 512, DiskMiB: 4096, Prepare: uefi.Prepare}
	volume := bios
	volume.FS, volume.DiskMiB = "lvm", 4096
	half := volume // of the group is free
	half.Prepare = func(t *testing.T, image string) {
		run := tooltest.Need(t, "sfdisk")
		if _, err := run.Run(t.Context(), tool.Cmd{Name: "sfdisk", Args: []string{"--quiet", "-N", "2", image}, Stdin: strings.NewReader(", +\n")}); err != nil {
			t.Fatal(err)
		}
	}
	beside := volume // that fills its group, another file system
	beside.DiskMiB, beside.Prepare = 4096, addSwap
	// All of it is in partitions, and the root is an ext4: the RAM system shrinks it.
	packed := oldsystem.Config{Release: "bookworm", Firmware: "uefi", FS: "ext4", MemoryMiB: 512, DiskMiB: 3072}
	solid := packed // cannot be shrunk
	solid.FS = "xfs"
	full := uefi
	full.DiskMiB, full.Prepare = 3072, nil // all of it is in partitions
	fat, ntfs := uefi, uefi                // behind the root, a file system with room whose files all have names
	fat.Prepare = func(t *testing.T, image string) {
		addLast(t, image, "bc13c2ff-59e6-4262-a352-b275fd6f7172", "mkfs.vfat", "-F", "32")
	}
	ntfs.Prepare = func(t *testing.T, image string) {
		addLast(t, image, "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", "mkntfs", "--quick", "--quiet")
	}
	large := uefi
	large.Sector = 4096
	large.Prepare = func(t *testing.T, image string) {
		dev := strings.TrimSpace(lab.Say(t, "losetup", "--find", "--show", "--sector-size", "4096", image))
		defer lab.Say(t, "losetup", "--detach", dev)
		lab.Say(t, "sgdisk", "--move-second-header", dev)
	}
	return []scenario{
		{name: "bios-swap-kexec", old: withSwap, room: "swap", enter: "kexec", before: "swapon /dev/vda2"},
		{name: "bios-extent-kexec", old: bios, room: "extent", enter: "kexec"},
		{name: "bios-extent-grub", old: bios, args: []string{"--enter", "grub"}, room: "extent", enter: "grub"},
		{name: "bios-files-kexec", old: bios, args: []string{"--room", "files"}, room: "files", enter: "kexec"},
		{name: "bios-swapfile-files-kexec", old: bios, args: []string{"--room", "files"}, room: "files", enter: "kexec", before: crowd, gone: []string{"/swap.img"}},
		{name: "bios-free-grub", old: behind, args: []string{"--enter", "grub"}, room: "free", enter: "grub"},
		{name: "bios-lvm-free-kexec", old: volume, room: "free", enter: "kexec"},
		{name: "bios-lvm-extent-kexec", old: beside, room: "extent", enter: "kexec", before: "mkfs.ext4 -qF /dev/vda3; mkdir -p /srv/data; mount /dev/vda3 /srv/data"},
		{name: "bios-lvm-lvm-kexec", old: half, room: "lvm", enter: "kexec", before: "pvresize /dev/vda2"},
		{name: "uefi-free-grub", old: grub, args: []string{"--enter", "grub"}, room: "free", enter: "grub"},
		{name: "uefi-free-systemd-boot", old: uefi, args: []string{"--enter", "systemd-boot"}, room: "free", enter: "systemd-boot"},
		{name: "uefi-free-bootnext", old: uefi, args: []string{"--enter", "bootnext"}, room: "free", enter: "bootnext"},
		{name: "uefi-extent-kexec", old: packed, room: "extent", enter: "kexec"},
		{name: "uefi-extent-bootnext", old: packed, args: []string{"--enter", "bootnext"}, room: "extent", enter: "bootnext"},
		{name: "uefi-xfs-extent-kexec", old: solid, room: "extent", enter: "kexec"},
		{name: "uefi-fat-extent-kexec", old: fat, args: []string{"--room", "extent"}, room: "extent", enter: "kexec", before: "mkdir /efi; mount /dev/vda3 /efi"},
		{name: "uefi-ntfs-extent-kexec", old: ntfs, args: []string{"--room", "extent"}, room: "extent", enter: "kexec", before: "mkdir /windows; mount -t ntfs3 /dev/vda3 /windows"},
		{name: "uefi-files-bootnext", old: packed, args: []string{"--room", "files", "--enter", "bootnext"}, room: "files", enter: "bootnext"},
		{name: "uefi-4096-free-bootnext", old: large, args: []string{"--enter", "bootnext"}, room: "free", enter: "bootnext"},
		{name: "uefi-btrfs-kexec", old: full, room: "btrfs", enter: "kexec"},
	}
}

// crowd fills the root with a swap file but for 250 MiB: the files alone would have room,
// and there would be nothing to shrink it by.
const crowd = "fallocate -l $(($(stat -f -c '%f * %S' /) - (250 << 20))) /swap.img && chmod 600 /swap.img && mkswap -q /swap.img && swapon /swap.img"

// addSwap fills the disk behind the root with a swap partition.
func addSwap(t *testing.T, image string) {
	t.Helper()
	run := tooltest.Need(t, "sfdisk", "mkswap")
	const mib = 1 << 20
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "sfdisk", Args: []string{"--quiet", "--append", image}, Stdin: strings.NewReader("start=2901MiB, size=1100MiB, type=82\n")}); err != nil {
		t.Fatal(err)
	}
	area := filepath.Join(t.TempDir(), "swap")
	err := os.WriteFile(area, nil, 0o600)
	if err == nil {
		err = os.Truncate(area, 1100*mib)
	}
	if err == nil {
		_, err = run.Run(t.Context(), tool.Cmd{Name: "mkswap", Args: []string{area}})
	}
	if err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(area)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(image, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	page := make([]byte, 4096)
	if _, err := in.ReadAt(page, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := out.WriteAt(page, 2901*mib); err != nil {
		t.Fatal(err)
	}
}

// addLast fills the disk behind the root with a partition, in which a program makes a
// file system.
func addLast(t *testing.T, image, kind, program string, args ...string) {
	t.Helper()
	run := tooltest.Need(t, "sgdisk", "sfdisk", "losetup", program)
	lab.Say(t, "sgdisk", "--move-second-header", image)
	const start, size = "3072MiB", "1000MiB"
	if _, err := run.Run(t.Context(), tool.Cmd{Name: "sfdisk", Args: []string{"--quiet", "--append", image}, Stdin: strings.NewReader("start=" + start + ", size=" + size + ", type=" + kind + "\n")}); err != nil {
		t.Fatal(err)
	}
	dev := strings.TrimSpace(lab.Say(t, "losetup", "--find", "--show", "--offset", start, "--sizelimit", size, image))
	defer lab.Say(t, "losetup", "--detach", dev)
	lab.Say(t, program, append(args, dev)...)
}

// medium is a disk with everything that a person would have brought: vic, the
// payload and the RAM system. So no network is needed.
func medium(t *testing.T) vm.Disk {
	t.Helper()
	tooltest.Need(t, "mke2fs")
	path := filepath.Join(lab.Dir(t, "medium"), "medium.img")
	if _, err := os.Stat(path); err == nil {
		return vm.Disk{Path: path, Format: "raw", Serial: "MEDIUM", ReadOnly: true}
	}
	tree := t.TempDir()
	lab.Say(t, "cp", "-a", lab.Program(t), filepath.Join(tree, "vic"))
	// Unlike lab.Built's it names no console: that is the old system's to tell.
	lab.MustVic(t, "build", "debian", "-o", "kernel=cloud", "--out", filepath.Join(tree, "debian"))
	lab.Say(t, "cp", "-a", lab.Built(t, "installer", "bundle"), filepath.Join(tree, "installer"))
	lab.Say(t, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree, path, "512M")
	return vm.Disk{Path: path, Format: "raw", Serial: "MEDIUM", ReadOnly: true}
}

// TestInstall takes old systems to new ones, by one command inside of them.
func TestInstall(t *testing.T) {
	lab.Need(t)
	needMatrix(t)
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) { s.run(t) })
	}
}

func (s scenario) run(t *testing.T) {
	s.old.Disks = []vm.Disk{medium(t)}
	old := oldsystem.Start(t, s.old)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if _, err := old.Answered(ctx); err != nil {
		t.Fatal(err)
	}
	words := consoles(said(ctx, t, old, "cat /proc/cmdline"))
	began := time.Now()
	s.leave(ctx, t, old)
	t.Logf("staged in %.0f s", time.Since(began).Seconds())
	s.checkNew(t, await(ctx, t, old, askNew, func(out string) bool { return isNew(out, old.MachineID) }))
	t.Logf("installed and proven in %.0f s", time.Since(began).Seconds())
	if got := consoles(said(ctx, t, old, "cat /proc/cmdline")); len(words) == 0 || !slices.Equal(got, words) {
		t.Errorf("the new kernel has %q, the one before had %q", got, words)
	}
}

// consoles are those that a kernel command line names.
func consoles(cmdline string) []string {
	return slices.DeleteFunc(strings.Fields(cmdline), func(w string) bool { return !strings.HasPrefix(w, "console=") })
}

// leave has the old system replace itself, up to where it ends.
func (s scenario) leave(ctx context.Context, t *testing.T, old *oldsystem.System) {
	t.Helper()
	said(ctx, t, old, "mkdir -p /mnt && mount -o ro /dev/disk/by-id/virtio-MEDIUM /mnt; "+s.before)
	said(ctx, t, old, "! grep console= /mnt/debian/payload.json") // else the new system would have it from there
	install := "/mnt/vic install /mnt/debian --bundle /mnt/installer --disk /dev/disk/by-id/virtio-" + old.Serial + " " + strings.Join(s.args, " ")
	s.checkPlan(t, said(ctx, t, old, install+" --dry-run --json"))
	out, err := old.SSH(ctx, "root", install+" --yes 2>&1", "")
	if err != nil && !strings.Contains(out, "this system ends now") {
		t.Fatalf("%v\n%s\nconsole ends:\n%s", err, out, old.ConsoleTail(40))
	}
}

// said is what a command in a system prints.
func said(ctx context.Context, t *testing.T, on *oldsystem.System, command string) string {
	t.Helper()
	out, err := on.SSH(ctx, "root", command, "")
	if err != nil {
		t.Fatalf("%v\n%s\nconsole ends:\n%s", err, out, on.ConsoleTail(40))
	}
	return out
}

func (s scenario) checkPlan(t *testing.T, text string) {
	t.Helper()
	var plan struct {
		Room struct {
			Kind      string
			SwapFiles []struct{ Path string }
		}
		Enter struct{ Way string }
	}
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if plan.Room.Kind != s.room || plan.Enter.Way != s.enter {
		t.Fatalf("the plan is %s and %s, expected %s and %s", plan.Room.Kind, plan.Enter.Way, s.room, s.enter)
	}
	var gone []string
	for _, f := range plan.Room.SwapFiles {
		gone = append(gone, f.Path)
	}
	if !slices.Equal(gone, s.gone) {
		t.Fatalf("the swap files %q are given up, expected %q", gone, s.gone)
	}
}

// askNew is answered by the new system alone: it has no folder that the old system had,
// and the mark that the RAM system has not.
const askNew = "test ! -e /home/admin && test -e /var/lib/vic/installed.json && systemctl is-system-running --wait; hostname; cat /etc/machine-id; " +
	"cat /var/lib/vic/installed.json; lsblk -bno NAME,SIZE,MOUNTPOINT,PARTLABEL; uname -r; test ! -e /home/admin && echo whole"

func isNew(out, machineID string) bool {
	return strings.Contains(out, "whole") && strings.Contains(out, machineID) && strings.Contains(out, `"finished"`)
}

// await asks until somebody gives the answer that is expected, with the host key of the
// old system.
func await(ctx context.Context, t *testing.T, m *oldsystem.System, ask string, expected func(out string) bool) string {
	t.Helper()
	for {
		one, cancel := context.WithTimeout(ctx, time.Minute)
		out, err := m.SSH(one, "root", ask, "")
		cancel()
		if err == nil && expected(out) {
			return out
		}
		select {
		case <-ctx.Done():
			t.Fatalf("no system answers as it should: %v\n%s\nconsole ends:\n%s", err, out, m.ConsoleTail(60))
		case <-m.Done():
			t.Fatalf("the machine has ended: %v\nconsole ends:\n%s", m.Wait(ctx), m.ConsoleTail(60))
		case <-time.After(time.Second):
		}
	}
}

// checkNew: the stage is gone, and the root has its room.
func (s scenario) checkNew(t *testing.T, out string) {
	t.Helper()
	if strings.Contains(out, "vic-stage") {
		t.Errorf("the stage is still there:\n%s", out)
	}
	size := int64(0)
	for line := range strings.Lines(out) {
		var name, mount string
		var n int64
		if k, _ := fmt.Sscanf(strings.TrimLeft(line, "├─└ "), "%s %d %s", &name, &n, &mount); k == 3 && mount == "/" {
			size = n
		}
	}
	if least := (s.old.DiskMiB - 600) << 20; size < least {
		t.Errorf("the root has %d bytes, expected %d at least:\n%s", size, least, out)
	}
}
