package disk

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/sysfs"
)

// change is one call of the BLKPG ioctl.
type change struct {
	op     int32
	number int
	r      Range
}

// changes are what brings the kernel's view of partitions to that of a table:
// first those that go, then those that shrink, those that grow, and new ones.
// One that stays where it is is not touched.
func changes(now map[int]Range, t layout.Table) []change {
	want := map[int]Range{}
	for _, e := range t.Entries {
		r := Range{int64(e.FirstLBA) * int64(t.SectorSize), e.Size(t.SectorSize)}
		if extended(e) { // as the kernel does, so that nobody makes a file system there
			r.Size = min(r.Size, int64(max(t.SectorSize, 1024)))
		}
		want[e.Number] = r
	}
	var gone, shrunk, grown, added []change
	for _, n := range slices.Sorted(maps.Keys(now)) {
		switch w, ok := want[n]; {
		case !ok || w.Offset != now[n].Offset:
			gone = append(gone, change{unix.BLKPG_DEL_PARTITION, n, Range{}})
		case w.Size < now[n].Size:
			shrunk = append(shrunk, change{unix.BLKPG_RESIZE_PARTITION, n, w})
		case w.Size > now[n].Size:
			grown = append(grown, change{unix.BLKPG_RESIZE_PARTITION, n, w})
		}
	}
	for _, n := range slices.Sorted(maps.Keys(want)) {
		if p, ok := now[n]; !ok || p.Offset != want[n].Offset {
			added = append(added, change{unix.BLKPG_ADD_PARTITION, n, want[n]})
		}
	}
	return slices.Concat(gone, shrunk, grown, added)
}

// changePartitions tells the kernel of each partition that changes.
func changePartitions(ctx context.Context, f *os.File, name string, t layout.Table) error {
	now, err := kernelPartitions(name)
	if err != nil {
		return err
	}
	for _, c := range changes(now, t) {
		if err := c.apply(ctx, f, name); err != nil {
			return err
		}
	}
	return nil
}

var verbs = map[int32]string{
	unix.BLKPG_DEL_PARTITION: "remove", unix.BLKPG_RESIZE_PARTITION: "resize", unix.BLKPG_ADD_PARTITION: "add",
}

// apply waits while something that looks at new devices, such as udev, has a
// partition open that has to go. Users that stay are an error at once.
func (c change) apply(ctx context.Context, f *os.File, disk string) error {
	call := func() error {
		return blkpg(f, c.op, unix.BlkpgPartition{Start: c.r.Offset, Length: c.r.Size, Pno: int32(c.number)})
	}
	node := PartitionPath(sysfs.Node(disk), c.number)
	err := call()
	if errors.Is(err, unix.EBUSY) && c.op == unix.BLKPG_DEL_PARTITION {
		if users := usersOf(disk, c.number); users != "" {
			return fmt.Errorf("remove %s: it is in use: %s", node, users)
		}
		err = c.retry(ctx, node, call)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", verbs[c.op], node, err)
	}
	return nil
}

func (c change) retry(ctx context.Context, node string, call func() error) error {
	w, err := newWatch(node, unix.IN_CLOSE)
	if err != nil {
		return err
	}
	defer w.close()
	return w.retry(ctx, unix.EBUSY, call)
}

func blkpg(f *os.File, op int32, p unix.BlkpgPartition) error {
	arg := unix.BlkpgIoctlArg{Op: op, Datalen: int32(unsafe.Sizeof(p)), Data: (*byte)(unsafe.Pointer(&p))}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKPG, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 {
		return errno
	}
	return nil
}
