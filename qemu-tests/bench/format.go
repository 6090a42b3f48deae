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

// partition is one with what is made in it.
type partition struct {
	name, size string
	format     string
	bytes      int64
	args       []string // further ones for mkfs
}

// formatted is what is made on the disk, in the order of its partitions.
var formatted = []partition{
	{"esp", "512M", "vfat", 512 << 20, nil},
	{"swap", "4G", "swap", 4 << 30, nil},
	{"root", "8G", "ext4", 8 << 30, nil},
	{"data", "16G", "xfs", 16 << 30, nil},
	{"home", "16G", "btrfs", 16 << 30, nil},
}

// checked is an ordinary system's disk whose program takes its time: mkfs.ext4
// reads all blocks before it takes them. Its loop device reads past the page cache:
// else it would be the time that the kernel takes to find memory.
var checked = []partition{
	formatted[0], formatted[1],
	{"root", "16G", "ext4", 16 << 30, []string{"-c"}},
}

// formatDisk is the size of the disk, a file with holes.
const formatDisk = 48 << 30

// formatLayout is the layout of partitions.
func formatLayout(parts []partition) string {
	var b strings.Builder
	b.WriteString("disk:\n  main:\n    type: disk\n    content:\n      type: gpt\n      partitions:\n")
	for i, f := range parts {
		content := fmt.Sprintf("{type: filesystem, format: %s, extraArgs: [%s]}", f.format, strings.Join(f.args, ", "))
		if f.format == "swap" {
			content = "{type: swap}"
		}
		fmt.Fprintf(&b, "        %s: {priority: %d, size: %s, content: %s}\n", f.name, i+1, f.size, content)
	}
	return b.String()
}

// formatNote says what the figures mean.
const formatNote = "`vic disk format` of a blank disk of 48 GiB (a loop device on this machine), in turns\n" +
	"with the programs that it runs, with the same arguments on the same partitions, blank\n" +
	"again. The first line is an ext4, an xfs, a btrfs, a vfat and swap, whose programs end\n" +
	"almost at once: what vic does besides is to start, to see what is on the disk and in\n" +
	"its partitions, to write the table twice, and to look at each result on the medium.\n" +
	"The last line is what that is when a program takes its time: a vfat, swap, and an ext4\n" +
	"of 16 GiB with `mkfs.ext4 -c`, which reads all blocks first."

// formats times vic disk format and the programs that it runs.
func (s Suite) formats(ctx context.Context) ([]Row, error) {
	if os.Getuid() != 0 {
		return nil, errors.New("loop devices need root")
	}
	plain, tables, err := s.inTurns(ctx, formatted)
	if err != nil {
		return nil, err
	}
	slow, _, err := s.inTurns(ctx, checked, "--direct-io=on")
	if err != nil {
		return nil, err
	}
	plain.What, slow.What = "`vic disk format` to the mkfs programs alone", "the same, of a disk whose blocks are read first"
	return []Row{plain, {"of it: looking, wiping, the partition table", tables, 0, "s", "the phase partition"}, slow}, nil
}

// inTurns formats a disk with vic and with the programs alone; options are of its
// loop device. The row has no name yet; tables is how many seconds vic took for the
// phase partition.
func (s Suite) inTurns(ctx context.Context, parts []partition, options ...string) (row Row, tables float64, err error) {
	image, layout := filepath.Join(s.Dir, "format.img"), filepath.Join(s.Dir, "format.yaml")
	err = errors.Join(os.WriteFile(layout, []byte(formatLayout(parts)), 0o644), os.WriteFile(image, nil, 0o600), os.Truncate(image, formatDisk))
	if err != nil {
		return row, 0, err
	}
	defer os.Remove(image)
	dev, detach, err := attach(ctx, image, options...)
	if err != nil {
		return row, 0, err
	}
	defer detach()
	var all, bare, table []float64
	for range s.Rounds {
		if err := blank(image, dev); err != nil {
			return row, 0, err
		}
		r, err := s.Vic.run(ctx, "disk", "format", layout, "--disk", dev, "--yes", "--json")
		if err != nil {
			return row, 0, err
		}
		if err := blank(image, dev); err != nil {
			return row, 0, err
		}
		took, err := bareFormats(ctx, parts, dev)
		if err != nil {
			return row, 0, err
		}
		all, bare = append(all, r.Total.Seconds()), append(bare, took.Seconds())
		table = append(table, r.Phases[event.Partition].Seconds())
	}
	vic, programs := Median(all), Median(bare)
	how := fmt.Sprintf("%.2f s to %.2f s, medians of %d in turns", vic, programs, s.Rounds)
	return Row{"", vic / programs, 1.1, "x", how}, Median(table), nil
}

// attach makes a loop device of a file.
func attach(ctx context.Context, image string, options ...string) (dev string, detach func(), err error) {
	out, err := tool.Exec{}.Run(ctx, tool.Cmd{Name: "losetup", Args: append(options, "--find", "--show", image)})
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
func bareFormats(ctx context.Context, parts []partition, dev string) (time.Duration, error) {
	var took time.Duration
	for i, f := range parts {
		id := uuid.NewSHA1(uuid.NameSpaceOID, []byte(f.name)).String()
		if f.format == "vfat" {
			id = "1234-ABCD"
		}
		c, err := disk.MkfsCommand(disk.Filesystem{Format: f.format, UUID: id, Args: f.args, Size: f.bytes}, disk.PartitionPath(dev, i+1), time.Time{})
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
