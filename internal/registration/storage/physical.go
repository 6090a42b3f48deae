package storage

import (
	"context"
	"fmt"

	"github.com/victorinix/vic/disk/lvm"
	"github.com/victorinix/vic/disk/udev"
	"github.com/victorinix/vic/internal/registration"
	"github.com/victorinix/vic/internal/registration/locate"
)

// PhysicalVolume is one of LVM that ends earlier on its device, or later. The
// volumes of its group may be in use: none of them is moved.
type PhysicalVolume struct {
	Volume locate.Volume `json:"volume"`
	// Before and After are where its last extent ends, in bytes from its start.
	Before int64 `json:"before"`
	After  int64 `json:"after"`
	// Room is the size of its device before, in bytes, if it had all of that.
	Room int64 `json:"room,omitempty"`
}

// ResizePhysical has the physical volume on a device end within a size, in bytes.
// One that does so already stays as it is.
func ResizePhysical(device string, size int64) *PhysicalVolume {
	return &PhysicalVolume{Volume: locate.Volume{Device: device}, After: size}
}

func hostLVM() lvm.LVM { return lvm.LVM{Udev: udev.Running()} }

// Kind implements registration.Change.
func (p *PhysicalVolume) Kind() string { return PhysicalKind }

func (p *PhysicalVolume) String() string {
	return fmt.Sprintf("LVM's physical volume %s from %d to %d bytes", p.Volume.Device, p.Before, p.After)
}

// Validate refuses a record that no Prepare has made.
func (p *PhysicalVolume) Validate() error {
	if p.After <= 0 || p.Before < p.After || p.Room < 0 {
		return fmt.Errorf("its sizes are %d and %d bytes, on %d", p.Before, p.After, p.Room)
	}
	return nil
}

// Prepare implements registration.Change.
func (p *PhysicalVolume) Prepare(ctx context.Context, env *registration.Env) (err error) {
	device := p.Volume.Device
	if p.Volume, err = locate.OfDevice(device); err != nil {
		return err
	}
	if p.Volume.Type != "LVM2_member" {
		return fmt.Errorf("resize %s: it holds no physical volume of LVM alone", device)
	}
	l := hostLVM()
	pv, ok, err := l.FindPV(ctx, env.Run, device)
	if err != nil {
		return err
	}
	group, found, err := l.FindVG(ctx, env.Run, pv.VG)
	if err != nil {
		return err
	}
	least, err := l.LeastPV(ctx, env.Run, device)
	switch {
	case err != nil:
		return err
	case !ok || !found || group.ExtentSize <= 0:
		return fmt.Errorf("resize %s: it belongs to no volume group", device)
	case group.Missing > 0:
		return fmt.Errorf("resize %s: %d physical volumes of %s are missing", device, group.Missing, pv.VG)
	case p.After < least:
		return fmt.Errorf("resize %s to %d bytes: its volumes lie in the first %d", device, p.After, least)
	}
	whole := func(size int64) int64 { return pv.Start + (size-pv.Start)/group.ExtentSize*group.ExtentSize }
	p.Before = pv.Start + pv.Size
	if whole(pv.DeviceSize) == p.Before {
		p.Room = pv.DeviceSize
	}
	p.After = min(whole(p.After), p.Before)
	return nil
}

// Apply implements registration.Change.
func (p *PhysicalVolume) Apply(ctx context.Context, env *registration.Env) error {
	if p.After == p.Before {
		return nil
	}
	return p.set(ctx, env, p.Volume.Device, p.After)
}

func (p *PhysicalVolume) set(ctx context.Context, env *registration.Env, device string, size int64) error {
	env.Note(fmt.Sprintf("resize the physical volume %s to %d bytes", device, size))
	_, err := env.Run.Run(ctx, hostLVM().ResizePV(device, size))
	return err
}

// Check implements registration.Change.
func (p *PhysicalVolume) Check(ctx context.Context, env *registration.Env) (registration.Standing, error) {
	device, err := p.Volume.Find()
	if err != nil {
		return registration.Standing{}, err
	}
	pv, ok, err := hostLVM().FindPV(ctx, env.Run, device)
	if err == nil && !ok {
		err = fmt.Errorf("%s holds no physical volume that LVM knows", device)
	}
	now := pv.Start + pv.Size
	switch {
	case err != nil:
		return registration.Standing{}, err
	case now == p.Before:
		return registration.Standing{Is: registration.Before}, nil
	case now == p.After:
		return registration.Standing{Is: registration.Stands}, nil
	}
	return registration.Standingf(registration.Changed, "it has %d bytes now", now), nil
}

// Revert implements registration.Change.
func (p *PhysicalVolume) Revert(ctx context.Context, env *registration.Env) error {
	device, err := p.Volume.Find()
	if err != nil {
		return err
	}
	room, err := sizeOf(device)
	if err != nil {
		return err
	}
	if room < p.Before {
		return fmt.Errorf("%s has %d bytes, the physical volume had %d: its partition comes first", device, room, p.Before)
	}
	size := p.Before
	if room == p.Room {
		size = 0
	}
	return p.set(ctx, env, device, size)
}
