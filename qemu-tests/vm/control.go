package vm

import (
	"context"
	"errors"
	"fmt"
)

// Powerdown presses the power button: a guest that listens switches off.
func (m *Machine) Powerdown(ctx context.Context) error {
	_, err := m.QMP(ctx, "system_powerdown", nil)
	return err
}

// Reset presses the reset button. With NoReboot that ends the machine, at times
// before QEMU has answered.
func (m *Machine) Reset(ctx context.Context) error {
	_, err := m.QMP(ctx, "system_reset", nil)
	if m.setup.NoReboot && errors.Is(err, errMonitorClosed) {
		return nil
	}
	return err
}

// PullDisk takes disk i out while the machine runs, and waits until the guest
// has let go of it. Virtio and nvme disks need Hotplug.
func (m *Machine) PullDisk(ctx context.Context, i int) error {
	id := fmt.Sprintf("disk%d", i)
	gone := make(chan struct{})
	m.mu.Lock()
	m.gone[id] = gone
	m.mu.Unlock()
	if _, err := m.QMP(ctx, "device_del", map[string]string{"id": id}); err != nil {
		return fmt.Errorf("pull disk %d: %w", i, err)
	}
	select {
	case <-gone:
		return nil
	case <-m.done:
		return fmt.Errorf("pull disk %d: %w", i, errMonitorClosed)
	case <-ctx.Done():
		return fmt.Errorf("pull disk %d: the guest holds it: %w", i, context.Cause(ctx))
	}
}
