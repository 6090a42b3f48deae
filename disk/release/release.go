// Package release stops what stands on a disk: swap, LUKS and plain containers,
// volume groups and arrays, as deep as they are stacked, the topmost first.
//
// It refuses when anything of it is in use, with the users' names, before
// anything is stopped. A pool of ZFS counts as in use when it is imported. It
// unmounts nothing, and turns no swap off when memory has no room for what is
// in it.
//
//	sda3 <- LUKS crypt <- LVM vg0 <- LVM volumes root, home     stop: vg0, crypt
//	sda4 <- md127 -> sdb4                                       stop: md127
//	sda5 <- swap                                                stop: sda5
package release

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/luks"
	"github.com/victorinix/vic/disk/lvm"
	"github.com/victorinix/vic/disk/md"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/disk/udev"
	"github.com/victorinix/vic/internal/tool"
)

// Stop is one thing to be stopped.
type Stop struct {
	Kind Kind
	Name string // of a group, or a mapping; the kernel name of an array or swap
}

// Kind is what kind of thing stands on a device.
type Kind string

// The kinds that can be stopped.
const (
	Crypt Kind = "container"    // LUKS or plain: cryptsetup
	Group Kind = "volume group" // LVM
	Array Kind = "array"        // MD
	Other Kind = "mapping"      // another one of device mapper
	Swap  Kind = "swap"         // swapoff(2)
)

// String is "volume group vg0".
func (s Stop) String() string { return string(s.Kind) + " " + s.Name }

// BusyError says what is in use, a chain for each user: "/dev/sda3 held by dm-0
// (LVM vg0/root) mounted on /home".
type BusyError struct{ Users []string }

func (e *BusyError) Error() string { return "in use: " + strings.Join(e.Users, "; ") }

// Disk stops what stands on a disk, by its kernel name. What stands on nothing
// but partitions that lie in keep stays, whether it is in use or not. The
// error wraps a *BusyError when something is in use; nothing is stopped then.
func Disk(ctx context.Context, r tool.Runner, name string, keep []disk.Range) ([]Stop, error) {
	if err := udev.Settle(ctx, r); err != nil {
		return nil, err
	}
	stops, err := Find("/", name, keep)
	if err != nil {
		return nil, fmt.Errorf("release /dev/%s: %w", name, err)
	}
	for i, s := range stops {
		if err := s.stop(ctx, r); err != nil {
			return stops[:i], fmt.Errorf("release /dev/%s: %w", name, err)
		}
	}
	return stops, nil
}

// Command is what stops it, unless it is swap.
func (s Stop) Command(hasUdev bool) tool.Cmd {
	switch s.Kind {
	case Group:
		return lvm.LVM{Udev: hasUdev}.Deactivate(s.Name)
	case Array:
		return md.StopCommand(sysfs.Node(s.Name))
	case Crypt:
		return luks.CloseCommand(s.Name)
	}
	return tool.Cmd{Name: "dmsetup", Args: []string{"remove", s.Name}}
}

func (s Stop) stop(ctx context.Context, r tool.Runner) error {
	if s.Kind == Swap {
		return disk.SwapOff(sysfs.Node(s.Name))
	}
	c := s.Command(udev.Running())
	if s.Kind != Group {
		c.Env = append(c.Env, udev.Env()...)
	}
	if _, err := r.Run(ctx, c); err != nil {
		return fmt.Errorf("stop %s: %w", s, err)
	}
	return udev.Settle(ctx, r)
}

// Find lists what has to be stopped, in order. The error is a *BusyError when
// something is in use, all users at once.
func Find(root sysfs.Root, name string, keep []disk.Range) ([]Stop, error) {
	w, err := newWalk(root)
	if err != nil {
		return nil, err
	}
	parts, err := w.partitions(name)
	if err != nil {
		return nil, err
	}
	names := []string{name}
	for _, p := range parts {
		if !within(p.r, keep) {
			names = append(names, p.name)
		}
	}
	for _, n := range names {
		if err := w.visit(n, sysfs.Node(n)); err != nil {
			return nil, err
		}
		if root != "/" {
			continue
		}
		switch p, err := pool(sysfs.Node(n)); {
		case err != nil:
			return nil, err
		case p != "":
			w.busy = append(w.busy, sysfs.Node(n)+" in "+p)
		}
	}
	if err := w.swapsFit(); err != nil {
		return nil, err
	}
	if len(w.busy) > 0 {
		slices.Sort(w.busy)
		return nil, &BusyError{slices.Compact(w.busy)}
	}
	return w.stops, nil
}

func within(r disk.Range, keep []disk.Range) bool {
	return slices.ContainsFunc(keep, func(k disk.Range) bool {
		return r.Offset >= k.Offset && r.Offset+r.Size <= k.Offset+k.Size
	})
}
