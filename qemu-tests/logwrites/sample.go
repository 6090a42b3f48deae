package logwrites

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Sample says which cuts of a log to try.
type Sample struct {
	From, To int    // entries submitted at the first and the last cut; To 0: all
	Near     int    // writes before and after each flush that are cut at; default 2
	Others   int    // pseudo-random further places
	Seeds    int    // random and torn subsets at each place; default 1
	Seed     uint64 // of all choices
	Max      int    // cuts in all: of more, a pseudo-random choice; 0: all
}

// Points lists where to cut, in order: the ends, around every flush, FUA write
// and mark, and some other places.
func (l *Log) Points(s Sample) []int {
	if s.To == 0 || s.To > len(l.Entries) {
		s.To = len(l.Entries)
	}
	if s.Near == 0 {
		s.Near = 2
	}
	at := map[int]bool{s.From: true, s.To: true}
	for i, e := range l.Entries {
		if e.Flags&(Flush|FUA|Mark) == 0 {
			continue
		}
		for n := i - s.Near; n <= i+1+s.Near; n++ {
			at[n] = true
		}
	}
	random := rand.New(rand.NewPCG(s.Seed, 2))
	for range s.Others {
		at[s.From+random.IntN(s.To-s.From+1)] = true
	}
	var all []int
	for n := range at {
		if n >= s.From && n <= s.To {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all
}

// Cuts lists the cuts to try, in order, each different from the others in what
// the disk keeps.
func (l *Log) Cuts(s Sample) []Cut {
	if s.Seeds == 0 {
		s.Seeds = 1
	}
	var all []Cut
	seen := map[string]bool{}
	for _, n := range l.Points(s) {
		subsets := []Subset{None(), All(), Last()}
		for i := range s.Seeds {
			seed := s.Seed + uint64(n)<<16 + uint64(i)
			subsets = append(subsets, Random(seed), Torn(seed))
		}
		for _, choose := range subsets {
			c := l.Cut(n, choose)
			if key := c.key(); !seen[key] {
				seen[key] = true
				all = append(all, c)
			}
		}
	}
	if s.Max > 0 && len(all) > s.Max {
		all = thin(all, s)
	}
	return all
}

// thin chooses s.Max of the cuts, the first and the last among them.
func thin(all []Cut, s Sample) []Cut {
	random := rand.New(rand.NewPCG(s.Seed, 3))
	last := len(all) - 1
	chosen := []int{0, last}
	for _, i := range random.Perm(max(0, last-1)) {
		chosen = append(chosen, i+1)
	}
	chosen = chosen[:s.Max]
	slices.Sort(chosen)
	var kept []Cut
	for _, i := range slices.Compact(chosen) {
		kept = append(kept, all[i])
	}
	return kept
}

// key is the same for cuts of which the disk keeps the same: it names the writes
// that it has without a gap, and the pieces after them.
func (c Cut) key() string {
	complete, rest := c.flushed, c.Pieces
	for complete > 0 && !c.log.Entries[complete-1].writes() {
		complete--
	}
	var after []Piece
	gap := false
	for i := c.flushed; i < c.N; i++ {
		e := c.log.Entries[i]
		if !e.writes() {
			continue
		}
		var kept []Piece
		for ; len(rest) > 0 && rest[0].Index == i; rest = rest[1:] {
			kept = append(kept, rest[0])
		}
		if e.Flags&FUA != 0 {
			kept = []Piece{{i, 0, e.Length}}
		}
		gap = gap || len(kept) != 1 || kept[0] != Piece{i, 0, e.Length}
		if gap {
			after = append(after, kept...)
		} else {
			complete = i + 1
		}
	}
	return fmt.Sprint(complete, after)
}
