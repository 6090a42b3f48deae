package resize

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/tool"
)

var ext = format{
	size: func(device string) (int64, error) {
		count, size, err := extBlocks(device)
		if err != nil {
			return 0, err
		}
		return within(count, size)
	},
	fit: func(device string, n int64) (int64, error) {
		_, size, err := extBlocks(device)
		return n - n%int64(max(size, 1)), err
	},
	least: func(ctx context.Context, r tool.Runner, device string) (int64, error) {
		_, size, err := extBlocks(device)
		if err != nil {
			return 0, err
		}
		out, err := r.Run(ctx, tool.Cmd{Name: "resize2fs", Args: []string{"-P", device}})
		if err != nil {
			return 0, err
		}
		blocks, err := parseMinimum(string(out.Stdout))
		if err != nil {
			return 0, err
		}
		return within(blocks, size)
	},
	set: func(ctx context.Context, r tool.Runner, device string, from, to int64, o Options) error {
		if err := checkExt(ctx, r, device, o); err != nil {
			return err
		}
		_, err := r.Run(ctx, ResizeExtCommand(device, to))
		var te *tool.Error
		if errors.As(err, &te) && to < from && strings.Contains(te.Stderr, "smaller than minimum") {
			return fmt.Errorf("%w: %w", ErrCannotShrink, err)
		}
		return err
	},
}

// Interrupted says whether an ext2, 3 or 4 is one that resize2fs did not finish
// with: until Resize has, nobody else can read it.
func Interrupted(device string) (bool, error) {
	yes, err := extResizing(device)
	if err != nil {
		return false, fmt.Errorf("read state of %s: %w", device, err)
	}
	return yes, nil
}

// ResizeExtCommand resizes an ext2, 3 or 4 that is not mounted and has just
// been checked. bytes are whole blocks.
func ResizeExtCommand(device string, bytes int64) tool.Cmd {
	return tool.Cmd{Name: "resize2fs", Args: []string{device, strconv.FormatInt(bytes/512, 10) + "s"}}
}

// parseMinimum reads "Estimated minimum size of the filesystem: 12345".
func parseMinimum(out string) (uint64, error) {
	_, after, ok := strings.Cut(out, "minimum size of the filesystem:")
	n, err := strconv.ParseUint(strings.TrimSpace(after), 10, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("resize2fs says %q", out)
	}
	return n, nil
}

// checkExt repairs what is safe to repair. What an interrupted resize2fs
// leaves is more than that: blocks that it has copied count twice. After a power
// cut the file system alone tells of it.
func checkExt(ctx context.Context, r tool.Runner, device string, o Options) error {
	interrupted, err := extResizing(device)
	if err != nil {
		return err
	}
	if err = disk.Fsck(ctx, r, "ext4", device, true); err == nil || !o.Resumed && !interrupted {
		return err
	}
	_, err = r.Run(ctx, tool.Cmd{Name: "e2fsck", Args: []string{"-f", "-y", device}})
	var te *tool.Error
	if errors.As(err, &te) && te.Exit == 1 { // repaired
		return nil
	}
	return err
}
