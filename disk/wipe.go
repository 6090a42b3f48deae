package disk

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/disk/layout"
	"github.com/victorinix/vic/disk/probe"
)

// Range is a part of a device, in bytes.
type Range struct{ Offset, Size int64 }

// Ranges are the parts of a device that a table's partitions take.
func Ranges(t layout.Table) []Range {
	var list []Range
	for _, e := range t.Entries {
		list = append(list, Range{int64(e.FirstLBA) * int64(t.SectorSize), e.Size(t.SectorSize)})
	}
	return list
}

// margin is how much is cleared at both ends of a range. Nearly all formats
// keep their magic bytes there; the others are looked up one by one.
const margin = 1 << 20

// Wipe makes a device forget what was on it: signatures of file systems, RAID,
// LVM, LUKS, swap and the like, in every partition of the tables it has now
// (GPT in either sector size, both copies, and MBR with logical partitions),
// in the ranges, and at both ends of the device, with the tables themselves.
// The rest of the data stays.
//
// Nothing in keep is written to. When there is any, the tables and what lies
// around them (boot code, a boot loader in the gap behind an MBR) stay as well,
// because the tables are what makes the kept data reachable.
//
// The tables go last, so that a run that was interrupted finds the old
// partitions again. What is zero already is not written again; before the tables go
// it is flushed all the same, as it may be so in the cache of the device alone.
func Wipe(ctx context.Context, d Device, ranges, keep []Range) error {
	if err := dropCache(d); err != nil {
		return err
	}
	inner := append(oldRanges(d), ranges...)
	inner = slices.DeleteFunc(inner, func(r Range) bool {
		return r.Offset < 0 || r.Size <= 0 || r.Offset > d.Size()-r.Size
	})
	inner = slices.Compact(sorted(inner))
	w := wiper{ctx: ctx, d: d, keep: keep, margin: margin}
	if len(keep) > 0 {
		w.keep = slices.Concat(keep, tableRanges(d))
	}
	whole := Range{0, d.Size()}
	for _, list := range [][]Range{inner, {whole}} {
		for _, r := range list {
			if r == whole && len(keep) > 0 {
				w.margin = 0
			}
			if err := w.wipe(r); err != nil {
				return fmt.Errorf("wipe bytes %d to %d: %w", r.Offset, r.Offset+r.Size, err)
			}
		}
		if err := w.sync(); err != nil {
			return fmt.Errorf("wipe: %w", err)
		}
	}
	if !w.wrote {
		return nil // all that was read came from the medium
	}
	if err := dropCache(d); err != nil {
		return err
	}
	return w.verify(append(inner, whole))
}

// dropCache makes the next reads come from the medium, where that can be told.
func dropCache(d Device) error {
	if c, ok := d.(interface{ dropCache() error }); ok {
		return c.dropCache()
	}
	return nil
}

func sorted(list []Range) []Range {
	slices.SortFunc(list, func(a, b Range) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Size, b.Size))
	})
	return list
}

// wiper clears ranges of a device, and never what is in keep.
type wiper struct {
	ctx    context.Context
	d      Device
	keep   []Range
	margin int64 // cleared at both ends of a range, besides the signatures

	synced         bool // all that was found or written
	wrote          bool
	zeroes, buffer []byte
}

// sync makes what was written, or found, last.
func (w *wiper) sync() error {
	if w.synced {
		return nil
	}
	w.synced = true
	return w.d.Sync()
}

// found are the signatures of a range that are not in what is kept.
func (w *wiper) found(r Range) ([]probe.Signature, error) {
	list, err := Signatures(w.d, r.Offset, r.Size)
	return slices.DeleteFunc(list, func(s probe.Signature) bool { return w.kept(s.Offset) }), err
}

func (w *wiper) kept(at int64) bool {
	return slices.ContainsFunc(w.keep, func(k Range) bool { return at >= k.Offset && at < k.Offset+k.Size })
}

// wipe clears both ends of a range and the signatures farther in.
func (w *wiper) wipe(r Range) error {
	found, err := w.found(r)
	if err != nil {
		return err
	}
	for _, s := range found {
		// All of the block, so that a checksum goes with it.
		at := s.Offset - (s.Offset-r.Offset)%4096
		if err := w.zero(Range{at, min(4096, r.Offset+r.Size-at)}); err != nil {
			return err
		}
	}
	n := min(w.margin, r.Size)
	if err := w.zero(Range{r.Offset + r.Size - n, n}); err != nil {
		return err
	}
	return w.zero(Range{r.Offset, n})
}

func (w *wiper) zero(r Range) error {
	for _, part := range minus(r, w.keep) {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		if err := w.clear(part); err != nil {
			return err
		}
	}
	return nil
}

// clear writes over a range of at most margin bytes, unless it is zero.
func (w *wiper) clear(r Range) error {
	if w.zeroes == nil {
		w.zeroes, w.buffer = make([]byte, margin), make([]byte, margin)
	}
	zeroes, b := w.zeroes[:r.Size], w.buffer[:r.Size]
	if n, _ := w.d.ReadAt(b, r.Offset); n == len(b) && bytes.Equal(b, zeroes) {
		return nil
	}
	w.synced, w.wrote = false, true
	_, err := w.d.WriteAt(zeroes, r.Offset)
	return err
}

// minus is what is left of a range without others.
func minus(r Range, without []Range) []Range {
	rest := []Range{r}
	for _, k := range without {
		var next []Range
		for _, p := range rest {
			if before := min(p.Size, k.Offset-p.Offset); before > 0 {
				next = append(next, Range{p.Offset, before})
			}
			if start := max(p.Offset, k.Offset+k.Size); start < p.Offset+p.Size {
				next = append(next, Range{start, p.Offset + p.Size - start})
			}
		}
		rest = next
	}
	return slices.DeleteFunc(rest, func(p Range) bool { return p.Size <= 0 })
}

// verify reports what is still there.
func (w *wiper) verify(ranges []Range) error {
	var left []string
	for _, r := range ranges {
		found, err := w.found(r)
		if err != nil {
			return err
		}
		for _, s := range found {
			left = append(left, fmt.Sprintf("%s at byte %d", s.Type, s.Offset))
		}
	}
	if left != nil {
		return errors.New("wipe: the disk still holds " + strings.Join(left, ", "))
	}
	return nil
}
