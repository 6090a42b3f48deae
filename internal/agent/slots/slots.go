// Package slots is the appliance's side of an update: it says which slot of the card
// runs, writes the other one, and has the firmware try and keep it. See the contract
// in internal/slot.
//
// It writes to the slot that does not run, and to one sector, autoboot.txt in slot A;
// never to anything else. All that it reads and writes goes past the page cache.
//
// What the firmware needs to start the slot that runs stays readable at all times:
// that slot, and of slot A also boot sector, allocation table and root directory as
// far as they lead to autoboot.txt and bootcode.bin, and these two files. When slot A
// is written to, they have the same place before and after (fat.Config.Anchored), so
// that each sector of the tables can be the old or the new one: see anchors.
package slots

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/internal/agent/appliance"
	"github.com/victorinix/vic/internal/agent/ramsys"
	"github.com/victorinix/vic/internal/slot"
	"github.com/victorinix/vic/internal/stage/direct"
)

// device is a slot, or a file in place of one.
type device interface {
	io.ReaderAt
	io.WriterAt
	Size() int64
	Sync() error
}

// area is a slot, in bytes from the beginning of the card.
type area struct{ offset, size int64 }

// card is the card that the machine was started from.
type card struct {
	id    appliance.ID // of the slot that runs
	path  string       // /dev/mmcblk0
	slots map[int]area
}

// ErrNoAppliance: the machine was not started from a slot.
var ErrNoAppliance = errors.New("this machine runs from no slot of a card")

// openCard finds the card.
func openCard() (card, error) {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return card{}, err
	}
	c := card{id: ramsys.ParseCmdline(string(line)).System.Slot}
	if c.id == (appliance.ID{}) {
		return c, ErrNoAppliance
	}
	if c.path, err = appliance.Find(c.id); err != nil {
		return c, fmt.Errorf("find the card with slot %s: %w", c.id, err)
	}
	f, err := disk.Open(c.path, os.O_RDONLY)
	if err != nil {
		return c, err
	}
	defer f.Close()
	table, err := disk.ReadMBR(f)
	if err != nil {
		return c, fmt.Errorf("card %s: %w", c.path, err)
	}
	c.slots = areas(table)
	return c, nil
}

// areas are the slots of a table.
func areas(t layout.Table) map[int]area {
	list := map[int]area{}
	for _, e := range t.Entries {
		if e.Number == slot.A || e.Number == slot.B {
			list[e.Number] = area{int64(e.FirstLBA) * int64(t.SectorSize), e.Size(t.SectorSize)}
		}
	}
	return list
}

// numbers are those of the slots that there are.
func (c card) numbers() []int {
	var list []int
	for n := range c.slots {
		list = append(list, n)
	}
	slices.Sort(list)
	return list
}

// open opens a slot, as a range of the card: a slot that is mounted can be read, and
// its autoboot.txt written.
func (c card) open(number, flag int) (*direct.Device, error) {
	a, ok := c.slots[number]
	if !ok {
		return nil, fmt.Errorf("card %s has no slot %s", c.path, slot.Name(number))
	}
	return direct.Open(c.path, flag|unix.O_DSYNC, a.offset, a.size)
}

// claim keeps a slot from being mounted or written to by somebody else, or says that
// it is.
func (c card) claim(number int) (io.Closer, error) {
	f, err := os.OpenFile(disk.PartitionPath(c.path, number), os.O_RDONLY|unix.O_EXCL|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EBUSY) {
		return nil, fmt.Errorf("slot %s is in use: another update is under way, or it is mounted", slot.Name(number))
	}
	return f, err
}

// autoboot reads autoboot.txt.
func (c card) autoboot() ([]byte, error) {
	a, err := c.open(slot.A, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer a.Close()
	return readAutoboot(a)
}

// choice reads which slot starts.
func (c card) choice() (slot.Choice, error) {
	text, err := c.autoboot()
	if err != nil {
		return slot.Choice{}, err
	}
	return slot.ParseChoice(text)
}

// other is the number of the slot that does not run, where the card has one.
func (c card) other() (int, error) {
	n := slot.Other(c.id.Partition)
	if _, ok := c.slots[n]; !ok {
		return 0, fmt.Errorf("card %s has no slot %s: it is too small", c.path, slot.Name(n))
	}
	return n, nil
}
