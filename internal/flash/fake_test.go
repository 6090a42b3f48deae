package flash

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
)

// card is a Device in memory, with a cache that loses what was not flushed, and
// with the faults that cards have.
type card struct {
	mu      sync.Mutex
	now     []byte // as it reads
	durable []byte // as it is after a power cut at the latest flush
	pending []span // written since then
	sector  int
	writes  int
	largest int

	chip      int64 // what it really has, at most: addresses wrap; 0: all of it
	cut       int64 // writes from here on are dropped; 0: none are
	fault     func(write bool, off, n int64) error
	spoil     func(off int64, b []byte) // changes what is written, silently
	promises  bool                      // write zeroes
	lies      bool                      // ... and does not keep the promise
	discards  byte                      // what a discarded range reads as; 0xee: it does not discard
	onWrite   func()
	zeroed    int64
	discarded int64
	reread    int
	closed    bool
}

type span struct {
	off  int64
	data []byte
}

// newCard is a card full of garbage.
func newCard(size int64) *card {
	c := &card{now: slices.Clone(garbage()[:size]), sector: 512, discards: 0xee}
	c.durable = slices.Clone(c.now)
	return c
}

var garbage = sync.OnceValue(func() []byte {
	b := make([]byte, 64<<20)
	if _, err := rand.NewChaCha8([32]byte{1}).Read(b); err != nil {
		panic(err)
	}
	return b
})

func (c *card) Size() int64     { return int64(len(c.now)) }
func (c *card) SectorSize() int { return c.sector }

// at is where an address is on the chip.
func (c *card) at(off int64) int64 {
	if c.chip > 0 {
		return off % c.chip
	}
	return off
}

func (c *card) ReadAt(b []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault != nil {
		if err := c.fault(false, off, int64(len(b))); err != nil {
			return 0, err
		}
	}
	n := 0
	for n < len(b) && off+int64(n) < c.Size() {
		at := c.at(off + int64(n))
		end := c.Size()
		if c.chip > 0 {
			end = c.chip
		}
		n += copy(b[n:], c.now[at:min(end, at+c.Size()-off-int64(n))])
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (c *card) WriteAt(b []byte, off int64) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if off+int64(len(b)) > c.Size() {
		return 0, syscall.ENOSPC
	}
	if c.fault != nil {
		if err := c.fault(true, off, int64(len(b))); err != nil {
			return 0, err
		}
	}
	c.writes++
	c.largest = max(c.largest, len(b))
	if c.onWrite != nil {
		defer c.onWrite()
	}
	data := slices.Clone(b)
	if c.spoil != nil {
		c.spoil(off, data)
	}
	if c.chip == 0 && c.cut == 0 {
		c.store(off, data)
		return len(b), nil
	}
	for n := 0; n < len(data); n += 512 {
		to := off + int64(n)
		if c.cut > 0 && to >= c.cut {
			break
		}
		c.store(c.at(to), data[n:min(n+512, len(data))])
	}
	return len(b), nil
}

func (c *card) store(at int64, b []byte) {
	copy(c.now[at:], b)
	c.pending = append(c.pending, span{at, b})
}

func (c *card) Sync() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault != nil {
		if err := c.fault(true, 0, 0); err != nil {
			return err
		}
	}
	for _, w := range c.pending {
		copy(c.durable[w.off:], w.data)
	}
	c.pending = nil
	return nil
}

// afterCut is what the card may hold after the power was cut now: any part of
// what was not flushed, in units of 4096 bytes.
func (c *card) afterCut(r *rand.Rand) []byte {
	b := slices.Clone(c.durable)
	for _, w := range c.pending {
		for n := 0; n < len(w.data); n += page {
			if r.IntN(2) == 0 {
				copy(b[w.off+int64(n):], w.data[n:min(n+page, len(w.data))])
			}
		}
	}
	return b
}

func (c *card) Zero(off, size int64) (bool, error) {
	if !c.promises {
		return false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.zeroed += size
	if !c.lies {
		c.store(off, make([]byte, size))
	}
	return true, nil
}

func (c *card) Discard(off, size int64) (bool, error) {
	if c.discards == 0xee {
		return false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.discarded += size
	c.store(off, bytes.Repeat([]byte{c.discards}, int(size)))
	return true, nil
}

func (c *card) Finish(int64) error           { return nil }
func (c *card) Reread(context.Context) error { c.reread++; return nil }
func (c *card) Close() error                 { c.closed = true; return nil }

func (c *card) target(name string) Target {
	return Target{Name: name, Open: func() (Device, error) { return c, nil }}
}

// memory is an image in memory; with holes where all of a block is zeroes.
type memory struct {
	b     []byte
	size  int64 // -1: not told
	check error
	read  error // instead of the end
}

func (m memory) Size() int64                       { return m.size }
func (m memory) NextData(off int64) (int64, error) { return off, nil }
func (m memory) Check() error                      { return m.check }
func (m memory) Close() error                      { return nil }
func (m memory) Read(b []byte, off int64) (int, error) {
	n := copy(b, m.b[min(off, int64(len(m.b))):])
	if n < len(b) {
		if m.read != nil {
			return n, m.read
		}
		return n, io.EOF
	}
	return n, nil
}

// disk image with an MBR, data, and holes; size in bytes.
func mbrImage(t testing.TB, size int64) []byte {
	t.Helper()
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{2})
	for off := int64(0); off < size; off += 3 << 20 {
		if _, err := r.Read(b[off:min(off+2<<20, size)]); err != nil {
			t.Fatal(err)
		}
	}
	clear(b[446:510])
	copy(b[446:], []byte{0x80, 0, 0, 0, 0x0c, 0, 0, 0, 0, 8, 0, 0})
	sectors := size/512 - 2048
	for i := range 4 {
		b[458+i] = byte(sectors >> (8 * i))
	}
	b[510], b[511] = 0x55, 0xaa
	return b
}

func newImage(b []byte) memory { return memory{b: b, size: int64(len(b))} }
