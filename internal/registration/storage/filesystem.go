package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/victorinix/vic/disk/resize"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
	"github.com/victorinix/vic/internal/tool"
)

// Filesystem is a file system that is made smaller or larger. It may be mounted
// where its format allows that: btrfs always, ext and xfs when they grow.
type Filesystem struct {
	Volume locate.Volume `json:"volume"`
	// Before and After are sizes in bytes, as the file system takes them.
	Before int64 `json:"before"`
	After  int64 `json:"after"`

	unmounted bool // by the time of Apply
}

// Resize is a change of the size of the file system on a device, in bytes,
// which is rounded down as the format needs it.
func Resize(device string, size int64) *Filesystem {
	return &Filesystem{Volume: locate.Volume{Device: device}, After: size}
}

// ShrinkUnmounted is Resize to at most a size, at a time when the file system will
// not be mounted, as in the RAM system: for Store.Announce.
func ShrinkUnmounted(device string, size int64) *Filesystem {
	f := Resize(device, size)
	f.unmounted = true
	return f
}

// Kind implements registration.Change.
func (f *Filesystem) Kind() string { return FilesystemKind }

func (f *Filesystem) String() string {
	verb := "shrunk"
	if f.After > f.Before {
		verb = "grown"
	}
	return fmt.Sprintf("%s on %s %s from %d to %d bytes", f.Volume.Type, f.Volume.Device, verb, f.Before, f.After)
}

// Prepare implements registration.Change.
func (f *Filesystem) Prepare(_ context.Context, _ *registration.Env) (err error) {
	if f.Volume, err = locate.OfDevice(f.Volume.Device); err != nil {
		return err
	}
	if f.Volume.UUID == "" {
		return fmt.Errorf("resize %s: it has no file system with a UUID, by which it could be found again", f.Volume.Device)
	}
	m, err := mountsOf(f.Volume.Device)
	if err != nil {
		return err
	}
	if f.Before, err = f.size(f.Volume.Device, m); err != nil {
		return err
	}
	if f.unmounted {
		f.After = min(f.After, f.Before)
	}
	if unit, err := blockSize(f.Volume.Type, f.Volume.Device); err != nil {
		return err
	} else if unit > 0 {
		f.After -= f.After % unit
	}
	if !f.unmounted && len(m) > 0 && f.After < f.Before && f.Volume.Type != "btrfs" {
		return fmt.Errorf("shrink %s: an %s that is mounted (on %s) cannot be made smaller", f.Volume.Device, f.Volume.Type, m[0])
	}
	return nil
}

// size is what it takes now. m is where it is mounted.
func (f *Filesystem) size(device string, m []string) (int64, error) {
	if f.Volume.Type == "btrfs" && len(m) > 0 {
		_, size, err := btrfsDevice(device, m[0])
		return size, err
	}
	return resize.Size(f.Volume.Type, device)
}

// Apply implements registration.Change. What it comes to, where the format
// rounds in its own way, is recorded afterwards.
func (f *Filesystem) Apply(ctx context.Context, env *registration.Env) (err error) {
	f.After, err = f.set(ctx, env, f.Volume.Device, f.After, false)
	return err
}

// set gives the file system a size, and returns the one that it has then.
func (f *Filesystem) set(ctx context.Context, env *registration.Env, device string, size int64, resumed bool) (int64, error) {
	m, err := mountsOf(device)
	if err != nil {
		return 0, err
	}
	env.Note(fmt.Sprintf("resize %s on %s to %d bytes", f.Volume.Type, device, size))
	if len(m) == 0 {
		return resize.Resize(ctx, env.Run, f.Volume.Type, device, size, resize.Options{Resumed: resumed})
	}
	cmd, err := f.mountedCommand(device, m[0], size)
	if err != nil {
		return 0, err
	}
	if _, err := env.Run.Run(ctx, cmd); err != nil {
		if f.Volume.Type == "btrfs" && strings.Contains(err.Error(), "Text file busy") {
			err = fmt.Errorf("the kernel swaps to a file in what would be cut off, and does not move it: turn it off (swapoff): %w", err)
		}
		return 0, fmt.Errorf("resize %s on %s, which is mounted on %s: %w", f.Volume.Type, device, m[0], err)
	}
	if err := syncFilesystem(m[0]); err != nil {
		return 0, err
	}
	return f.size(device, m)
}

func (f *Filesystem) mountedCommand(device, mounted string, size int64) (tool.Cmd, error) {
	switch f.Volume.Type {
	case "btrfs":
		id, _, err := btrfsDevice(device, mounted)
		return resize.ResizeBtrfsCommand(mounted, id, size), err
	case "ext2", "ext3", "ext4":
		return resize.ResizeExtCommand(device, size), nil
	case "xfs":
		unit, err := blockSize("xfs", device)
		return resize.GrowXFSCommand(mounted, size/max(unit, 1)), err
	}
	return tool.Cmd{}, fmt.Errorf("resize %s on %s: it is mounted on %s", f.Volume.Type, device, mounted)
}

// stands says whether a size is what the change comes to. An ext may be smaller
// than resize2fs was told to make it: a last group of blocks without room for its
// own tables goes with the rest. Who announces a size does not know that yet.
func (f *Filesystem) stands(device string, now int64) (bool, error) {
	if now >= f.After || f.After >= f.Before || !strings.HasPrefix(f.Volume.Type, "ext") {
		return now == f.After, nil
	}
	block, err := blockSize(f.Volume.Type, device)
	group := 8 * block * block // a bitmap of one block
	return f.After-now < group, err
}

// Check implements registration.Change.
func (f *Filesystem) Check(_ context.Context, _ *registration.Env) (registration.Standing, error) {
	device, err := f.Volume.Find()
	if err != nil {
		return registration.Standing{}, err
	}
	m, err := mountsOf(device)
	if err != nil {
		return registration.Standing{}, err
	}
	interrupted, err := f.interrupted(device)
	if err != nil {
		return registration.Standing{}, err
	}
	now, err := f.size(device, m)
	if err != nil {
		return registration.Standing{}, err
	}
	stands, err := f.stands(device, now)
	switch {
	case err != nil:
		return registration.Standing{}, err
	case interrupted:
		return registration.Standingf(registration.Partly, "it was interrupted, and needs a repair"), nil
	case now == f.Before:
		return registration.Standing{Is: registration.Before}, nil
	case stands:
		return registration.Standing{Is: registration.Stands}, nil
	}
	return registration.Standingf(registration.Changed, "it has %d bytes now", now), nil
}

// Revert implements registration.Change.
func (f *Filesystem) Revert(ctx context.Context, env *registration.Env) error {
	device, err := f.Volume.Find()
	if err != nil {
		return err
	}
	room, err := sizeOf(device)
	if err != nil {
		return err
	}
	if room < f.Before {
		return fmt.Errorf("%s has %d bytes, the file system had %d: its partition comes first", device, room, f.Before)
	}
	if err := f.repair(ctx, env, device); err != nil {
		return err
	}
	now, err := f.set(ctx, env, device, f.Before, true)
	if err == nil && now != f.Before {
		err = fmt.Errorf("%s has %d bytes afterwards instead of %d", device, now, f.Before)
	}
	return err
}

// repair ends what an interrupted resize2fs has left.
func (f *Filesystem) repair(ctx context.Context, env *registration.Env, device string) error {
	interrupted, err := f.interrupted(device)
	if err != nil || !interrupted {
		return err
	}
	m, err := mountsOf(device)
	if err != nil {
		return err
	}
	if len(m) > 0 {
		return fmt.Errorf("%s was interrupted while it was resized, and is mounted on %s: it has to be repaired while it is not", device, m[0])
	}
	env.Note("repair " + device)
	_, err = env.Run.Run(ctx, tool.Cmd{Name: "e2fsck", Args: []string{"-f", "-y", device}})
	var failed *tool.Error
	if errors.As(err, &failed) && failed.Exit == 1 { // it repaired
		return nil
	}
	return err
}
