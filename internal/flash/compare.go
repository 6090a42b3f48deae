package flash

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/victorinix/vic/internal/event"
)

// ErrDiffers is wrapped by errors about a device that does not hold what was
// written to it.
var ErrDiffers = errors.New("the device does not hold what was written to it")

// compare reads everything back, past the page cache, several blocks at once.
func (f *flight) compare(ctx context.Context, s *stream) error {
	m := startMeter(f.job.cfg.Sink, event.Event{Phase: event.Copy, Step: f.target.Name + ": read back", Total: s.size})
	var next atomic.Int64
	var readers sync.WaitGroup
	var once sync.Once
	var first error
	for range depth {
		readers.Go(func() {
			if err := f.compareBlocks(ctx, s, &next, m); err != nil {
				next.Store(int64(len(s.sums))) // the others stop
				once.Do(func() { first = err })
			}
		})
	}
	readers.Wait()
	f.told = first != nil
	m.stop(first, fmt.Sprintf("%s, %s", Bytes(s.size), speed(s.size, m.elapsed())))
	return first
}

func (f *flight) compareBlocks(ctx context.Context, s *stream, next *atomic.Int64, m *meter) error {
	b := aligned(blockSize)
	for {
		i := next.Add(1) - 1
		if i >= int64(len(s.sums)) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		off := i * blockSize
		n := min(blockSize, s.size-off)
		wide := b[:min(roundUp(n, int64(f.dev.SectorSize())), f.dev.Size()-off)]
		got, err := f.dev.ReadAt(wide, off)
		if err != nil && (!errors.Is(err, io.EOF) || int64(got) < n) {
			return fmt.Errorf("read back %s at byte %d: %w", Bytes(n), off, err)
		}
		if s.sums[i] == s.zero && isZero(b[:n]) {
			m.add(n)
			continue
		}
		if sum := maphash.Bytes(s.seed, b[:n]); sum != s.sums[i] {
			return s.differs(b[:n], sum, i)
		}
		m.add(n)
	}
}

// differs says what is wrong with a block, as far as it can be told.
func (s *stream) differs(b []byte, sum uint64, i int64) error {
	err := fmt.Errorf("%w: bytes %d to %d", ErrDiffers, i*blockSize, i*blockSize+int64(len(b)))
	if isZero(b) {
		return fmt.Errorf("%w read as zeroes", err)
	}
	if other := slices.Index(s.sums, sum); other >= 0 {
		return fmt.Errorf("%w read as what belongs at byte %d: it is smaller than it says", err, int64(other)*blockSize)
	}
	return err
}

// differs is the index of the first byte that is not the same, or -1.
func differs(a, b []byte) int64 {
	for i := range b {
		if a[i] != b[i] {
			return int64(i)
		}
	}
	return -1
}
