package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/lvm"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/disk/udev"
	"github.com/victorinix/vic/efi"
	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/oneshot"
	"github.com/victorinix/vic/internal/plan/reinstall"
	"github.com/victorinix/vic/internal/registration/locate"
	"github.com/victorinix/vic/internal/tool"
)

// runsFrom says whether the root file system of the running system is on a disk,
// through whatever volumes.
func runsFrom(d envscan.Disk, facts envscan.Facts) bool {
	names := []string{d.Name}
	isRoot := func(u envscan.Use) bool { return slices.Contains(u.Mounts, "/") }
	if isRoot(d.Use) {
		return true
	}
	for _, p := range d.Partition {
		if isRoot(p.Use) {
			return true
		}
		names = append(names, p.Name)
	}
	// Volumes may stand on volumes, in any order of their names.
	for range facts.HW.Volume {
		for _, v := range facts.HW.Volume {
			if slices.Contains(names, v.Name) || !slices.ContainsFunc(v.From, func(n string) bool { return slices.Contains(names, n) }) {
				continue
			}
			names = append(names, v.Name)
			if isRoot(v.Use) {
				return true
			}
		}
	}
	return false
}

// lookAround finds out what a plan needs of the running system beside its facts.
func lookAround(ctx context.Context, d envscan.Disk, facts envscan.Facts) (reinstall.Running, error) {
	r := reinstall.Running{VariableRoom: -1, Swapped: map[string]int64{}}
	var err error
	if r.Filesystems, err = mountedFilesystems(d, facts); err != nil {
		return r, err
	}
	swaps, err := sysfs.Root("/").Swaps()
	if err != nil {
		return r, err
	}
	for _, s := range swaps {
		if s.File {
			r.SwapFiles = append(r.SwapFiles, swapFile(s))
		} else {
			r.Swapped[sysfs.Root("/").KernelName(s.Path)] = s.Used
		}
	}
	r.Physical = physicalVolumes(ctx, d)
	r.Resume = resumesFrom("/", facts.OS.Cmdline)
	if facts.HW.Firmware.Type == "uefi" {
		r.VariableRoom = variableRoom()
	}
	r.GRUB, err = findGRUB(d, facts, r.Filesystems)
	return r, err
}

// physicalVolumes looks at those of LVM on the partitions of a disk. One that
// cannot be looked at stays.
func physicalVolumes(ctx context.Context, d envscan.Disk) []reinstall.PhysicalVolume {
	var list []reinstall.PhysicalVolume
	l := lvm.LVM{Udev: udev.Running()}
	for _, p := range d.Partition {
		i := slices.IndexFunc(p.Content, func(c probe.Result) bool { return c.Type == "LVM2_member" })
		if i < 0 {
			continue
		}
		v := reinstall.PhysicalVolume{Device: p.Name}
		if g := p.Content[i].Group; g != nil {
			v.Group = g.Name
		}
		var err error
		if v.Least, err = l.LeastPV(ctx, tool.Exec{}, "/dev/"+p.Name); err != nil {
			v.Stays = err.Error()
		}
		list = append(list, v)
	}
	return list
}

// swapFile looks at a file that is swapped to. One that cannot be looked at stays.
func swapFile(s sysfs.Swap) reinstall.SwapFile {
	f := reinstall.SwapFile{Path: s.Path, Used: s.Used}
	var st unix.Stat_t
	if err := unix.Lstat(s.Path, &st); err != nil {
		f.Stays = "look at it: " + err.Error() // as of one that was removed
		return f
	}
	f.Size = st.Blocks * 512
	if st.Nlink != 1 {
		f.Stays = fmt.Sprintf("it has %d names, and its room stays taken when one goes", st.Nlink)
	}
	at, err := locate.OfPath("/", s.Path)
	if err != nil {
		f.Stays = err.Error()
	}
	f.Device = sysfs.Root("/").KernelName(at.Volume.Device)
	return f
}

// mountedFilesystems are those of a disk, each once: where its top is mounted, or
// what of it was mounted first.
func mountedFilesystems(d envscan.Disk, facts envscan.Facts) ([]reinstall.Filesystem, error) {
	mounts, err := sysfs.Root("/").Mounts()
	if err != nil {
		return nil, err
	}
	var list []reinstall.Filesystem
	add := func(name string, use envscan.Use, content []probe.Result) error {
		for _, target := range use.Mounts {
			i := slices.IndexFunc(mounts, func(m sysfs.Mount) bool { return m.Target == target })
			if i < 0 || slices.ContainsFunc(list, func(f reinstall.Filesystem) bool { return f.Mountpoint == target }) {
				continue
			}
			f, err := filesystem(name, mounts[i], content)
			if err != nil {
				return err
			}
			list = append(list, f)
		}
		return nil
	}
	for _, p := range d.Partition {
		if err := add(p.Name, p.Use, p.Content); err != nil {
			return nil, err
		}
	}
	for _, v := range facts.HW.Volume {
		if err := add(v.Name, v.Use, v.Content); err != nil {
			return nil, err
		}
	}
	return list, add(d.Name, d.Use, d.Content)
}

// filesystem looks at a mounted one.
func filesystem(name string, m sysfs.Mount, content []probe.Result) (reinstall.Filesystem, error) {
	f := reinstall.Filesystem{Mountpoint: m.Target, Device: name, Type: m.Type, ReadOnly: slices.Contains(strings.Split(m.Options, ","), "ro")}
	for _, c := range content {
		if c.Usage == probe.UsageFilesystem {
			f.UUID = c.UUID
			if c.Group != nil {
				f.Devices = c.Group.Devices
			}
		}
	}
	if m.Type == "btrfs" && m.Root != "/" {
		f.Subvolume = m.Root
	}
	var st unix.Statfs_t
	if err := unix.Statfs(m.Target, &st); err != nil {
		return f, fmt.Errorf("see what is free at %s: %w", m.Target, err)
	}
	f.Free = int64(st.Bfree) * st.Bsize // root may use what is reserved
	if m.Type == "btrfs" {
		f.Free = int64(st.Bavail) * st.Bsize
	}
	var err error
	if strings.HasPrefix(m.Type, "ext") {
		if f.Errors, err = extErrors("/", name); err == nil {
			f.MinSize, err = extMinSize("/dev/"+name, st)
		}
	}
	return f, err
}

func extMinSize(device string, st unix.Statfs_t) (int64, error) {
	d, err := disk.Open(device, os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	least, err := probe.ExtMinSize(d, st.Bfree, st.Ffree)
	return least, errors.Join(err, d.Close())
}

// extErrors asks the kernel what it has seen of a mounted ext4, now and earlier
// (Documentation/ABI/testing/sysfs-fs-ext4).
func extErrors(root, name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "sys/fs/ext4", name, "errors_count"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // an ext2 of its own driver
	}
	count := strings.TrimSpace(string(text))
	if err != nil || count == "0" {
		return "", err
	}
	return fmt.Sprintf("the kernel has counted %s", count), nil
}

// resumesFrom is the kernel name of the swap that a person has the system wake up
// from, on its command line. What Debian's installer writes into the initramfs for
// every machine with swap does not count: the system runs, so that nothing sleeps
// there, and without the swap it starts as well.
func resumesFrom(root, cmdline string) string {
	spec := ""
	for w := range strings.FieldsSeq(cmdline) {
		if v, ok := strings.CutPrefix(w, "resume="); ok {
			spec = v
		}
		if w == "noresume" {
			return ""
		}
	}
	if spec == "" {
		return ""
	}
	return sysfs.Root(root).KernelName(deviceOf(root, spec))
}

// deviceOf is the path of a device that is named as in fstab(5).
func deviceOf(root, spec string) string {
	kinds := map[string]string{"UUID": "by-uuid", "PARTUUID": "by-partuuid", "LABEL": "by-label", "PARTLABEL": "by-partlabel"}
	tag, value, ok := strings.Cut(spec, "=")
	if kind := kinds[tag]; ok && kind != "" {
		spec = "/dev/disk/" + kind + "/" + value
	}
	if real, err := filepath.EvalSymlinks(filepath.Join(root, spec)); err == nil {
		return real
	}
	return spec
}

// variableRoom is what is free for EFI variables; kernels before 6.6 do not tell.
func variableRoom() int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(efi.EfivarfsPath, &st); err != nil || st.Blocks == 0 {
		return -1
	}
	return int64(st.Bavail) * st.Bsize
}

// findGRUB finds the GRUB that the machine was started by.
func findGRUB(d envscan.Disk, facts envscan.Facts, mounted []reinstall.Filesystem) (*reinstall.GRUBFound, error) {
	folder, err := oneshot.GRUBFolder("/")
	if err != nil || folder == "" {
		return nil, err
	}
	if ok, err := startedByGRUB(d, facts); err != nil || !ok {
		return nil, err
	}
	g := &reinstall.GRUBFound{Folder: folder, OneShot: true}
	for _, f := range mounted {
		if (f.Mountpoint == "/" || strings.HasPrefix(folder+"/", f.Mountpoint+"/")) && len(f.Mountpoint) > len(g.Mountpoint) {
			g.Mountpoint = f.Mountpoint
		}
	}
	if err := oneshot.StartsOnce("/", folder); errors.Is(err, oneshot.ErrNotOneShot) {
		g.OneShot, g.Why = false, err.Error()
	} else if err != nil {
		return nil, err
	}
	return g, nil
}

// startedByGRUB: on UEFI another loader says that it was it, or the entry that the
// firmware started names one; on BIOS, the first sector is GRUB's.
func startedByGRUB(d envscan.Disk, facts envscan.Facts) (bool, error) {
	f := facts.HW.Firmware
	if f.Type == "uefi" {
		if loader := facts.OS.Loader; loader != "" {
			return strings.HasPrefix(loader, "GRUB"), nil
		}
		i := slices.IndexFunc(f.Boot, func(b envscan.BootEntry) bool { return b.Number == f.BootCurrent })
		path := ""
		if i >= 0 {
			path = strings.ToLower(f.Boot[i].Path)
		}
		return !strings.Contains(path, "systemd"), nil
	}
	code, err := firstSector(d)
	return oneshot.IsGRUB(code), err
}

// firstSector reads the sector with the boot code.
func firstSector(d envscan.Disk) ([]byte, error) {
	f, err := disk.Open("/dev/"+d.Name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 512)
	_, err = f.ReadAt(b, 0)
	return b, errors.Join(err, f.Close())
}

// grubTable is GRUB's name for the kind of a partition table.
func grubTable(t layout.Table) string {
	return cmp.Or(map[string]string{layout.KindMBR: "msdos"}[t.Kind], "gpt")
}
