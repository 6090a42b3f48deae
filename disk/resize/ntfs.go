package resize

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/victorinix/vic/internal/lazyregexp"
	"github.com/victorinix/vic/internal/tool"
)

var ntfs = format{
	size: func(device string) (int64, error) {
		sectors, sector, _, err := ntfsGeometry(device)
		if err != nil {
			return 0, err
		}
		return within(sectors+1, sector) // with the backup boot sector
	},
	fit: func(device string, n int64) (int64, error) {
		_, sector, cluster, err := ntfsGeometry(device)
		if err != nil {
			return 0, err
		}
		n -= int64(sector)
		return n - n%int64(cluster) + int64(sector), nil
	},
	least: func(ctx context.Context, r tool.Runner, device string) (int64, error) {
		args := []string{"--info", "--force", "--no-progress-bar", device}
		out, err := r.Run(ctx, tool.Cmd{Name: "ntfsresize", Args: args})
		if err != nil {
			return 0, err
		}
		return parseNTFSInfo(out.Stdout)
	},
	set: func(ctx context.Context, r tool.Runner, device string, from, to int64, o Options) error {
		for _, dry := range []bool{true, false} {
			out, err := r.Run(ctx, ResizeNTFSCommand(device, to, dry, o.Resumed))
			if err != nil && to < from {
				return fmt.Errorf("%w: %w: %s", ErrCannotShrink, err, lastBytes(out.Stdout))
			}
			if err != nil {
				return fmt.Errorf("%w: %s", err, lastBytes(out.Stdout))
			}
		}
		return nil
	},
}

// ResizeNTFSCommand resizes an ntfs that is not mounted, or only tries to. One
// that Windows wants to check first is refused, unless that mark may be
// ntfsresize's own from an interrupted run.
func ResizeNTFSCommand(device string, bytes int64, dry, resumed bool) tool.Cmd {
	args := []string{"--force", "--no-progress-bar", "--size", strconv.FormatInt(bytes, 10)}
	if resumed {
		args = append(args, "--force")
	}
	if dry {
		args = append(args, "--no-action")
	}
	return tool.Cmd{Name: "ntfsresize", Args: append(args, device)}
}

var ntfsLeast = lazyregexp.New(`You might resize at (\d+) bytes`)

// parseNTFSInfo reads "You might resize at 2564096 bytes or 3 MB".
func parseNTFSInfo(out []byte) (int64, error) {
	m := ntfsLeast.FindSubmatch(out)
	if m == nil {
		return 0, errors.New("ntfsresize gives no size: " + lastBytes(out))
	}
	return strconv.ParseInt(string(m[1]), 10, 64)
}

// lastBytes is the end of what a program printed.
func lastBytes(b []byte) string { return string(b[max(0, len(b)-400):]) }
