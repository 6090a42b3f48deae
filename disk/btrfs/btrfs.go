// Package btrfs makes subvolumes and swap files in a btrfs that is not mounted
// yet: it mounts the top level in a directory of its own meanwhile.
package btrfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/tool"
)

// Subvolume is one to be made.
type Subvolume struct {
	Path string   // from the top of the file system, without a leading /
	Args []string // of btrfs subvolume create
}

// SwapFile is one to be made.
type SwapFile struct {
	Path string // from the top of the file system
	Size int64  // bytes, rounded down to pages
}

// SubvolumeCommand makes a subvolume at a path.
func SubvolumeCommand(at string, args []string) tool.Cmd {
	return tool.Cmd{Name: "btrfs", Args: append(append([]string{"subvolume", "create"}, args...), at)}
}

// SwapFileCommand makes a swap file at a path: without copy on write, without
// holes.
func SwapFileCommand(at string, size int64) tool.Cmd {
	return tool.Cmd{Name: "btrfs", Args: []string{"filesystem", "mkswapfile", "--size", strconv.FormatInt(size, 10), at}}
}

// ScanCommand makes the members of file systems over several devices known,
// which udev does where it runs.
func ScanCommand() tool.Cmd { return tool.Cmd{Name: "btrfs", Args: []string{"device", "scan"}} }

// ListCommand lists the subvolumes of a mounted file system, for ParseList.
func ListCommand(mounted string) tool.Cmd {
	return tool.Cmd{Name: "btrfs", Args: []string{"subvolume", "list", mounted}}
}

// ParseList reads the paths from lines such as "ID 256 gen 7 top level 5 path
// home/me".
func ParseList(text []byte) []string {
	var list []string
	for line := range strings.Lines(string(text)) {
		if _, p, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " path "); ok {
			list = append(list, p)
		}
	}
	return list
}

// WithTop mounts the top level of the btrfs on a device, calls f with the
// directory, and unmounts it.
func WithTop(ctx context.Context, r tool.Runner, device string, options []string, f func(dir string) error) (err error) {
	if _, err := os.Stat("/dev/btrfs-control"); errors.Is(err, os.ErrNotExist) {
		// Mounting would load the module; scanning does not.
		if _, err := r.Run(ctx, tool.Cmd{Name: "modprobe", Args: []string{"btrfs"}}); err != nil {
			return fmt.Errorf("load the kernel's btrfs: %w", err)
		}
	}
	if _, err := r.Run(ctx, ScanCommand()); err != nil {
		return fmt.Errorf("look for members of btrfs: %w", err)
	}
	dir, err := os.MkdirTemp("", "vic-btrfs-")
	if err != nil {
		return fmt.Errorf("mount %s: %w", device, err)
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	if err := disk.Mount(device, dir, "btrfs", append([]string{"subvolid=5"}, options...)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Unmount(dir)) }()
	return f(dir)
}

// Subvolumes lists the subvolumes of the btrfs on a device.
func Subvolumes(ctx context.Context, r tool.Runner, device string) (list []string, err error) {
	err = WithTop(ctx, r, device, []string{"ro"}, func(dir string) error {
		out, err := r.Run(ctx, ListCommand(dir))
		list = ParseList(out.Stdout)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list subvolumes of %s: %w", device, err)
	}
	return list, nil
}

// Make makes what is missing of the subvolumes, in their order, and of the
// swap files. Directories above a subvolume that are no subvolumes themselves
// are made. A swap file that was not finished is made anew.
func Make(ctx context.Context, r tool.Runner, device string, subvolumes []Subvolume, swaps []SwapFile) error {
	return WithTop(ctx, r, device, nil, func(dir string) error {
		for _, s := range subvolumes {
			if err := makeSubvolume(ctx, r, dir, s); err != nil {
				return fmt.Errorf("make subvolume %s of %s: %w", s.Path, device, err)
			}
		}
		for _, s := range swaps {
			if err := makeSwapFile(ctx, r, dir, s); err != nil {
				return fmt.Errorf("make swap file %s of %s: %w", s.Path, device, err)
			}
		}
		return nil
	})
}

// inside is a path below the top that has no way out of it.
func inside(dir, p string) (string, error) {
	clean := path.Clean("/" + p)
	if clean == "/" {
		return "", fmt.Errorf("path %q is the top itself", p)
	}
	return filepath.Join(dir, clean), nil
}

func makeSubvolume(ctx context.Context, r tool.Runner, dir string, s Subvolume) error {
	at, err := inside(dir, s.Path)
	if err != nil {
		return err
	}
	switch is, err := isSubvolume(at); {
	case err != nil:
		return err
	case is:
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	_, err = r.Run(ctx, SubvolumeCommand(at, s.Args))
	return err
}

// firstInode is BTRFS_FIRST_FREE_OBJECTID: the inode of the top directory of
// every subvolume.
const firstInode = 256

// isSubvolume says whether there is one; another thing in its place is an
// error.
func isSubvolume(at string) (bool, error) {
	st, err := os.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); !ok || !st.IsDir() || sys.Ino != firstInode {
		return false, errors.New("something else is in its place")
	}
	return true, nil
}

func makeSwapFile(ctx context.Context, r tool.Runner, dir string, s SwapFile) error {
	at, err := inside(dir, s.Path)
	if err != nil {
		return err
	}
	size := s.Size - s.Size%int64(os.Getpagesize())
	if done, err := isSwap(at, size); err != nil || done {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_, err = r.Run(ctx, SwapFileCommand(at, size))
	return err
}

// isSwap says whether there is a swap file of that size: the signature at the
// end of the first page is written last.
func isSwap(at string, size int64) (bool, error) {
	f, err := os.Open(at)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	magic := make([]byte, 10)
	_, readErr := f.ReadAt(magic, int64(os.Getpagesize())-10)
	st, err := f.Stat()
	if err := errors.Join(err, f.Close()); err != nil {
		return false, err
	}
	return readErr == nil && string(magic) == "SWAPSPACE2" && st.Size() == size, nil
}
