package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/disk/udev"
	"github.com/victorinix/vic/internal/tool"
)

// rereadTimeout bounds how long the kernel and devtmpfs may take to show the
// new partitions.
const rereadTimeout = 10 * time.Second

// Reread makes the kernel's view of a disk's partitions that of t, the table
// that is on it now. It returns when every partition has a node in /dev and
// the right size, and udev, where it runs, has seen them. The disk must not be
// open exclusively, as Open does for writing: close it first.
//
// Partitions that are in use may stay so as long as t leaves them where they
// are; one that only changes its end is resized under its users. What has to
// go and is in use is an error that names the users.
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
	// EBUSY: a partition is in use. EINVAL: a device that is not scanned, such
	// as a plain loop device. A kernel that was built without the kind of table
	// finds nothing.
	err = unix.IoctlSetInt(int(f.Fd()), unix.BLKRRPART, 0)
	if err != nil && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.EINVAL) {
		return err
	}
	if errors.Is(known(name, t), errNotShown) {
		if err := changePartitions(ctx, f, name, t); err != nil {
			return err
		}
	}
	if err := known(name, t); err != nil {
		return err
	}
	if err := awaitNodes(ctx, name, t); err != nil {
		return err
	}
	return udev.Settle(ctx, tool.Exec{})
}

var errNotShown = errors.New("the kernel does not show the new partitions")

// awaitNodes waits for the nodes of all partitions. Mostly they are there: the
// kernel has devtmpfs make them before it goes on. To end a watch takes the kernel
// longer than all else here.
func awaitNodes(ctx context.Context, name string, t layout.Table) error {
	there := func() error { return haveNodes(name, t) }
	if there() == nil {
		return nil
	}
	w, err := newWatch("/dev", unix.IN_CREATE|unix.IN_MOVED_TO)
	if err != nil {
		return err
	}
	defer w.close()
	return w.retry(ctx, errNotShown, there)
}

func haveNodes(name string, t layout.Table) error {
	for _, e := range t.Entries {
		if _, err := os.Stat(PartitionPath(sysfs.Node(name), e.Number)); err != nil {
			return fmt.Errorf("%w: %w", errNotShown, err)
		}
	}
	return nil
}

// known says whether the kernel's view is the table's.
func known(name string, t layout.Table) error {
	now, err := kernelPartitions(name)
	if err != nil {
		return err
	}
	if len(now) != len(t.Entries) {
		return fmt.Errorf("%w: it has %d instead of %d", errNotShown, len(now), len(t.Entries))
	}
	for _, e := range t.Entries {
		p, ok := now[e.Number]
		if !ok || p.Offset != int64(e.FirstLBA)*int64(t.SectorSize) || p.Size != e.Size(t.SectorSize) && !extended(e) {
			return fmt.Errorf("%w: partition %d has %d bytes from %d", errNotShown, e.Number, p.Size, p.Offset)
		}
	}
	return nil
}

// extended says whether an entry is the extended partition of an MBR, which
// the kernel shows with its first sectors alone.
func extended(e layout.Entry) bool { return e.MBR != nil && e.MBR.Part == partExtended }

// kernelPartitions is the kernel's view, by number.
func kernelPartitions(name string) (map[int]Range, error) {
	root := sysfs.Root("/")
	names, err := root.Partitions(name)
	if err != nil {
		return nil, err
	}
	list := map[int]Range{}
	for _, part := range names {
		var v [3]int64
		for i, attr := range []string{"partition", "start", "size"} {
			if v[i], err = root.Number("sys/block", name, part, attr); err != nil {
				return nil, fmt.Errorf("read partition %s: %w", part, err)
			}
		}
		list[int(v[0])] = Range{v[1] * 512, v[2] * 512}
	}
	return list, nil
}

// usersOf names what holds a partition.
func usersOf(disk string, number int) string {
	node := PartitionPath(sysfs.Node(disk), number)
	users, err := sysfs.Root("/").InUse(disk)
	if err != nil {
		return err.Error()
	}
	var own []string
	for _, u := range users {
		if strings.HasPrefix(u, node+" ") {
			own = append(own, u)
		}
	}
	return strings.Join(own, "; ")
}
