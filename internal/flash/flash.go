// Package flash writes an image onto memory cards and disks, and proves that
// it is there.
//
//	Open --> Image --Prepare--> Job --Run--> Results
//
//	image   raw, gzip, xz, zstd, qcow2, from a file or a URL; what it should be
//	        (hash, signature) is checked while it is read
//	devices each opened exclusively, recognised again, probed for its true size
//
// What happens to a device, in this order, so that one that is pulled, or a run
// that is killed, leaves nothing that boots or has partitions:
//
//	1  the first MiB is zeroed, then signatures of old partitions and both ends
//	2  the image is written, but for its first MiB and its backup GPT
//	3  the image has to be what it should be
//	4  everything is read back past the page cache and compared
//	5  backup GPT, at the end of the device; then the first MiB, of that the first
//	   4 KiB last; each flushed, and read back as well
//
// The image is read once for all devices; a device that fails is left behind. It
// does not decide whether a device may be lost: Candidate says what speaks
// against it, and internal/cli asks. It does not build images.
package flash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/event"
)

const (
	// headSize is how much of an image is written last: partition table, boot
	// code, and what boards look for in front of the first partition.
	headSize = 1 << 20
	// blockSize is the size of one write, and of what is compared at once.
	blockSize = 4 << 20
	// cellSize is the least that counts as a hole.
	cellSize = 256 << 10
)

// Device is what an image is written to.
type Device interface {
	// ReadAt reads from the medium, past the page cache. Requests of the package
	// are aligned to 4096 bytes but for those of disk.Wipe.
	// Size is math.MaxInt64 where the device takes the size of the image.
	disk.Device
	// Zero makes a range read as zeroes without writing it. False: the device does
	// not promise that, and the range is as it was, or holds anything.
	Zero(off, size int64) (bool, error)
	// Discard tells the device that a range is not needed; what it reads as
	// afterwards is unknown. False: the device cannot be told.
	Discard(off, size int64) (bool, error)
	// Finish gives a device that takes the size of the image, in bytes, that size.
	Finish(size int64) error
	// Reread has the kernel look for the partitions again.
	Reread(ctx context.Context) error
	Close() error
}

// Target is a device before it is opened.
type Target struct {
	Name string // for people: /dev/sdb
	// Open opens the device exclusively; the error says why it is not the one that
	// was chosen, or in use.
	Open func() (Device, error)
	// Fresh: it is an empty file, with nothing to be erased or probed.
	Fresh bool
}

// Overlay is bytes that go onto the devices in place of the image's: secrets,
// which the image itself does not have because it is shared.
type Overlay struct {
	Offset int64 // bytes from the beginning of the image
	Size   int64
	Data   io.ReaderAt
}

// Config is what to write, and where.
type Config struct {
	Image    Image
	Overlays []Overlay
	Targets  []Target
	// NoVerify leaves out reading back what was written.
	NoVerify bool
	// KeepGPT leaves the backup GPT at the end of the image instead of moving it to
	// the end of the device.
	KeepGPT bool
	Sink    event.Sink
}

// State is what a device is left in.
type State string

// The states of a device.
const (
	Untouched State = "untouched" // nothing was written
	Damaged   State = "damaged"   // as untouched, but the size probe could not put back what it overwrote
	Empty     State = "empty"     // written to, without its first sectors: no partitions, does not boot
	Torn      State = "torn"      // the first sectors were being written
	Done      State = "done"      // written, and compared unless that was not wanted
)

// Result is what became of one device.
type Result struct {
	Device   string
	State    State
	Err      error         // nil when it is done
	Written  int64         // bytes that were written
	Skipped  int64         // bytes that are zeroes and were not written
	Writing  time.Duration // with everything flushed
	Checking time.Duration // reading back; 0 when that was not wanted
}

// Job is an image that can be written: its beginning has been read.
type Job struct {
	cfg    Config
	head   []byte // the first MiB with overlays, padded with zeroes to whole sectors
	rest   []byte // what was read with it, up to the end of the first block
	ended  bool   // the image is not larger than the first block
	length int64  // of head and rest, without padding
	table  table
}

// Prepare reads the beginning of the image. Nothing is written.
func Prepare(cfg Config) (*Job, error) {
	if err := checkOverlays(cfg.Overlays, cfg.Image.Size()); err != nil {
		return nil, err
	}
	if cfg.Sink == nil {
		cfg.Sink = event.Discard
	}
	first := aligned(blockSize)
	n, err := cfg.Image.Read(first, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read image: %w", err)
	}
	if n == 0 {
		return nil, errors.New("read image: it is empty")
	}
	j := &Job{cfg: cfg, ended: err != nil, length: int64(n)}
	if err := refuseArchive(first[:n]); err != nil {
		return nil, err
	}
	if err := overlay(cfg.Overlays, first[:n], 0); err != nil {
		return nil, err
	}
	j.head, j.rest = first[:headSize:headSize], first[headSize:]
	j.table = readTable(j.head)
	return j, nil
}

// Needs is how large a device has to be, in bytes; 0 when the image does not say.
func (j *Job) Needs() int64 { return max(j.cfg.Image.Size(), j.table.end, 0) }

// HasTable says whether the image begins with a partition table or an ISO 9660
// file system: without one no firmware starts from it.
func (j *Job) HasTable() bool { return j.table.kind != "" }

// ErrUnfit is wrapped by the errors of Fits.
var ErrUnfit = errors.New("the image does not fit")

// Fits says why the image cannot go onto a device of this size.
func (j *Job) Fits(size int64, sectorSize int) error {
	if need := j.Needs(); need > size {
		return fmt.Errorf("%w: it needs %s, the device has %s", ErrUnfit, Bytes(need), Bytes(size))
	}
	if j.table.sectorSize != 0 && j.table.sectorSize != sectorSize {
		return fmt.Errorf("%w: its partition table is for sectors of %d bytes, those of the device have %d", ErrUnfit, j.table.sectorSize, sectorSize)
	}
	return nil
}

// Run writes the image onto all targets, and returns their results in the same
// order. The error is the image's alone: a device that fails has its own.
func (j *Job) Run(ctx context.Context) ([]Result, error) {
	flights := make([]*flight, len(j.cfg.Targets))
	for i, t := range j.cfg.Targets {
		flights[i] = newFlight(j, t)
	}
	each(flights, func(f *flight) { f.begin(ctx) })
	stream := newStream(j)
	err := stream.run(ctx, flights)
	if errors.Is(err, errNobody) {
		err = nil
	}
	each(flights, func(f *flight) { f.end(ctx, stream, err) })
	results := make([]Result, len(flights))
	for i, f := range flights {
		results[i] = f.result
	}
	return results, err
}

// each runs one step for all devices at once.
func each(flights []*flight, step func(*flight)) {
	var all sync.WaitGroup
	for _, f := range flights {
		all.Go(func() { step(f) })
	}
	all.Wait()
}

func checkOverlays(list []Overlay, size int64) error {
	for _, o := range list {
		if o.Offset < 0 || o.Size < 0 || size >= 0 && o.Offset+o.Size > size {
			return fmt.Errorf("overlay bytes %d to %d: the image has %d", o.Offset, o.Offset+o.Size, size)
		}
	}
	return nil
}

// overlay replaces what overlays replace in the bytes of the image from off on.
func overlay(list []Overlay, b []byte, off int64) error {
	for _, o := range list {
		from, to := max(o.Offset, off), min(o.Offset+o.Size, off+int64(len(b)))
		if from >= to {
			continue
		}
		if n, err := o.Data.ReadAt(b[from-off:to-off], from-o.Offset); int64(n) < to-from {
			return fmt.Errorf("read overlay at byte %d: %w", o.Offset, err)
		}
	}
	return nil
}

// overlaid says whether an overlay has bytes in a range.
func overlaid(list []Overlay, off, size int64) bool {
	for _, o := range list {
		if o.Offset < off+size && o.Offset+o.Size > off && o.Size > 0 {
			return true
		}
	}
	return false
}
