package logwrites

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
)

// Pending is a write that no flush has covered when the power goes.
type Pending struct {
	Index int // in Log.Entries
	Entry
}

// Piece is a part of a pending write that reached the medium: the bytes
// [From, To) of its data.
type Piece struct {
	Index    int
	From, To int64
}

// whole is all of a pending write.
func whole(p Pending) Piece { return Piece{p.Index, 0, p.Length} }

// Subset chooses what of the pending writes reached the medium. The pieces are
// of whole sectors, in the order of the log.
type Subset struct {
	Name   string
	Choose func(pending []Pending, sectorSize int) []Piece
}

// None loses all pending writes.
func None() Subset {
	return Subset{"none", func([]Pending, int) []Piece { return nil }}
}

// All keeps all pending writes: what a killed process leaves on a disk that has
// power.
func All() Subset {
	return Subset{"all", func(p []Pending, _ int) []Piece { return pieces(p) }}
}

// Prefix keeps the first n pending writes.
func Prefix(n int) Subset {
	return Subset{fmt.Sprintf("first %d", n), func(p []Pending, _ int) []Piece { return pieces(p[:min(n, len(p))]) }}
}

// Last keeps the last pending write alone: the one that overtook the others.
func Last() Subset {
	return Subset{"last", func(p []Pending, _ int) []Piece { return pieces(p[max(0, len(p)-1):]) }}
}

func pieces(pending []Pending) []Piece {
	var all []Piece
	for _, p := range pending {
		all = append(all, whole(p))
	}
	return all
}

// Random keeps each pending write or loses it.
func Random(seed uint64) Subset {
	return Subset{fmt.Sprintf("random %d", seed), func(pending []Pending, _ int) []Piece {
		random := rand.New(rand.NewPCG(seed, 0))
		return pieces(slices.DeleteFunc(slices.Clone(pending), func(Pending) bool { return random.IntN(2) == 0 }))
	}}
}

// Torn keeps each pending write, loses it, or keeps some of its sectors.
func Torn(seed uint64) Subset {
	return Subset{fmt.Sprintf("torn %d", seed), func(pending []Pending, sector int) []Piece {
		random := rand.New(rand.NewPCG(seed, 1))
		var all []Piece
		for _, p := range pending {
			switch sectors := p.Length / int64(sector); random.IntN(4) {
			case 0: // lost
			case 1:
				all = append(all, whole(p))
			case 2: // its beginning
				all = append(all, Piece{p.Index, 0, random.Int64N(sectors+1) * int64(sector)})
			case 3: // two parts of it
				a, b := random.Int64N(sectors+1), random.Int64N(sectors+1)
				if a == b {
					all = append(all, whole(p))
					continue
				}
				all = append(all, Piece{p.Index, 0, min(a, b) * int64(sector)}, Piece{p.Index, max(a, b) * int64(sector), p.Length})
			}
		}
		return slices.DeleteFunc(all, func(p Piece) bool { return p.From == p.To })
	}}
}

// Cut is one way in which the disk can stand after its power was cut.
type Cut struct {
	N      int // entries of the log that had been submitted
	Subset string
	Pieces []Piece // what the disk kept of the pending ones

	log     *Log
	flushed int // entries before this one are on the medium
}

func (c Cut) String() string {
	return fmt.Sprintf("cut after entry %d of %d, flushed up to %d, kept of the rest: %s", c.N, len(c.log.Entries), c.flushed, c.Subset)
}

// flushed is the number of entries that a flush among the first n has put on
// the medium.
func (l *Log) flushed(n int) int {
	for i := n - 1; i >= 0; i-- {
		if l.Entries[i].Flags&Flush != 0 {
			return i
		}
	}
	return 0
}

// pending lists the writes that are lost, kept or torn after the first n
// entries.
func (l *Log) pending(n int) []Pending {
	var all []Pending
	for i := l.flushed(n); i < n; i++ {
		if e := l.Entries[i]; e.writes() && e.Flags&FUA == 0 {
			all = append(all, Pending{i, e})
		}
	}
	return all
}

// Cut is the power cut when n entries had been submitted, of which the disk
// keeps what a Subset chooses.
func (l *Log) Cut(n int, choose Subset) Cut {
	return Cut{N: n, Subset: choose.Name, Pieces: choose.Choose(l.pending(n), l.SectorSize), log: l, flushed: l.flushed(n)}
}

// Apply makes of the disk before the recording, the disk after the cut.
func (c Cut) Apply(w io.WriterAt) error {
	if err := c.log.applyWhole(w, 0, c.flushed); err != nil {
		return fmt.Errorf("%v: %w", c, err)
	}
	if err := c.applyRest(w); err != nil {
		return fmt.Errorf("%v: %w", c, err)
	}
	return nil
}

// applyWhole writes the entries [from, to).
func (l *Log) applyWhole(w io.WriterAt, from, to int) error {
	for _, e := range l.Entries[from:to] {
		if !e.writes() {
			continue
		}
		if err := e.apply(w, 0, e.Length); err != nil {
			return err
		}
	}
	return nil
}

// applyRest writes what was kept of the entries that were not flushed.
func (c Cut) applyRest(w io.WriterAt) error {
	rest := c.Pieces
	for i := c.flushed; i < c.N; i++ {
		e := c.log.Entries[i]
		if e.writes() && e.Flags&FUA != 0 {
			if err := e.apply(w, 0, e.Length); err != nil {
				return err
			}
		}
		for len(rest) > 0 && rest[0].Index == i {
			if err := e.apply(w, rest[0].From, rest[0].To); err != nil {
				return err
			}
			rest = rest[1:]
		}
	}
	return nil
}

// Replay rebuilds the disk after each of the cuts, on a base that stays as it
// is. The overlay that use gets may be written to, and is good until use returns.
// It takes memory for the log's data once, and not for every cut.
func (l *Log) Replay(base io.ReaderAt, size int64, cuts []Cut, use func(Cut, *Overlay) error) error {
	cuts = slices.Clone(cuts)
	slices.SortStableFunc(cuts, func(a, b Cut) int { return a.flushed - b.flushed })
	flushed := NewOverlay(base, size, l.SectorSize)
	done := 0
	for _, c := range cuts {
		if err := l.applyWhole(flushed, done, c.flushed); err != nil {
			return fmt.Errorf("%v: %w", c, err)
		}
		done = c.flushed
		disk := NewOverlay(flushed, size, l.SectorSize)
		if err := c.applyRest(disk); err != nil {
			return fmt.Errorf("%v: %w", c, err)
		}
		if err := use(c, disk); err != nil {
			return fmt.Errorf("%v: %w", c, err)
		}
	}
	return nil
}
