package storage

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/victorinix/vic/disk"
)

// shared is a disk that is written to while parts of it are in use: containers,
// groups and arrays that were made on its partitions, or what is kept. It is
// for tables, and for what lies outside of the parts in use.
type shared struct {
	*disk.File // open for reading, which is never exclusive
	w          *os.File
}

func (s shared) WriteAt(p []byte, off int64) (int, error) { return s.w.WriteAt(p, off) }

func (s shared) Sync() error { return s.w.Sync() }

// writeShared opens a device for itself alone where that is possible.
func writeShared(device string, f func(disk.Device) error) error {
	err := write(device, func(d *disk.File) error { return f(d) })
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	return read(device, func(d *disk.File) error {
		w, err := os.OpenFile(device, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return errors.Join(f(shared{d, w}), w.Close())
	})
}
