package layout

import (
	"errors"
	"fmt"
)

// run is a range of free sectors, both ends inclusive.
type run struct{ first, last uint64 }

// space is what is free on a disk, in order.
type space struct {
	sectorSize int
	runs       []run
}

// newSpace is the whole disk without the protective MBR and both copies of the
// table (UEFI 2.10 §5.3.1):
//
//	0    1       2 ...              ... n-1-e  ...      n-1
//	MBR  header  entries | usable sectors |  entries  backup header
func newSpace(g Geometry) (*space, error) {
	first, last, ok := Usable(g)
	if !ok {
		return nil, errNoRoom
	}
	return &space{g.SectorSize, []run{{first, last}}}, nil
}

// Usable returns the first and the last sector that partitions may have; not
// ok when the device has none.
func Usable(g Geometry) (first, last uint64, ok bool) {
	entries := uint64(maxEntries * entrySize / g.SectorSize)
	first = 2 + entries
	if g.Size < int64(2*first)*int64(g.SectorSize) {
		return 0, 0, false
	}
	return first, uint64(g.Size)/uint64(g.SectorSize) - first, true
}

var (
	errNoRoom = errors.New("no free space is left for it")
	errTaken  = errors.New("its start and end are not within one free range")
)

// largest is the first of the longest runs.
func (s *space) largest() (run, error) {
	if len(s.runs) == 0 {
		return run{}, errNoRoom
	}
	best := s.runs[0]
	for _, r := range s.runs[1:] {
		if r.last-r.first > best.last-best.first {
			best = r
		}
	}
	return best, nil
}

// holding is the index of the run that contains a sector, or -1.
func (s *space) holding(sector uint64) int {
	for i, r := range s.runs {
		if r.first <= sector && sector <= r.last {
			return i
		}
	}
	return -1
}

// take cuts a partition out, by the rules of sgdisk --align-end --new:
//
//   - a start of 0 is the start of the largest run, an end of 0 is the end of
//     the run that the start is in; the end of a run is the last sector before
//     an aligned one;
//   - a start is moved to the next lower aligned sector, or if that is taken
//     to the next higher, but +SIZE counts from where it was.
func (s *space) take(start, end quantity, align uint64) (first, last uint64, err error) {
	at, err := s.start(start, align)
	if err != nil {
		return 0, 0, err
	}
	i := s.holding(at)
	if i < 0 {
		return 0, 0, errTaken
	}
	r := s.runs[i]
	if last, err = s.end(end, at, r, align); err != nil {
		return 0, 0, err
	}
	if first = at / align * align; first < r.first {
		first += align
	}
	if last < first || last > r.last {
		return 0, 0, errTaken
	}
	s.cut(i, first, last)
	return first, last, nil
}

// start settles where a partition begins, before alignment.
func (s *space) start(q quantity, align uint64) (uint64, error) {
	big, err := s.largest()
	if err != nil {
		return 0, err
	}
	low := (big.first + align - 1) / align * align
	n, high := q.sectors(s.sectorSize), big.end(low, align)
	switch {
	case q.n == 0:
		return low, nil
	case q.sign == '+':
		return low + n, nil
	case q.sign == '-' && n > high:
		return 0, errNoRoom
	case q.sign == '-':
		return high - n, nil
	}
	return n, nil
}

// end settles where a partition that starts at sector at in r ends.
func (s *space) end(q quantity, at uint64, r run, align uint64) (uint64, error) {
	n, high := q.sectors(s.sectorSize), r.end(at, align)
	switch {
	case q.n == 0 && (high+1)%align != 0:
		return 0, errNoRoom // less than one aligned unit
	case q.n == 0:
		return high, nil
	case q.sign == '+':
		return at + max(n, 1) - 1, nil
	case q.sign == '-' && n > high:
		return 0, errNoRoom
	case q.sign == '-':
		return high - n, nil
	}
	return n, nil
}

// end is the last sector of r before an aligned one, or its last sector when
// the former is not after first.
func (r run) end(first, align uint64) uint64 {
	if next := (r.last + 1) / align * align; next > first {
		return next - 1
	}
	return r.last
}

// cut takes first to last out of run i.
func (s *space) cut(i int, first, last uint64) {
	var rest []run
	if r := s.runs[i]; r.first < first {
		rest = append(rest, run{r.first, first - 1})
	}
	if r := s.runs[i]; last < r.last {
		rest = append(rest, run{last + 1, r.last})
	}
	s.runs = append(s.runs[:i:i], append(rest, s.runs[i+1:]...)...)
}

// last is the last free sector, which no partition has been put before.
func (s *space) last() uint64 {
	if len(s.runs) == 0 {
		return 0
	}
	return s.runs[len(s.runs)-1].last
}

// reserve takes out a range that has to be as it is.
func (s *space) reserve(first, last uint64) error {
	i := s.holding(first)
	if i < 0 || last < first || last > s.runs[i].last {
		return fmt.Errorf("sectors %d to %d are not free: a table with %d entries, or another partition, is there", first, last, maxEntries)
	}
	s.cut(i, first, last)
	return nil
}
