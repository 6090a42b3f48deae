package disk

import (
	"context"
	"errors"
	"fmt"

	"github.com/victorinix/vic/disk/layout"
)

// ErrNoTable is wrapped by ReadTable's error when a device has no partition
// table.
var ErrNoTable = errors.New("no partition table")

// ReadTable reads the partition table of a device: a GPT, or else an MBR.
// Entries come without contents.
func ReadTable(d Device) (layout.Table, error) {
	t, err := ReadGPT(d)
	if !errors.Is(err, ErrNoGPT) {
		return t, err
	}
	t, err = ReadMBR(d)
	if errors.Is(err, ErrNoMBR) {
		return t, fmt.Errorf("read partitions: %w", ErrNoTable)
	}
	return t, err
}

// WriteTable writes a table of either kind; see WriteGPT and WriteMBR.
// protectiveLast has the protective entry of a hybrid MBR follow the others.
func WriteTable(ctx context.Context, d Device, t layout.Table, protectiveLast bool) error {
	switch t.Kind {
	case layout.KindMBR:
		return WriteMBR(ctx, d, t)
	case layout.KindGPT, "":
		if err := writeGPT(ctx, d, t, protectiveLast); err != nil {
			return fmt.Errorf("write GPT: %w", err)
		}
		return nil
	}
	return fmt.Errorf("write partitions: unknown kind of table %q", t.Kind)
}
