package resize

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/tool"
)

// swapHeader is of union swap_header in include/linux/swap.h.
type swapHeader struct {
	pages uint64
	uuid  uuid.UUID
	label string
}

func readSwap(device string) (h swapHeader, err error) {
	page := os.Getpagesize()
	b, err := read(device, 0, page, page-10, "SWAPSPACE2")
	if err != nil {
		return h, err
	}
	h.pages = uint64(le.Uint32(b[1028:])) + 1 // last_page
	copy(h.uuid[:], b[1036:])
	label, _, _ := bytes.Cut(b[1052:1068], []byte{0})
	h.label = string(label)
	return h, nil
}

var swap = format{
	size: func(device string) (int64, error) {
		h, err := readSwap(device)
		if err != nil {
			return 0, err
		}
		return within(h.pages, uint64(os.Getpagesize()))
	},
	fit:   func(_ string, n int64) (int64, error) { return n - n%int64(os.Getpagesize()), nil },
	least: func(context.Context, tool.Runner, string) (int64, error) { return 10 * int64(os.Getpagesize()), nil },
	set: func(ctx context.Context, r tool.Runner, device string, _, to int64, _ Options) error {
		h, err := readSwap(device)
		if err != nil {
			return err
		}
		c, err := disk.MkfsCommand(disk.Filesystem{Format: "swap", UUID: h.uuid.String(), Label: h.label}, device, time.Time{})
		if err != nil {
			return err
		}
		c.Args = append(c.Args, strconv.FormatInt(to/1024, 10)) // in KiB
		if _, err := r.Run(ctx, c); err != nil {
			return fmt.Errorf("make it anew: %w", err)
		}
		return nil
	},
}
