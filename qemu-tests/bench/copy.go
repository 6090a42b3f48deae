package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/victorinix/vic/builder"
	"github.com/victorinix/vic/internal/event"
	"github.com/victorinix/vic/qemu-tests/vm"
)

// copyLimit is for one round of every way to copy, and as much to begin with.
const copyLimit = 3 * time.Minute

// scratch is how large the disks are that the copies go to, as files with
// holes.
const scratch = 2 << 30

// Copy copies the tree of a payload image onto ext4 in one machine, in turns,
// and returns the seconds that each way took: "copytree", "tar", and "read"
// for reading the image alone.
func Copy(ctx context.Context, b *builder.Bundle, image, guest, dir string, rounds int) (times map[string][]float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(rounds+1)*copyLimit)
	defer cancel()
	c := vm.Config{
		Name: "copy", Dir: filepath.Join(dir, "copy"), Kernel: b.Path(builder.KernelFile),
		Initrd:  []string{filepath.Join(dir, "guest.cpio")},
		Cmdline: fmt.Sprintf("%s console=ttyS0 quiet bench.rounds=%d", b.Cmdline, rounds),
		Events:  true, NoReboot: true,
		Disks: []vm.Disk{{Path: image, Format: "raw", Serial: "bench-payload", ReadOnly: true}},
	}
	if err := writeFile(c.Initrd[0], func(w io.Writer) error {
		return errors.Join(b.Initrd(w), initSegment(w, guest))
	}); err != nil {
		return nil, err
	}
	for _, name := range []string{"bench-tar", "bench-target"} {
		path := filepath.Join(dir, name)
		if err := vm.BlankDisk(path, scratch); err != nil {
			return nil, err
		}
		defer os.Remove(path)
		c.Disks = append(c.Disks, vm.Disk{Path: path, Format: "raw", Serial: name, Cache: "unsafe"})
	}
	m, err := vm.Run(ctx, c)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	return copyTimes(ctx, m)
}

// copyTimes collects the guest's results until it has ended.
func copyTimes(ctx context.Context, m *vm.Machine) (map[string][]float64, error) {
	times := map[string][]float64{}
	for {
		e, err := m.WaitEvent(ctx, func(e event.Event) bool { return e.State == event.Done })
		if err != nil {
			return nil, err
		}
		if e.Phase == event.Finish {
			return times, m.Wait(ctx)
		}
		times[e.Step] = append(times[e.Step], time.Duration(e.Done).Seconds())
	}
}
