package flash

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math/bits"
	"sync/atomic"
)

const (
	// buffers is how many blocks are in memory at most.
	buffers = 8
	// maxHole is the largest hole that is handed out as one piece, so that
	// progress is seen.
	maxHole = 1 << 30
)

// piece is a part of the image as all devices get it.
type piece struct {
	off, size int64  // bytes
	data      []byte // a whole block, padded with zeroes; nil: a hole
	full      uint16 // a bit for each cell that is not all zeroes
	users     atomic.Int32
	pool      chan []byte
}

// release gives the memory back when no device needs it any more.
func (p *piece) release() {
	if p.users.Add(-1) == 0 && p.data != nil {
		p.pool <- p.data
	}
}

// stream reads the image once for all devices, and remembers what it was.
type stream struct {
	job  *Job
	pool chan []byte
	size int64 // of what was read so far
	hole *piece

	seed maphash.Seed
	sums []uint64 // of each block as it is on the devices before the end
	zero uint64   // that of a block of zeroes
	held []byte   // the backup GPT, which goes last
}

func newStream(j *Job) *stream {
	s := &stream{job: j, pool: make(chan []byte, buffers), seed: maphash.MakeSeed()}
	for range buffers {
		s.pool <- aligned(blockSize)
	}
	s.zero = maphash.Bytes(s.seed, zeroes)
	s.held = make([]byte, j.table.backup.Size)
	return s
}

// errNobody ends the reading of an image that no device takes any more.
var errNobody = errors.New("no device is left")

// run hands the image to the devices. It returns the image's error.
func (s *stream) run(ctx context.Context, to []*flight) error {
	err := s.blocks(ctx, to)
	for _, f := range to {
		close(f.in)
	}
	if err != nil {
		return err
	}
	if want := s.job.cfg.Image.Size(); want >= 0 && want != s.size {
		return fmt.Errorf("read image: it ended after %d of %d bytes", s.size, want)
	}
	return s.job.cfg.Image.Check()
}

func (s *stream) blocks(ctx context.Context, to []*flight) error {
	if err := s.first(ctx, to); err != nil {
		return err
	}
	for ended := s.job.ended; !ended; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		hole, err := s.emptyBlock()
		if err != nil {
			return fmt.Errorf("read image: %w", err)
		}
		if hole > 0 {
			err = s.skip(ctx, to, hole)
			ended = s.size == s.job.cfg.Image.Size()
		} else {
			ended, err = s.next(ctx, to)
		}
		if err != nil {
			return err
		}
	}
	return s.flushHole(ctx, to)
}

// emptyBlock is the size of the next block when all of it is a hole.
func (s *stream) emptyBlock() (int64, error) {
	next, err := s.job.cfg.Image.NextData(s.size)
	if err != nil {
		return 0, err
	}
	n := int64(blockSize)
	if total := s.job.cfg.Image.Size(); total >= 0 {
		n = min(n, total-s.size)
	}
	if next < s.size+n || overlaid(s.job.cfg.Overlays, s.size, n) {
		return 0, nil
	}
	return n, nil
}

// first is the first block without the first MiB.
func (s *stream) first(ctx context.Context, to []*flight) error {
	b, err := s.buffer(ctx)
	if err != nil {
		return err
	}
	copy(b[copy(b, zeroes[:headSize]):], s.job.rest)
	return s.send(ctx, to, b, s.job.length)
}

// next reads a block.
func (s *stream) next(ctx context.Context, to []*flight) (ended bool, err error) {
	b, err := s.buffer(ctx)
	if err != nil {
		return false, err
	}
	n, err := s.job.cfg.Image.Read(b, s.size)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("read image at byte %d: %w", s.size, err)
	}
	ended = err != nil
	clear(b[n:])
	if err := overlay(s.job.cfg.Overlays, b[:n], s.size); err != nil || n == 0 {
		s.pool <- b
		return ended, err
	}
	return ended, s.send(ctx, to, b, int64(n))
}

func (s *stream) buffer(ctx context.Context) ([]byte, error) {
	select {
	case b := <-s.pool:
		return b, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// send hands a block out, as a hole when it is all zeroes.
func (s *stream) send(ctx context.Context, to []*flight, b []byte, size int64) error {
	s.withhold(b[:size])
	full := cells(b[:size])
	if full == 0 {
		s.pool <- b
		return s.skip(ctx, to, size)
	}
	if err := s.flushHole(ctx, to); err != nil {
		return err
	}
	s.remember(b[:size])
	p := &piece{off: s.size, size: size, data: b, full: full, pool: s.pool}
	s.size += size
	return s.hand(ctx, to, p)
}

// remember keeps what a block has to read back as.
func (s *stream) remember(b []byte) {
	if !s.job.cfg.NoVerify {
		s.sums = append(s.sums, maphash.Bytes(s.seed, b))
	}
}

// rememberZeroes does not compute what is the same for most holes.
func (s *stream) rememberZeroes(size int64) {
	if size == blockSize && !s.job.cfg.NoVerify {
		s.sums = append(s.sums, s.zero)
		return
	}
	s.remember(zeroes[:size])
}

// withhold takes the backup GPT out of a block.
func (s *stream) withhold(b []byte) {
	r := s.job.table.backup
	from, to := max(r.Offset, s.size), min(r.Offset+r.Size, s.size+int64(len(b)))
	if from >= to {
		return
	}
	copy(s.held[from-r.Offset:], b[from-s.size:to-s.size])
	clear(b[from-s.size : to-s.size])
}

// skip adds a block to the hole that is under way.
func (s *stream) skip(ctx context.Context, to []*flight, size int64) error {
	if s.hole == nil {
		s.hole = &piece{off: s.size}
	}
	s.rememberZeroes(size)
	s.hole.size += size
	s.size += size
	if s.hole.size < maxHole {
		return nil
	}
	return s.flushHole(ctx, to)
}

func (s *stream) flushHole(ctx context.Context, to []*flight) error {
	p := s.hole
	if p == nil {
		return nil
	}
	s.hole = nil
	return s.hand(ctx, to, p)
}

// hand gives a piece to every device that still takes some.
func (s *stream) hand(ctx context.Context, to []*flight, p *piece) error {
	p.users.Store(int32(len(to)) + 1)
	defer p.release()
	taken := 0
	for _, f := range to {
		select {
		case <-f.failed:
			p.release()
			continue
		default:
		}
		select {
		case f.in <- p:
			taken++
		case <-f.failed:
			p.release()
		case <-ctx.Done():
			p.release()
		}
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case taken == 0:
		return errNobody
	}
	return nil
}

// zeroes is a block of them, which nobody writes to. The linker provides it: to
// allocate so much would start a garbage collection before main.
var (
	zeroes      = alignedIn(zeroStorage[:])
	zeroStorage [blockSize + page]byte
)

func isZero(b []byte) bool { return bytes.Equal(b, zeroes[:len(b)]) }

// cells finds what of a block is not all zeroes.
func cells(b []byte) (full uint16) {
	for i := 0; i*cellSize < len(b); i++ {
		if !isZero(b[i*cellSize : min((i+1)*cellSize, len(b))]) {
			full |= 1 << i
		}
	}
	return full
}

// run is a range of a block whose cells are alike.
type run struct {
	from, to int64 // bytes from the beginning of the block
	data     bool
}

// runs cuts a block of some bytes into data and holes.
func runs(full uint16, size int64) []run {
	var list []run
	for i := 0; int64(i)*cellSize < size; {
		data := full>>i&1 == 1
		n := bits.TrailingZeros16(full >> i)
		if data {
			n = bits.TrailingZeros16(^(full >> i))
		}
		end := min(int64(i+n)*cellSize, size)
		list = append(list, run{int64(i) * cellSize, end, data})
		i += n
	}
	return list
}
