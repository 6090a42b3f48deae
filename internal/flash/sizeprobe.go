package flash

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrLies is wrapped by errors about a device that is not as large as it says.
var ErrLies = errors.New("the device is not as large as it says")

// errNotRestored: the probe could not put back what it overwrote.
var errNotRestored = errors.New("what the probe overwrote could not be put back")

// probeBase is where the probe begins: behind what makes a device start.
const probeBase = 1 << 20

// probePages are the places that are probed, 4 KiB each: probeBase + 2^i for
// each i, because a small chip that is made to look large drops the high bits of
// an address, so that 2^i + base is base again; the end; and some between.
func probePages(size int64) []int64 {
	last := size/page*page - page
	list := []int64{last}
	for step := int64(1 << 22); probeBase+step < last; step <<= 1 {
		list = append(list, probeBase+step)
	}
	for i := int64(1); i < 8; i++ {
		list = append(list, last/8*i/page*page)
	}
	list = append(list, probeBase)
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(list, func(at int64) bool { return at < probeBase || at > last })
}

// probeSize looks whether a device keeps what is written to it, up to its end.
// First it only reads: a device that is cut off answers with errors. Then it
// writes a pattern of its own to each page, reads all of them back, and puts
// back what was there. A device that is refused holds what it held.
//
// Pages are put back from the first to the last: where two of them are the same
// page of a chip, both were read as the same.
func probeSize(d Device) error {
	pages := probePages(d.Size())
	old := make([][]byte, len(pages))
	for i, at := range pages {
		old[i] = aligned(page)
		if err := readPage(d, old[i], at); err != nil {
			return fmt.Errorf("%w: %w", ErrLies, err)
		}
	}
	found := probeWrites(d, pages)
	for i, at := range pages {
		if _, err := d.WriteAt(old[i], at); err != nil {
			return errors.Join(found, fmt.Errorf("%w: write 4096 bytes at byte %d: %w", errNotRestored, at, err))
		}
	}
	if err := d.Sync(); err != nil {
		return errors.Join(found, fmt.Errorf("%w: %w", errNotRestored, err))
	}
	return found
}

func probeWrites(d Device, pages []int64) error {
	seed := make([]byte, 16)
	rand.Read(seed) // never fails, crypto/rand
	for _, at := range pages {
		if _, err := d.WriteAt(pattern(seed, at), at); err != nil {
			return fmt.Errorf("%w: write 4096 bytes at byte %d: %w", ErrLies, at, err)
		}
	}
	if err := d.Sync(); err != nil {
		return fmt.Errorf("%w: %w", ErrLies, err)
	}
	b := aligned(page)
	for _, at := range pages {
		if err := readPage(d, b, at); err != nil {
			return fmt.Errorf("%w: %w", ErrLies, err)
		}
		if bytes.Equal(b, pattern(seed, at)) {
			continue
		}
		for _, other := range pages {
			if bytes.Equal(b, pattern(seed, other)) {
				return fmt.Errorf("%w: what is written at byte %d appears at byte %d: it has at most %s", ErrLies, other, at, Bytes(max(other, at)))
			}
		}
		return fmt.Errorf("%w: what is written at byte %d is lost", ErrLies, at)
	}
	return nil
}

func readPage(d Device, b []byte, at int64) error {
	if n, err := d.ReadAt(b, at); err != nil && (!errors.Is(err, io.EOF) || n < len(b)) {
		return fmt.Errorf("read 4096 bytes at byte %d: %w", at, err)
	}
	return nil
}

// pattern is what is written to a page: the same nowhere else, and at no other
// time.
func pattern(seed []byte, at int64) []byte {
	b := aligned(page)
	for i := 0; i < page; i += 32 {
		copy(b[i:], seed)
		binary.LittleEndian.PutUint64(b[i+16:], uint64(at))
		binary.LittleEndian.PutUint64(b[i+24:], uint64(i))
	}
	return b
}
