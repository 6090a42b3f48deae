// Package resize makes the contents of partitions smaller and larger: file
// systems and swap areas, with their own programs where there are any.
//
// The partition itself is the caller's: it shrinks after its content, and grows
// before it. LUKS and LVM have their own packages.
//
//	format   shrink           grow              size is rounded down to
//	extN     offline          offline           blocks
//	btrfs    mounted          mounted           4096 bytes
//	xfs      never            mounted           blocks
//	ntfs     offline          offline           clusters, and one sector
//	vfat     if the end is    as far as its     clusters
//	         free             FAT goes
//	swap     made anew, same UUID and label     pages
//
// What is mounted is mounted in a directory of its own for the time being; a
// file system that somebody else has mounted is refused.
package resize

import (
	"context"
	"errors"
	"fmt"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/tool"
)

var (
	// ErrCannotShrink is wrapped when a format has no way to become smaller, or
	// not as small.
	ErrCannotShrink = errors.New("it cannot be made that small")
	// ErrCannotGrow is its opposite.
	ErrCannotGrow = errors.New("it cannot be made that large")
)

// Options of Resize.
type Options struct {
	// Resumed: an earlier run was interrupted. Damage that such a run leaves is
	// then repaired, which is otherwise a reason to refuse.
	Resumed bool
}

// format is how one is resized. Sizes are in bytes.
type format struct {
	// size is what it takes now.
	size func(device string) (int64, error)
	// fit rounds a size as the format does.
	fit func(device string, size int64) (int64, error)
	// least is a careful estimate of the least size.
	least func(ctx context.Context, r tool.Runner, device string) (int64, error)
	// set changes it to a size that fits, and is not the one that it has.
	set func(ctx context.Context, r tool.Runner, device string, from, to int64, o Options) error
}

var formats = map[string]format{
	"ext2": ext, "ext3": ext, "ext4": ext,
	"btrfs": btrfsFormat, "xfs": xfs, "ntfs": ntfs, "vfat": vfat, "swap": swap,
}

func find(name, device string) (format, error) {
	f, ok := formats[name]
	if !ok {
		return f, fmt.Errorf("resize %s: a content of type %q is not supported", device, name)
	}
	return f, nil
}

// Size is how much of its device a content takes, by its own account.
func Size(name, device string) (int64, error) {
	f, err := find(name, device)
	if err != nil {
		return 0, err
	}
	n, err := f.size(device)
	if err != nil {
		return 0, fmt.Errorf("read size of %s on %s: %w", name, device, err)
	}
	return n, nil
}

// Least is a careful estimate of the least size that a content can have.
func Least(ctx context.Context, r tool.Runner, name, device string) (int64, error) {
	f, err := find(name, device)
	if err != nil {
		return 0, err
	}
	n, err := f.least(ctx, r, device)
	if err != nil {
		return 0, fmt.Errorf("estimate least size of %s on %s: %w", name, device, err)
	}
	return n, nil
}

// Resize gives a content a size in bytes, rounded down as the format needs it,
// and returns the size that it has then. It checks a file system before. One
// that has the size already is left alone.
func Resize(ctx context.Context, r tool.Runner, name, device string, size int64, o Options) (int64, error) {
	f, err := find(name, device)
	if err != nil {
		return 0, err
	}
	got, err := f.resize(ctx, r, device, size, o)
	if err != nil {
		return got, fmt.Errorf("resize %s on %s to %d bytes: %w", name, device, size, err)
	}
	return got, nil
}

func (f format) resize(ctx context.Context, r tool.Runner, device string, size int64, o Options) (int64, error) {
	from, err := f.size(device)
	if err != nil {
		return 0, err
	}
	to, err := f.fit(device, size)
	if err != nil {
		return from, err
	}
	if from == to {
		return from, nil
	}
	if room, err := deviceSize(device); err != nil {
		return from, err
	} else if to > room {
		return from, fmt.Errorf("%w: its device has %d bytes", ErrCannotGrow, room)
	}
	if err := f.set(ctx, r, device, from, to, o); err != nil {
		return from, err
	}
	got, err := f.size(device)
	switch {
	case err != nil:
		return from, err
	case got > to: // a little less is well: xfs leaves out a tail that is too small
		return got, fmt.Errorf("it has %d bytes afterwards", got)
	}
	return got, nil
}

func deviceSize(device string) (int64, error) {
	d, err := disk.Open(device, 0)
	if err != nil {
		return 0, err
	}
	return d.Size(), d.Close()
}
