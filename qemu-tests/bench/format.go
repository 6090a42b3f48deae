package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/tool"
)

// formatted is what is made on the disk, in the order of its partitions.
var formatted = []struct {
	name, size string
	format     string
	bytes      int64
}{
	{"esp", "512M", "vfat", 512 << 20},
	{"swap", "4G", "swap", 4 << 30},
	{"root", "8G", "ext4", 8 << 30},
	{"data", "16G", "xfs", 16 << 30},
	{"home", "16G", "btrfs", 16 << 30},
}

// formatDisk is the size of the disk, a file with holes.
const formatDisk = 48 << 30

// formatLayout is the layout of formatted.
func formatLayout() string {
	var b strings.Builder
	b.WriteString("disk:\n  main:\n    type: disk\n    content:\n      type: gpt\n      partitions:\n")
	for i, f := range formatted {
		content := "{type: filesystem, format: " + f.format + "}"
		if f.format == "swap" {
			content = "{type: swap}"
		}
		fmt.Fprintf(&b, "        %s: {priority: %d, size: %s, content: %s}\n", f.name, i+1, f.size, content)
	}
	return b.String()
}

// formatNote says what the figures mean.
const formatNote = "`vic disk format` of a blank disk of 48 GiB (a loop device on this machine), with\n" +
	"an ext4, an xfs, a btrfs, a vfat and swap, in turns with the same mkfs programs\n" +
	"with the same arguments on the same partitions, blank again."

// formats times vic disk format and the programs that it runs.
func (s Suite) formats(ctx context.Context) ([]Row, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("loop devices need root")
	}
	image, layout := filepath.Join(s.Dir, "format.img"), filepath.Join(s.Dir, "format.yaml")
	if err := errors.Join(os.WriteFile(layout, []byte(formatLayout()), 0o644), os.WriteFile(image, nil, 0o600), os.Truncate(image, formatDisk)); err != nil {
		return nil, err
	}
	defer os.Remove(image)
	dev, detach, err := attach(ctx, image)
	if err != nil {
		return nil, err
	}
	defer detach()
	var all, bare, tables []float64
	for range s.Rounds {
		if err := blank(image, dev); err != nil {
			return nil, err
		}
		r, err := s.Vic.run(ctx, "disk", "format", layout, "--disk", dev, "--yes", "--json")
		if err != nil {
			return nil, err
		}
		if err := blank(image, dev); err != nil {
			return nil, err
		}
		took, err := bareFormats(ctx, dev)
		if err != nil {
			return nil, err
		}
		all, bare = append(all, r.Total.Seconds()), append(bare, took.Seconds())
		tables = append(tables, r.Phases[event.Partition].Seconds())
	}
	vic, mkfs := Median(all), Median(bare)
	return []Row{
		{"`vic disk format` to the mkfs programs alone", vic / mkfs, 1.1, "x", fmt.Sprintf("%.2f s to %.2f s, medians of %d in turns", vic, mkfs, s.Rounds)},
		{"of it: looking, wiping, the partition table", Median(tables), 0, "s", "the phase partition"},
	}, nil
}

// attach makes a loop device of a file.
func attach(ctx context.Context, image string) (dev string, detach func(), err error) {
	out, err := tool.Exec{}.Run(ctx, tool.Cmd{Name: "losetup", Args: []string{"--find", "--show", image}})
	if err != nil {
		return "", nil, err
	}
	dev = strings.TrimSpace(string(out.Stdout))
	return dev, func() {
		ctx := context.WithoutCancel(ctx)
		// The partitions were added one by one. What is left over is seen by
		// losetup --list, and changes no figure.
		_, _ = tool.Exec{}.Run(ctx, tool.Cmd{Name: "partx", Args: []string{"--delete", dev}})
		_, _ = tool.Exec{}.Run(ctx, tool.Cmd{Name: "losetup", Args: []string{"--detach", dev}})
	}, nil
}

// blank empties the file of a loop device, and forgets what was read of it. The
// partitions stay known to the kernel.
func blank(image, dev string) error {
	if err := errors.Join(os.Truncate(image, 0), os.Truncate(image, formatDisk)); err != nil {
		return err
	}
	nodes := []string{dev}
	for i := range formatted {
		if node := disk.PartitionPath(dev, i+1); exists(node) {
			nodes = append(nodes, node)
		}
	}
	for _, node := range nodes {
		if err := flushBuffers(node); err != nil {
			return fmt.Errorf("forget what was read of %s: %w", node, err)
		}
	}
	unix.Sync()
	return nil
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

func flushBuffers(node string) error {
	f, err := os.OpenFile(node, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0), f.Close())
}

// bareFormats runs the programs alone.
func bareFormats(ctx context.Context, dev string) (time.Duration, error) {
	var took time.Duration
	for i, f := range formatted {
		id := uuid.NewSHA1(uuid.NameSpaceOID, []byte(f.name)).String()
		if f.format == "vfat" {
			id = "1234-ABCD"
		}
		c, err := disk.MkfsCommand(disk.Filesystem{Format: f.format, UUID: id, Size: f.bytes}, disk.PartitionPath(dev, i+1), time.Time{})
		if err != nil {
			return 0, err
		}
		start := time.Now()
		if _, err := (tool.Exec{}).Run(ctx, c); err != nil {
			return 0, err
		}
		took += time.Since(start)
	}
	return took, nil
}
