package storage

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/probe"
	"github.com/victorinix/vic/disk/sysfs"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
)

// Swap is a swap area that is given up: the kernel stops swapping to it, and its
// header is cleared. What is kept of it is the header, which is all that there
// is to a swap area: UUID, label, size, page size.
type Swap struct {
	Area locate.Area `json:"area"`
	// Header is its first page, and UUID is in it.
	Header packed `json:"header"`
	UUID   string `json:"uuid"`
	Label  string `json:"label,omitempty"`
	// On says that it was swapped to.
	On bool `json:"on,omitempty"`
	// Holds is the UUID of the file system that vic makes in its place.
	Holds string `json:"holds,omitempty"`
}

// GiveUp gives up the swap area on a device. Holds is the UUID of what vic makes
// in its place; empty: nothing.
func GiveUp(device, holds string) *Swap {
	return &Swap{Area: locate.Area{Device: device}, Holds: holds}
}

// Kind implements registration.Change.
func (s *Swap) Kind() string { return SwapKind }

func (s *Swap) String() string {
	return fmt.Sprintf("swap area %s (%s) given up", s.Area.Device, s.UUID)
}

// Validate refuses a record that no Prepare has made.
func (s *Swap) Validate() error {
	if n := len(s.Header); n < 4<<10 || n > 64<<10 || s.UUID == "" {
		return fmt.Errorf("a header of %d bytes is none of a swap area", n)
	}
	return nil
}

// Prepare implements registration.Change.
func (s *Swap) Prepare(_ context.Context, _ *registration.Env) (err error) {
	if s.Area, err = locate.OfArea(s.Area.Device); err != nil {
		return err
	}
	list, err := locate.Contents(s.Area.Device)
	if err != nil {
		return err
	}
	if len(list) != 1 || list[0].Type != "swap" || list[0].UUID == "" {
		return fmt.Errorf("%s holds no swap area that can be given up: %v", s.Area.Device, types(list))
	}
	s.UUID, s.Label = list[0].UUID, list[0].Label
	if s.Header, err = readAt(s.Area.Device, 0, int(list[0].BlockSize)); err != nil {
		return err
	}
	s.On, err = swappedTo(s.Area.Device)
	return err
}

func types(list []probe.Result) (names []string) {
	for _, r := range list {
		names = append(names, r.Type)
	}
	return names
}

func isSwap(uuid string) func(probe.Result) bool {
	return func(r probe.Result) bool { return r.Type == "swap" && r.UUID == uuid }
}

// swappedTo says whether the kernel swaps to a device.
func swappedTo(device string) (bool, error) {
	swaps, err := sysfs.Root("/").Swaps()
	return slices.ContainsFunc(swaps, func(s sysfs.Swap) bool { return sameDevice(s.Path, device) }), err
}

// Apply implements registration.Change.
func (s *Swap) Apply(_ context.Context, env *registration.Env) error {
	if s.On {
		env.Note("stop swapping to " + s.Area.Device)
		if err := disk.SwapOff(s.Area.Device); err != nil {
			return err
		}
	}
	return s.write(env, s.Area.Device, make([]byte, len(s.Header)))
}

// write puts the first page. Nobody else may have the device open.
func (s *Swap) write(env *registration.Env, device string, page []byte) error {
	env.Note("write the first page of " + device)
	f, err := disk.Open(device, os.O_RDWR)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(page, 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Check implements registration.Change.
func (s *Swap) Check(_ context.Context, env *registration.Env) (registration.Standing, error) {
	device, err := s.Area.Find()
	if errors.Is(err, locate.ErrNotFound) && s.Area.Disk != nil {
		if _, diskErr := s.Area.Disk.Find(); diskErr == nil {
			return registration.Standingf(registration.Stands, "its partition is not there"), nil
		}
	}
	if err != nil {
		return registration.Standing{}, err
	}
	list, err := locate.Contents(device)
	if err != nil {
		return registration.Standing{}, err
	}
	for _, r := range list {
		switch {
		case r.Type == "swap" && r.UUID == s.UUID:
			return s.checkOn(env, device)
		case s.Holds == "" || !strings.EqualFold(r.UUID, s.Holds):
			return registration.Standingf(registration.Changed, "it holds %s %s now", r.Type, r.UUID), nil
		}
	}
	return registration.Standing{Is: registration.Stands}, nil
}

// checkOn looks whether an area that is there again is swapped to.
func (s *Swap) checkOn(env *registration.Env, device string) (registration.Standing, error) {
	now, err := readAt(device, 0, len(s.Header))
	if err != nil {
		return registration.Standing{}, err
	}
	wanted, _, err := s.wanted(env, device)
	if err != nil {
		return registration.Standing{}, err
	}
	on, err := swappedTo(device)
	switch {
	case err != nil:
		return registration.Standing{}, err
	case !bytes.Equal(now, s.Header):
		return registration.Standingf(registration.Changed, "somebody made it anew"), nil
	case wanted && !on:
		return registration.Standingf(registration.Partly, "it is not swapped to"), nil
	}
	return registration.Standing{Is: registration.Before}, nil
}

// wanted says whether it should be swapped to, with the options of fstab.
func (s *Swap) wanted(env *registration.Env, device string) (bool, []string, error) {
	if !s.On {
		return false, nil, nil
	}
	return inFstab(env, func(spec string) bool { return s.named(spec, device) })
}

// inFstab looks for a line of swap in fstab, and returns its options.
func inFstab(env *registration.Env, named func(spec string) bool) (bool, []string, error) {
	text, err := os.ReadFile(env.Path("/etc/fstab"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil, nil // as in the RAM system
	}
	if err != nil {
		return false, nil, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) >= 3 && f[2] == "swap" && named(f[0]) {
			return true, strings.Split(strings.Join(f[3:min(4, len(f))], ""), ","), nil
		}
	}
	return false, nil, nil
}

// named says whether a line of fstab means the area.
func (s *Swap) named(spec, device string) bool {
	tag, value, ok := strings.Cut(spec, "=")
	value = strings.Trim(value, `"`)
	switch {
	case !ok:
		return sameDevice(spec, device)
	case tag == "UUID":
		return strings.EqualFold(value, s.UUID)
	case tag == "LABEL":
		return value == s.Label
	case tag == "PARTUUID":
		return s.Area.Disk != nil && strings.EqualFold(value, s.Area.Partition.String())
	}
	return false
}

// Revert implements registration.Change.
func (s *Swap) Revert(ctx context.Context, env *registration.Env) error {
	device, err := s.Area.Find()
	if err != nil {
		return fmt.Errorf("%w: its partition comes first", err)
	}
	if err := s.fits(device); err != nil {
		return err
	}
	list, err := locate.Contents(device)
	if err != nil {
		return err
	}
	if there := slices.ContainsFunc(list, isSwap(s.UUID)); !there {
		if len(list) > 0 {
			if err := wipe(ctx, env, device); err != nil {
				return err
			}
		}
		if err := s.write(env, device, s.Header); err != nil {
			return err
		}
	}
	wanted, options, err := s.wanted(env, device)
	if err != nil || !wanted {
		return err
	}
	env.Note("swap to " + device)
	return disk.SwapOn(device, priorityOf(options), options)
}

// fits says whether the area is as large as its header says.
func (s *Swap) fits(device string) error {
	size, err := sizeOf(device)
	if err != nil {
		return err
	}
	last := int64(binary.LittleEndian.Uint32(s.Header[1028:])) // last_page, include/linux/swap.h
	if need := (last + 1) * int64(len(s.Header)); binary.LittleEndian.Uint32(s.Header[1024:]) == 1 && size < need {
		return fmt.Errorf("%s has %d bytes, the swap area had %d: its partition comes first", device, size, need)
	}
	return nil
}

// priorityOf is pri= of fstab.
func priorityOf(options []string) *int {
	for _, o := range options {
		if v, ok := strings.CutPrefix(o, "pri="); ok {
			if n, err := strconv.Atoi(v); err == nil {
				return &n
			}
		}
	}
	return nil
}
