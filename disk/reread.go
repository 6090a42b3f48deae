package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/sysfs"
)

// rereadTimeout bounds how long the kernel and devtmpfs may take to show the
// new partitions.
const rereadTimeout = 10 * time.Second

// Reread makes the kernel forget the partitions that it knows of a disk, and
// take those of the table that is on it now. It returns when every partition
// of t has a node in /dev and the right size. The disk must not be open
// exclusively, as Open does for writing: close it first.
func Reread(ctx context.Context, path string, t layout.Table) error {
	if err := reread(ctx, path, t); err != nil {
		return fmt.Errorf("reread partitions of %s: %w", path, err)
	}
	return nil
}

func reread(ctx context.Context, path string, t layout.Table) error {
	ctx, cancel := context.WithTimeoutCause(ctx, rereadTimeout, fmt.Errorf("gave up after %v", rereadTimeout))
	defer cancel()
	name, err := KernelName(path)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	// Something that looks at new devices, such as udev, may have a
	// partition open for a moment: busy.
	err = poll(ctx, func() error { return unix.IoctlSetInt(int(f.Fd()), unix.BLKRRPART, 0) }, unix.EBUSY)
	// EINVAL: a device that is not scanned, such as a plain loop device. A
	// kernel that was built without GPT finds nothing.
	if err == nil && errors.Is(known(name, t), errNotShown) || errors.Is(err, unix.EINVAL) {
		err = replacePartitions(f, name, t)
	}
	if err != nil {
		return err
	}
	return poll(ctx, func() error { return shown(name, t) }, errNotShown)
}

// partitionName is the kernel name of a partition.
func partitionName(disk string, n int) string {
	return filepath.Base(PartitionPath("/dev/"+disk, n))
}

// poll tries f until it succeeds, or fails with another error than again, or
// ctx ends.
func poll(ctx context.Context, f func() error, again error) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f()
		if err == nil || !errors.Is(err, again) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

var errNotShown = errors.New("the kernel does not show the new partitions")

// shown says whether the kernel's view is the table's, and /dev the kernel's.
func shown(name string, t layout.Table) error {
	for _, e := range t.Entries {
		if _, err := os.Stat(PartitionPath(sysfs.Node(name), e.Number)); err != nil {
			return fmt.Errorf("%w: %w", errNotShown, err)
		}
	}
	return known(name, t)
}

// known says whether the kernel's view is the table's.
func known(name string, t layout.Table) error {
	root := sysfs.Root("/")
	names, err := root.Partitions(name)
	if err != nil {
		return err
	}
	if len(names) != len(t.Entries) {
		return fmt.Errorf("%w: it has %d instead of %d", errNotShown, len(names), len(t.Entries))
	}
	for _, e := range t.Entries {
		part := partitionName(name, e.Number)
		start, err := root.Number("sys/block", name, part, "start")
		if err != nil {
			return fmt.Errorf("%w: %w", errNotShown, err)
		}
		size, err := root.Number("sys/block", name, part, "size")
		if err != nil {
			return fmt.Errorf("%w: %w", errNotShown, err)
		}
		if start*512 != int64(e.FirstLBA)*int64(t.SectorSize) || size*512 != e.Size(t.SectorSize) {
			return fmt.Errorf("%w: %s has %d sectors from %d", errNotShown, part, size, start)
		}
	}
	return nil
}

// replacePartitions tells the kernel of each partition.
func replacePartitions(f *os.File, name string, t layout.Table) error {
	old, err := sysfs.Root("/").Partitions(name)
	if err != nil {
		return err
	}
	for _, p := range old {
		n, err := sysfs.Root("/").Number("sys/block", name, p, "partition")
		if err != nil {
			return err
		}
		if err := blkpg(f, unix.BLKPG_DEL_PARTITION, unix.BlkpgPartition{Pno: int32(n)}); err != nil {
			return fmt.Errorf("remove %s: %w", p, err)
		}
	}
	for _, e := range t.Entries {
		p := unix.BlkpgPartition{
			Start: int64(e.FirstLBA) * int64(t.SectorSize), Length: e.Size(t.SectorSize), Pno: int32(e.Number),
		}
		if err := blkpg(f, unix.BLKPG_ADD_PARTITION, p); err != nil {
			return fmt.Errorf("add partition %d: %w", e.Number, err)
		}
	}
	return nil
}

func blkpg(f *os.File, op int32, p unix.BlkpgPartition) error {
	arg := unix.BlkpgIoctlArg{Op: op, Datalen: int32(unsafe.Sizeof(p)), Data: (*byte)(unsafe.Pointer(&p))}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 {
		return errno
	}
	return nil
}
