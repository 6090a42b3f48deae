package slots

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/victorinix/vic/internal/slot"
	"github.com/victorinix/vic/internal/stage/volume"
)

// sectorSize is what is written as a whole or not at all.
const sectorSize = 512

// findChoice is where autoboot.txt is in slot A.
func findChoice(a device) (offset int64, err error) {
	fs, err := volume.Open(a)
	if err != nil {
		return 0, fmt.Errorf("slot A: %w", err)
	}
	offset, size, err := fs.Extent(slot.AutobootFile)
	switch {
	case err != nil:
		return 0, fmt.Errorf("slot A: %w", err)
	case size != slot.AutobootSize || offset%sectorSize != 0:
		return 0, fmt.Errorf("slot A: %s has %d bytes at %d, not %d at the beginning of a sector", slot.AutobootFile, size, offset, slot.AutobootSize)
	}
	return offset, nil
}

func readAutoboot(a device) ([]byte, error) {
	at, err := findChoice(a)
	if err != nil {
		return nil, err
	}
	b := make([]byte, slot.AutobootSize)
	if _, err := a.ReadAt(b, at); err != nil {
		return nil, fmt.Errorf("read %s: %w", slot.AutobootFile, err)
	}
	return b, nil
}

// choose writes autoboot.txt: one sector, which is read back.
func choose(a device, c slot.Choice) error {
	at, err := findChoice(a)
	if err != nil {
		return err
	}
	want := make([]byte, sectorSize) // what follows the file in it is empty
	copy(want, c.Encode())
	if _, err := a.WriteAt(want, at); err != nil {
		return fmt.Errorf("write %s: %w", slot.AutobootFile, err)
	}
	if err := a.Sync(); err != nil {
		return fmt.Errorf("write %s: %w", slot.AutobootFile, err)
	}
	got := make([]byte, sectorSize)
	if _, err := a.ReadAt(got, at); err != nil {
		return fmt.Errorf("read %s back: %w", slot.AutobootFile, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("write %s: %w", slot.AutobootFile, errAltered)
	}
	return nil
}

var errAltered = errors.New("what is read back is not what was written: the card is failing")
