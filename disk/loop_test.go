package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// detach ends a loop device and its partitions.
func detach(dev string) error {
	f, err := os.OpenFile(dev, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(unix.IoctlSetInt(int(f.Fd()), unix.LOOP_CLR_FD, 0), f.Close())
}
