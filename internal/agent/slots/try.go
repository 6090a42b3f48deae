package slots

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/internal/agent/ramsys"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/internal/slot"
	"github.com/victorinix/vic/internal/stage/direct"
	"github.com/victorinix/vic/internal/stage/volume"
)

// tryArgument is what the kernel tells the firmware at a reboot: partition 0 (the
// default), and the flag that holds for one start.
const tryArgument = "0 tryboot"

// settled refuses to change anything while an update is on trial.
func (c card) settled() error {
	choice, err := c.choice()
	if err != nil {
		return err
	}
	switch {
	case choice.Default != c.id.Partition:
		return fmt.Errorf("slot %s runs, and slot %s is the default: an update is on trial", slot.Name(c.id.Partition), slot.Name(choice.Default))
	case choice.Back != 0:
		return fmt.Errorf("slot %s was not kept yet: an update is on trial", slot.Name(choice.Default))
	}
	return nil
}

// write writes the other slot.
func (c card) write(o slot.Order, stream func(device) error) error {
	n, err := c.other()
	if err != nil {
		return err
	}
	if disk := fmt.Sprintf("%08x", c.id.Disk); o.Disk != disk || o.Slot != n {
		return fmt.Errorf("the system is for slot %s of card %s; what can be written is slot %s of card %s", slot.Name(o.Slot), o.Disk, slot.Name(n), disk)
	}
	if err := c.settled(); err != nil {
		return err
	}
	claim, err := c.claim(n)
	if err != nil {
		return err
	}
	defer claim.Close()
	d, err := direct.Open(c.path, os.O_RDWR, c.slots[n].offset, c.slots[n].size)
	if err != nil {
		return err
	}
	return errors.Join(stream(d), d.Close())
}

// check reads the other slot, and compares it with its manifest.
func (c card) check(ctx context.Context, sink event.Sink) (slot.Manifest, error) {
	n, err := c.other()
	if err != nil {
		return slot.Manifest{}, err
	}
	d, err := c.open(n, os.O_RDONLY)
	if err != nil {
		return slot.Manifest{}, err
	}
	defer d.Close()
	m, err := checkSlot(ctx, d, sink)
	if err != nil {
		return m, fmt.Errorf("slot %s is not whole: %w", slot.Name(n), err)
	}
	return m, nil
}

func checkSlot(ctx context.Context, d device, sink event.Sink) (slot.Manifest, error) {
	m, err := readManifest(d)
	if err != nil {
		return m, err
	}
	list, err := extents(d, m)
	if err != nil {
		return m, err
	}
	return m, verify(ctx, d, list, newProgress(sink, event.Verify, "read", slot.Order{Extents: list}))
}

// prepareTrial has the firmware try the other slot, once, at a reboot with
// tryArgument. Any other reset starts the slot that runs.
func prepareTrial(a device, running int) error {
	return choose(a, slot.Choice{Default: running, Try: slot.Other(running)})
}

// prepareDefault has the firmware start the other slot, whatever it is told. That
// slot goes back by itself, once its services run.
func prepareDefault(a device, running int) error {
	return choose(a, slot.Choice{Default: slot.Other(running), Try: running, Back: running})
}

// try reboots into the other slot; tryboot says whether the firmware is told to do
// that once.
func (c card) try(tryboot bool) error {
	n, err := c.other()
	if err != nil {
		return err
	}
	if err := c.settled(); err != nil {
		return err
	}
	d, err := c.open(n, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer d.Close()
	if _, err := readManifest(d); err != nil {
		return fmt.Errorf("slot %s has no system: %w", slot.Name(n), err)
	}
	a, err := c.open(slot.A, os.O_RDWR)
	if err != nil {
		return err
	}
	defer a.Close()
	if tryboot {
		err = errors.Join(prepareTrial(a, c.id.Partition), os.WriteFile(ramsys.RebootArgument, []byte(tryArgument), 0o600))
	} else {
		err = prepareDefault(a, c.id.Partition)
	}
	if err != nil {
		return err
	}
	if err := unix.Kill(1, unix.SIGINT); err != nil {
		return fmt.Errorf("reboot: %w", err)
	}
	return nil
}

// keep makes the slot that runs the default.
func (c card) keep() error {
	a, err := c.open(slot.A, os.O_RDWR)
	if err != nil {
		return err
	}
	defer a.Close()
	return choose(a, slot.Choice{Default: c.id.Partition, Try: slot.Other(c.id.Partition)})
}

// leave makes the other slot the default again, where it is not.
func (c card) leave(to int) error {
	a, err := c.open(slot.A, os.O_RDWR)
	if err != nil {
		return err
	}
	defer a.Close()
	return choose(a, slot.Choice{Default: to, Try: slot.Other(to)})
}

// firstStage is bootcode.bin of slot A.
func (c card) firstStage() ([]byte, error) {
	a, err := c.open(slot.A, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	v, err := volume.Open(a)
	if err != nil {
		return nil, err
	}
	return v.ReadFile(slot.FirstStageFile)
}
