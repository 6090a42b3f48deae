package release

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/dm"
	"github.com/victorinix/vic/disk/sysfs"
)

// walk goes from a device to what stands on it.
type walk struct {
	root   sysfs.Root
	mounts []sysfs.Mount
	swaps  []sysfs.Swap
	loops  map[string]string // backing device -> loop device
	maps   []dm.Mapping
	seen   map[string]bool // kernel names, and VG/name
	stops  []Stop          // the topmost first
	busy   []string

	swapped []swapped
}

func newWalk(root sysfs.Root) (*walk, error) {
	w := &walk{root: root, seen: map[string]bool{}, loops: map[string]string{}}
	var err error
	if w.mounts, err = root.Mounts(); err != nil {
		return nil, err
	}
	if w.maps, err = dm.List(root); err != nil {
		return nil, err
	}
	if w.swaps, err = root.Swaps(); err != nil {
		return nil, err
	}
	return w, w.backing()
}

// backing finds loop devices that stand on block devices.
func (w *walk) backing() error {
	loops, err := w.root.Loops()
	if err != nil {
		return err
	}
	for file, n := range loops {
		if strings.HasPrefix(file, "/dev/") {
			w.loops[w.root.KernelName(file)] = n
		}
	}
	return nil
}

// partition is one with its place on the disk, in bytes.
type partition struct {
	name string
	r    disk.Range
}

func (w *walk) partitions(name string) ([]partition, error) {
	names, err := w.root.Partitions(name)
	if err != nil {
		return nil, err
	}
	var list []partition
	for _, n := range names {
		start, err := w.root.Number("sys/block", name, n, "start")
		if err != nil {
			return nil, fmt.Errorf("read partition %s: %w", n, err)
		}
		size, err := w.root.Number("sys/block", name, n, "size")
		if err != nil {
			return nil, fmt.Errorf("read partition %s: %w", n, err)
		}
		list = append(list, partition{n, disk.Range{Offset: start * 512, Size: size * 512}})
	}
	return list, nil
}

// visit looks for users of a device, and then of what stands on it; chain says
// how people come to it.
func (w *walk) visit(name, chain string) error {
	if w.seen[name] {
		return nil
	}
	w.seen[name] = true
	dir := "sys/class/block/" + name
	dev, err := w.root.Text(dir, "dev")
	if err != nil {
		return fmt.Errorf("read device number of %s: %w", name, err)
	}
	w.users(name, dev, chain)
	holders, err := w.root.Names(dir, "holders")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list holders of %s: %w", name, err)
	}
	if loop := w.loops[name]; loop != "" {
		holders = append(holders, loop)
	}
	for _, h := range holders {
		if err := w.holder(h, chain); err != nil {
			return err
		}
	}
	return nil
}

// users notes mounts, and swap, which is stopped first if it can be.
func (w *walk) users(name, dev, chain string) {
	for _, m := range w.mounts {
		// btrfs has a device number of its own.
		if m.Dev == dev || strings.HasPrefix(m.Source, "/dev/") && w.root.KernelName(m.Source) == name {
			w.busy = append(w.busy, chain+" mounted on "+m.Target)
		}
	}
	if s := w.swap(name); s != nil {
		w.swapped = append(w.swapped, swapped{*s, chain})
		w.stops = append(w.stops, Stop{Swap, name})
	}
}

// swap is the one on a device, if there is one.
func (w *walk) swap(name string) *sysfs.Swap {
	for i, s := range w.swaps {
		if w.root.KernelName(s.Path) == name {
			return &w.swaps[i]
		}
	}
	return nil
}

// swapped is a swap that has to be turned off.
type swapped struct {
	sysfs.Swap
	chain string
}

// spare is the memory that has to be available beyond what comes back from
// swap, in bytes: turning swap off must not make the kernel kill programs.
const spare = 64 << 20

// swapsFit notes the swaps as users when memory has no room for what is in
// them.
func (w *walk) swapsFit() error {
	var used int64
	for _, s := range w.swapped {
		used += s.Used
	}
	if used == 0 {
		return nil
	}
	available, err := w.root.Available()
	if err != nil || available >= used+spare {
		return err
	}
	for _, s := range w.swapped {
		w.busy = append(w.busy, fmt.Sprintf("%s is swap: turning it off takes %d MiB of memory and %d MiB to spare, %d MiB are available", s.chain, mib(used), mib(spare), available>>20))
	}
	return nil
}

// mib rounds up.
func mib(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// holder visits a device that stands on another, and everything on it, and then
// notes that it has to be stopped.
func (w *walk) holder(name, below string) error {
	m, is := w.mapping(name)
	vg, _, isLV := m.LV()
	switch {
	case isLV:
		return w.group(vg, below)
	case is:
		return w.stack(name, fmt.Sprintf("%s held by %s (%s %s)", below, name, m.Kind(), m.Name), mapped(m))
	case w.has(name, "md"):
		return w.stack(name, fmt.Sprintf("%s held by %s", below, name), &Stop{Array, name})
	}
	return w.stack(name, fmt.Sprintf("%s held by %s", below, name), nil)
}

// mapped is how a mapping is stopped; nil for multipath, whose daemon would
// make it again.
func mapped(m dm.Mapping) *Stop {
	switch {
	case strings.HasPrefix(m.UUID, "mpath-"):
		return nil
	case strings.HasPrefix(m.UUID, "CRYPT-"):
		return &Stop{Crypt, m.Name}
	}
	return &Stop{Other, m.Name}
}

// stack visits what stands on a device and its partitions. What cannot be
// stopped is in use by its being there.
func (w *walk) stack(name, chain string, s *Stop) error {
	if w.seen[name] {
		return nil
	}
	if s == nil {
		w.busy = append(w.busy, chain)
	}
	before := len(w.busy)
	if err := w.visit(name, chain); err != nil {
		return err
	}
	parts, err := w.partitions(name)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := w.visit(p.name, chain+" with "+p.name); err != nil {
			return err
		}
	}
	if s != nil {
		w.stops = append(w.stops, *s)
		if len(w.busy) == before {
			w.opened(name, chain)
		}
	}
	return nil
}

// group visits all volumes of a volume group, also those that stand on other
// disks: LVM stops them together.
func (w *walk) group(vg, below string) error {
	if w.seen["VG/"+vg] {
		return nil
	}
	w.seen["VG/"+vg] = true
	for _, m := range w.maps {
		if other, lv, ok := m.LV(); ok && other == vg {
			chain := fmt.Sprintf("%s held by %s (LVM %s/%s)", below, m.Kernel, vg, lv)
			before := len(w.busy)
			if err := w.visit(m.Kernel, chain); err != nil {
				return err
			}
			if len(w.busy) == before {
				w.opened(m.Kernel, chain)
			}
		}
	}
	w.stops = append(w.stops, Stop{Group, vg})
	return nil
}

func (w *walk) mapping(kernel string) (dm.Mapping, bool) {
	i := slices.IndexFunc(w.maps, func(m dm.Mapping) bool { return m.Kernel == kernel })
	if i < 0 {
		return dm.Mapping{}, false
	}
	return w.maps[i], true
}

// has says whether a directory of a device's is there and not empty.
func (w *walk) has(name, dir string) bool {
	names, err := w.root.Names("sys/block", name, dir)
	return err == nil && len(names) > 0
}

// opened notes the processes that have a device open: it cannot be stopped
// then, though nothing stands on it. Mounts in other name spaces show by the
// kernel's refusal of exclusive access.
func (w *walk) opened(name, chain string) {
	dev, err := w.root.Text("sys/block", name, "dev")
	if err != nil || w.has(name, "holders") || w.swap(name) != nil {
		return // it has gone, or others hold it
	}
	found := w.processes(dev)
	for _, p := range found {
		w.busy = append(w.busy, chain+" open in "+p)
	}
	if len(found) > 0 || w.root != "/" {
		return
	}
	f, err := os.OpenFile(sysfs.Node(name), os.O_RDONLY|unix.O_EXCL, 0)
	switch {
	case err == nil:
		_ = f.Close() // it was only asked for
	case errors.Is(err, unix.EBUSY):
		w.busy = append(w.busy, chain+" held by the kernel")
	}
}

// processes lists those that have a block device open: "cat (123)". A process
// that ends meanwhile, or belongs to another name space, is not seen; the
// program that stops the device refuses then.
func (w *walk) processes(dev string) []string {
	dirs, err := filepath.Glob(filepath.Join(string(w.root), "proc/[0-9]*/fd"))
	if err != nil {
		return nil
	}
	var list []string
	for _, dir := range dirs {
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		pid := filepath.Base(filepath.Dir(dir))
		for _, fd := range fds {
			if number(filepath.Join(dir, fd.Name())) == dev {
				name, err := w.root.Text("proc", pid, "comm")
				if err == nil {
					list = append(list, fmt.Sprintf("%s (%s)", name, pid))
				}
				break
			}
		}
	}
	return list
}
