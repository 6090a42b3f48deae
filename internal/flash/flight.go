package flash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/victorinix/vic/disk"
	"github.com/victorinix/vic/internal/event"
)

// depth is how many requests of a device are under way at once.
const depth = 4

// flight is what is done to one device.
type flight struct {
	job    *Job
	target Target
	dev    Device
	in     chan *piece
	failed chan struct{} // closed when the device takes nothing more
	fail   sync.Once

	workers sync.WaitGroup
	how     atomic.Int32 // see holes.go
	written atomic.Int64
	skipped atomic.Int64
	meter   *meter
	told    bool // there was an event of the failure
	begun   time.Time
	result  Result
}

func newFlight(j *Job, t Target) *flight {
	return &flight{
		job: j, target: t, in: make(chan *piece, 1), failed: make(chan struct{}),
		result: Result{Device: t.Name, State: Untouched},
	}
}

// stop keeps the first error.
func (f *flight) stop(err error) {
	f.fail.Do(func() {
		f.result.Err = err
		close(f.failed)
	})
}

func (f *flight) stopped() bool {
	select {
	case <-f.failed:
		return true
	default:
		return false
	}
}

func (f *flight) tell(phase event.Phase, state event.State, step, message string) {
	f.job.cfg.Sink.Emit(event.Event{Phase: phase, Step: f.target.Name + ": " + step, State: state, Message: message})
}

// begin gets a device as far as that it takes blocks.
func (f *flight) begin(ctx context.Context) {
	if err := f.prepare(ctx); err != nil {
		f.stop(err)
		f.report(event.Verify, err)
		return
	}
	f.begun = time.Now()
	f.meter = startMeter(f.job.cfg.Sink, event.Event{Phase: event.Copy, Step: f.target.Name + ": write", Total: f.job.Needs()})
	for range depth {
		f.workers.Go(func() { f.work(ctx) })
	}
}

func (f *flight) report(phase event.Phase, err error) {
	f.job.cfg.Sink.Emit(event.Event{Phase: phase, Step: f.target.Name, State: event.Failed, Message: err.Error()})
}

func (f *flight) prepare(ctx context.Context) (err error) {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if f.dev, err = f.target.Open(); err != nil {
		return err
	}
	if err := f.job.Fits(f.dev.Size(), f.dev.SectorSize()); err != nil {
		return err
	}
	if f.target.Fresh {
		f.result.State = Empty
		return nil
	}
	f.tell(event.Verify, event.Start, "size", "")
	if err := probeSize(f.dev); err != nil {
		if errors.Is(err, errNotRestored) {
			f.result.State = Damaged
		}
		return err
	}
	f.tell(event.Verify, event.Done, "size", "")
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return f.erase(ctx)
}

// erase makes a device forget what was on it, first of all that it was to be
// started from.
func (f *flight) erase(ctx context.Context) error {
	f.tell(event.Partition, event.Start, "erase", "")
	var old []disk.Range
	if t, err := disk.ReadTable(f.dev); err == nil { // none is none to erase
		old = disk.Ranges(t)
	}
	f.result.State = Torn
	if _, err := f.dev.WriteAt(zeroes[:f.headSize()], 0); err != nil {
		return fmt.Errorf("erase the first sectors: %w", err)
	}
	if err := f.dev.Sync(); err != nil {
		return fmt.Errorf("erase the first sectors: %w", err)
	}
	f.result.State = Empty
	if err := disk.Wipe(ctx, f.dev, old, nil); err != nil {
		return err
	}
	f.tell(event.Partition, event.Done, "erase", "")
	return nil
}

func (f *flight) headSize() int64 { return min(headSize, f.dev.Size()) }

// work writes pieces until there are none.
func (f *flight) work(ctx context.Context) {
	for p := range f.in {
		err := context.Cause(ctx)
		if err == nil && !f.stopped() {
			err = f.write(p)
		}
		p.release()
		if err != nil {
			f.stop(err)
		}
	}
}

// write puts one piece onto the device.
func (f *flight) write(p *piece) error {
	if p.off+p.size > f.dev.Size() {
		return fmt.Errorf("%w: it has at least %s, the device %s", ErrUnfit, Bytes(p.off+p.size), Bytes(f.dev.Size()))
	}
	if p.data == nil {
		return f.zero(p.off, p.size)
	}
	if !f.cheapHoles() {
		return f.data(p, 0, p.size)
	}
	for _, r := range runs(p.full, p.size) {
		var err error
		if r.data {
			err = f.data(p, r.from, r.to)
		} else {
			err = f.zero(p.off+r.from, r.to-r.from)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *flight) data(p *piece, from, to int64) error {
	end := roundUp(to, int64(f.dev.SectorSize()))
	if _, err := f.dev.WriteAt(p.data[from:end], p.off+from); err != nil {
		return fmt.Errorf("write %s at byte %d: %w", Bytes(to-from), p.off+from, err)
	}
	f.written.Add(to - from)
	f.meter.add(to - from)
	return nil
}

// end finishes a device after the image was read, with what came of that.
func (f *flight) end(ctx context.Context, s *stream, imageErr error) {
	f.workers.Wait()
	if f.meter == nil { // it did not begin
		f.close()
		return
	}
	err := f.result.Err
	if err == nil {
		err = imageErr
	}
	if err == nil {
		err = f.settle(s)
	}
	f.result.Written, f.result.Skipped = f.written.Load(), f.skipped.Load()
	f.result.Writing = time.Since(f.begun)
	f.meter.stop(err, f.summary())
	f.told = err != nil
	if err == nil {
		err = f.conclude(ctx, s)
	}
	f.stop(err)
	if err != nil && !f.told {
		f.report(event.Finish, err)
	}
	f.close()
}

func (f *flight) summary() string {
	r := f.result
	text := fmt.Sprintf("%s, %s", Bytes(r.Written), speed(r.Written, r.Writing))
	if r.Skipped > 0 {
		text += fmt.Sprintf(", %s of zeroes skipped", Bytes(r.Skipped))
	}
	return text
}

// settle waits until everything written so far is on the medium.
func (f *flight) settle(s *stream) error {
	if err := f.dev.Finish(s.size); err != nil {
		return err
	}
	return f.dev.Sync()
}

// conclude compares, and then makes the device what it is to be.
func (f *flight) conclude(ctx context.Context, s *stream) error {
	if !f.job.cfg.NoVerify {
		begun := time.Now()
		if err := f.compare(ctx, s); err != nil {
			return err
		}
		f.result.Checking = time.Since(begun)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f.tell(event.Boot, event.Start, "first sectors", "")
	if err := f.last(s); err != nil {
		return err
	}
	f.tell(event.Boot, event.Done, "first sectors", "")
	f.result.State = Done
	if err := f.dev.Reread(ctx); err != nil { // the device is right, the kernel's view of it is old
		f.tell(event.Finish, event.Done, "partitions", err.Error()+": plug it in again")
	}
	return nil
}

// last writes what makes the device one to start from: the backup of its
// partition table, then the first MiB, of which the first 4 KiB are last.
func (f *flight) last(s *stream) error {
	head, backup, at := f.job.table.ending(f.job.head[:f.headSize()], s.held, f.dev, f.job.cfg.KeepGPT)
	if len(backup) > 0 {
		if err := f.put(backup, at); err != nil {
			return fmt.Errorf("write backup GPT: %w", err)
		}
	}
	f.result.State = Torn
	first := min(page, int64(len(head)))
	for _, r := range []run{{first, int64(len(head)), true}, {0, first, true}} {
		if r.from == r.to {
			continue
		}
		if err := f.put(head[r.from:r.to], r.from); err != nil {
			return fmt.Errorf("write the first sectors: %w", err)
		}
	}
	f.result.Written += int64(len(head))
	return f.dev.Finish(s.size)
}

// put writes, flushes and reads back.
func (f *flight) put(b []byte, off int64) error {
	direct := aligned(len(b))
	copy(direct, b)
	if _, err := f.dev.WriteAt(direct, off); err != nil {
		return err
	}
	if err := f.dev.Sync(); err != nil {
		return err
	}
	if f.job.cfg.NoVerify {
		return nil
	}
	if n, err := f.dev.ReadAt(direct, off); err != nil && (!errors.Is(err, io.EOF) || n < len(b)) {
		return fmt.Errorf("read back: %w", err)
	}
	if at := differs(direct, b); at >= 0 {
		return fmt.Errorf("%w: byte %d", ErrDiffers, off+at)
	}
	return nil
}

func (f *flight) close() {
	if f.dev == nil {
		return
	}
	if err := f.dev.Close(); err != nil && f.result.Err == nil {
		f.result.Err = fmt.Errorf("close: %w", err)
	}
}
