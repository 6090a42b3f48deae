package disk

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/internal/tool"
)

// Filesystem is a file system (or swap area) with everything settled that its
// mkfs is told.
type Filesystem struct {
	// Format is ext2, ext3, ext4, xfs, btrfs, f2fs, vfat, exfat or swap.
	Format string
	// UUID as blkid prints it: for vfat and exfat the volume id "ABCD-1234".
	UUID  string
	Label string
	// Args are further ones for mkfs: for a btrfs also its other devices.
	Args []string
	// Start is the first sector of the device on its disk; 0: not known.
	Start uint64
	// Size and SectorSize are the device's, in bytes; a sector size of 0 is 512.
	Size       int64
	SectorSize int
}

// Mkfs makes a file system on a device that Wipe has cleared.
func Mkfs(ctx context.Context, r tool.Runner, f Filesystem, device string, epoch time.Time) error {
	c, err := MkfsCommand(f, device, epoch)
	if err != nil {
		return err
	}
	if _, err := r.Run(ctx, c); err != nil {
		return fmt.Errorf("make file system on %s: %w", device, err)
	}
	if f.Format != "exfat" {
		return nil
	}
	if c, err = serialCommand(f, device); err == nil {
		_, err = r.Run(ctx, c)
	}
	if err != nil {
		return fmt.Errorf("set volume id on %s: %w", device, err)
	}
	return nil
}

// MkfsCommand is the command that makes a file system on device. The same
// arguments on a cleared device of the same size give the same bytes for
// extN, vfat, exfat, f2fs and swap; epoch is the time of all inodes where mkfs
// can be told, zero is the clock's. The volume id of an exfat is set
// afterwards: see Mkfs.
func MkfsCommand(f Filesystem, device string, epoch time.Time) (tool.Cmd, error) {
	build, ok := builders[f.Format]
	if !ok {
		return tool.Cmd{}, fmt.Errorf("make file system on %s: file system %q is not supported", device, f.Format)
	}
	if f.SectorSize == 0 {
		f.SectorSize = 512
	}
	c, err := build(f, device)
	if err != nil {
		return tool.Cmd{}, fmt.Errorf("make file system on %s: %w", device, err)
	}
	if !epoch.IsZero() {
		s := strconv.FormatInt(epoch.Unix(), 10)
		c.Env = append(c.Env, "SOURCE_DATE_EPOCH="+s)
		switch c.Name {
		case "mkfs.ext2", "mkfs.ext3", "mkfs.ext4":
			c.Env = append(c.Env, "E2FSPROGS_FAKE_TIME="+s) // before 1.47.1
		case "mkfs.f2fs":
			c.Args = append([]string{"-T", s}, c.Args...)
		}
	}
	return c, nil
}

var builders = map[string]func(Filesystem, string) (tool.Cmd, error){
	"ext2": mkfsExt, "ext3": mkfsExt, "ext4": mkfsExt,
	"xfs": mkfsXFS, "btrfs": mkfsBtrfs, "f2fs": mkfsF2FS,
	"vfat": mkfsVfat, "exfat": mkfsExfat, "swap": mkswap,
}

// mkfsExt sets all that mke2fs would take at random or from the running
// kernel. The block size is fixed because small file systems would get 1 KiB,
// less than a sector of 4096 bytes. The kernel clears the inode tables after
// the first mount, in the background.
func mkfsExt(f Filesystem, device string) (tool.Cmd, error) {
	id, err := fullUUID(f)
	if err != nil {
		return tool.Cmd{}, err
	}
	extended := "lazy_itable_init=1,hash_seed=" + uuid.NewSHA1(id, []byte("hash_seed")).String()
	var extra []string
	for i := 0; i < len(f.Args); i++ {
		own, ok := strings.CutPrefix(f.Args[i], "-E") // mke2fs only takes the last
		if ok && own == "" && i+1 < len(f.Args) {
			i++
			own = f.Args[i]
		}
		if ok && own != "" {
			extended += "," + own
			continue
		}
		extra = append(extra, f.Args[i])
	}
	args := append([]string{"-F", "-q", "-b", "4096", "-U", id.String()}, labelled("-L", f.Label)...)
	args = append(append(args, "-E", extended), extra...)
	return tool.Cmd{Name: "mkfs." + f.Format, Args: append(args, device)}, nil
}

// mkfsXFS: mkfs.xfs takes the sector size from the device.
func mkfsXFS(f Filesystem, device string) (tool.Cmd, error) {
	id, err := fullUUID(f)
	if err != nil {
		return tool.Cmd{}, err
	}
	args := append([]string{"-f", "-q", "-m", "uuid=" + id.String()}, labelled("-L", f.Label)...)
	// From xfsprogs 6.16 on, this and the epoch make it reproducible.
	env := []string{"DETERMINISTIC_SEED=1"}
	return tool.Cmd{Name: "mkfs.xfs", Args: append(append(args, f.Args...), device), Env: env}, nil
}

// mkfsBtrfs: the device comes before the other arguments, because further
// devices may be among them and the first one gets number 1. mkfs.btrfs
// refuses a UUID that is in use, also when it is this device's own from an
// earlier run: wipe it first. The cache of blkid may know a device that has
// been wiped since.
func mkfsBtrfs(f Filesystem, device string) (tool.Cmd, error) {
	id, err := fullUUID(f)
	if err != nil {
		return tool.Cmd{}, err
	}
	args := append([]string{"-f", "-q", "-U", id.String()}, labelled("-L", f.Label)...)
	args = append(append(args, device), f.Args...)
	return tool.Cmd{Name: "mkfs.btrfs", Args: args, Env: []string{"BLKID_FILE=/dev/null"}}, nil
}

// mkfsF2FS: -r fixes the seed of its checkpoint.
func mkfsF2FS(f Filesystem, device string) (tool.Cmd, error) {
	id, err := fullUUID(f)
	if err != nil {
		return tool.Cmd{}, err
	}
	args := append([]string{"-f", "-q", "-r", "-U", id.String()}, labelled("-l", f.Label)...)
	return tool.Cmd{Name: "mkfs.f2fs", Args: append(append(args, f.Args...), device)}, nil
}

func mkfsExfat(f Filesystem, device string) (tool.Cmd, error) {
	if _, err := volumeID(f); err != nil {
		return tool.Cmd{}, err
	}
	args := append(labelled("-L", f.Label), f.Args...)
	return tool.Cmd{Name: "mkfs.exfat", Args: append(args, device)}, nil
}

// serialCommand sets the volume id of an exfat: its mkfs takes the clock's.
func serialCommand(f Filesystem, device string) (tool.Cmd, error) {
	id, err := volumeID(f)
	return tool.Cmd{Name: "tune.exfat", Args: []string{"-I", "0x" + id, device}}, err
}

// mkfsVfat: the number of hidden sectors, which boot code uses, is where the
// partition starts, also when device is an image. --invariant fixes the time of
// the label, since dosfstools 4.2 does not know SOURCE_DATE_EPOCH; it has to
// come before -i, which it would set too. -I: an array has no partitions, which
// mkfs.vfat takes for a mistake.
func mkfsVfat(f Filesystem, device string) (tool.Cmd, error) {
	id, err := volumeID(f)
	if err != nil {
		return tool.Cmd{}, err
	}
	args := []string{"--invariant", "-I", "-S", strconv.Itoa(f.SectorSize), "-i", id}
	if f.Start > 0 && f.Start <= 0xffffffff {
		args = append(args, "-h", strconv.FormatUint(f.Start, 10))
	}
	if !slices.ContainsFunc(f.Args, func(a string) bool { return strings.HasPrefix(a, "-F") }) {
		if f.Size <= 0 {
			return tool.Cmd{}, fmt.Errorf("the size of a vfat is not given")
		}
		args = append(args, "-F", fatBits(f.Size, f.SectorSize))
	}
	args = append(append(args, labelled("-n", f.Label)...), f.Args...)
	return tool.Cmd{Name: "mkfs.vfat", Args: append(args, device)}, nil
}

// fatBits is 32, as firmware expects of an ESP, when there can be the 65525
// clusters that make a FAT32 (Microsoft FAT specification 1.03, page 14); the
// rest of the partition is room for two FATs and what is reserved.
func fatBits(size int64, sectorSize int) string {
	const least = 65525
	if size/int64(sectorSize) >= least+32+2*(least*4/int64(sectorSize)+1) {
		return "32"
	}
	return "16"
}

func mkswap(f Filesystem, device string) (tool.Cmd, error) {
	id, err := fullUUID(f)
	if err != nil {
		return tool.Cmd{}, err
	}
	args := append([]string{"-U", id.String()}, labelled("-L", f.Label)...)
	return tool.Cmd{Name: "mkswap", Args: append(append(args, f.Args...), device)}, nil
}

func labelled(flag, label string) []string {
	if label == "" {
		return nil
	}
	return []string{flag, label}
}

func fullUUID(f Filesystem) (uuid.UUID, error) {
	id, err := uuid.Parse(f.UUID)
	if err != nil {
		return id, fmt.Errorf("UUID %q: %w", f.UUID, err)
	}
	return id, nil
}

// volumeID is the id of a FAT in eight hexadecimal digits. 0 means to mkfs that
// it has none.
func volumeID(f Filesystem) (string, error) {
	id := strings.ReplaceAll(f.UUID, "-", "")
	if n, err := strconv.ParseUint(id, 16, 32); err != nil || n == 0 || len(id) != 8 {
		return "", fmt.Errorf("volume id %q: expected ABCD-1234", f.UUID)
	}
	return id, nil
}
