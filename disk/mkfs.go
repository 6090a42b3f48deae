package disk

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/tool"
)

// MkfsCommand is the command that makes an entry's file system on device. The
// same arguments on a cleared device of the same size give the same bytes;
// epoch is the time of all inodes of an ext4, zero is the clock's.
func MkfsCommand(e layout.Entry, device string, sectorSize int, epoch time.Time) (tool.Cmd, error) {
	if e.Filesystem == nil {
		return tool.Cmd{}, fmt.Errorf("make file system on %s: partition %s has none", device, e.Name)
	}
	var c tool.Cmd
	var err error
	switch e.Filesystem.Format {
	case "ext4":
		c, err = mkfsExt4(*e.Filesystem)
	case "vfat":
		c, err = mkfsVfat(e, sectorSize)
	default:
		err = fmt.Errorf("file system %s is not supported", e.Filesystem.Format)
	}
	if err != nil {
		return c, fmt.Errorf("make file system on %s: %w", device, err)
	}
	if !epoch.IsZero() && c.Name == "mkfs.ext4" {
		s := strconv.FormatInt(epoch.Unix(), 10)
		// The second is for e2fsprogs before 1.47.1.
		c.Env = []string{"SOURCE_DATE_EPOCH=" + s, "E2FSPROGS_FAKE_TIME=" + s}
	}
	c.Args = append(c.Args, device)
	return c, nil
}

// mkfsExt4 sets all that mke2fs would take at random or from the running
// kernel. The block size is fixed because small file systems would get 1 KiB,
// less than a sector of 4096 bytes. The kernel clears the inode tables after
// the first mount, in the background.
func mkfsExt4(f layout.Filesystem) (tool.Cmd, error) {
	id, err := uuid.Parse(f.UUID)
	if err != nil {
		return tool.Cmd{}, fmt.Errorf("UUID %q: %w", f.UUID, err)
	}
	args := []string{"-F", "-q", "-b", "4096", "-U", id.String()}
	if f.Label != "" {
		args = append(args, "-L", f.Label)
	}
	seed := uuid.NewSHA1(id, []byte("hash_seed"))
	extended := "lazy_itable_init=1,hash_seed=" + seed.String()
	var extra []string
	for i := 0; i < len(f.ExtraArgs); i++ {
		if f.ExtraArgs[i] == "-E" && i+1 < len(f.ExtraArgs) { // mke2fs only takes the last
			i++
			extended += "," + f.ExtraArgs[i]
			continue
		}
		extra = append(extra, f.ExtraArgs[i])
	}
	return tool.Cmd{Name: "mkfs.ext4", Args: append(append(args, "-E", extended), extra...)}, nil
}

// mkfsVfat: the number of hidden sectors, which boot code uses, is where the
// partition starts, also when device is an image. --invariant fixes the time of
// the label, since dosfstools 4.2 does not know SOURCE_DATE_EPOCH; it has to
// come before -i, which it would set too.
func mkfsVfat(e layout.Entry, sectorSize int) (tool.Cmd, error) {
	id := strings.ReplaceAll(e.Filesystem.UUID, "-", "")
	if n, err := strconv.ParseUint(id, 16, 32); err != nil || n == 0 || len(id) != 8 {
		return tool.Cmd{}, fmt.Errorf("volume id %q: expected ABCD-1234", e.Filesystem.UUID)
	}
	args := []string{"--invariant", "-S", strconv.Itoa(sectorSize), "-i", id}
	if e.FirstLBA <= 0xffffffff {
		args = append(args, "-h", strconv.FormatUint(e.FirstLBA, 10))
	}
	if !slices.ContainsFunc(e.Filesystem.ExtraArgs, func(a string) bool { return strings.HasPrefix(a, "-F") }) {
		args = append(args, "-F", fatBits(e.Size(sectorSize), sectorSize))
	}
	if e.Filesystem.Label != "" {
		args = append(args, "-n", e.Filesystem.Label)
	}
	return tool.Cmd{Name: "mkfs.vfat", Args: append(args, e.Filesystem.ExtraArgs...)}, nil
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
