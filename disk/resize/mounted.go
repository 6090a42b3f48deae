package resize

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/btrfs"
	"github.com/victorinix/vic/internal/tool"
)

var btrfsFormat = format{
	size: func(device string) (int64, error) {
		_, size, err := btrfsDevice(device)
		if err != nil {
			return 0, err
		}
		return within(size, 1)
	},
	fit: func(_ string, n int64) (int64, error) { return n - n%4096, nil },
	least: func(ctx context.Context, r tool.Runner, device string) (n int64, err error) {
		id, _, err := btrfsDevice(device)
		if err != nil {
			return 0, err
		}
		err = btrfs.WithTop(ctx, r, device, []string{"ro"}, func(dir string) error {
			args := []string{"inspect-internal", "min-dev-size", "--id", strconv.FormatUint(id, 10), dir}
			out, err := r.Run(ctx, tool.Cmd{Name: "btrfs", Args: args})
			if err == nil {
				n, err = parseMinDevSize(string(out.Stdout))
			}
			return err
		})
		return n, err
	},
	set: func(ctx context.Context, r tool.Runner, device string, from, to int64, _ Options) error {
		if err := disk.Fsck(ctx, r, "btrfs", device, false); err != nil {
			return err
		}
		id, _, err := btrfsDevice(device)
		if err != nil {
			return err
		}
		return btrfs.WithTop(ctx, r, device, nil, func(dir string) error {
			_, err := r.Run(ctx, ResizeBtrfsCommand(dir, id, to))
			var te *tool.Error
			if errors.As(err, &te) && to < from && (strings.Contains(te.Stderr, "No space left") || strings.Contains(te.Stderr, "Invalid argument")) {
				return fmt.Errorf("%w: %w", ErrCannotShrink, err)
			}
			return err
		})
	},
}

// ResizeBtrfsCommand resizes one device of a mounted btrfs.
func ResizeBtrfsCommand(mounted string, id uint64, bytes int64) tool.Cmd {
	return tool.Cmd{Name: "btrfs", Args: []string{"filesystem", "resize", fmt.Sprintf("%d:%d", id, bytes), mounted}}
}

// parseMinDevSize reads "123456 bytes (120.56KiB)".
func parseMinDevSize(out string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(strings.SplitN(out, "bytes", 2)[0]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("btrfs says %q", out)
	}
	return n, nil
}

func xfsSize(device string) (int64, error) {
	count, size, err := xfsBlocks(device)
	if err != nil {
		return 0, err
	}
	return within(count, size)
}

var xfs = format{
	size: xfsSize,
	fit: func(device string, n int64) (int64, error) {
		_, size, err := xfsBlocks(device)
		return n - n%int64(max(size, 1)), err
	},
	least: func(_ context.Context, _ tool.Runner, device string) (int64, error) { return xfsSize(device) },
	set: func(ctx context.Context, r tool.Runner, device string, from, to int64, _ Options) (err error) {
		if to < from {
			return fmt.Errorf("%w: an xfs never shrinks", ErrCannotShrink)
		}
		_, size, err := xfsBlocks(device)
		if err != nil {
			return err
		}
		dir, err := os.MkdirTemp("", "vic-xfs-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.Remove(dir)) }()
		// The mount replays the log, which xfs_repair -n would take for damage.
		if err := disk.Mount(device, dir, "xfs", []string{"nouuid"}); err != nil {
			return err
		}
		_, err = r.Run(ctx, GrowXFSCommand(dir, to/int64(size)))
		return errors.Join(err, disk.Unmount(dir))
	},
}

// GrowXFSCommand grows a mounted xfs to a number of its blocks.
func GrowXFSCommand(mounted string, blocks int64) tool.Cmd {
	return tool.Cmd{Name: "xfs_growfs", Args: []string{"-D", strconv.FormatInt(blocks, 10), mounted}}
}
