// Package nearest finds the right name for one that was misspelt.
package nearest

import (
	"slices"
	"strings"
)

// Name returns the candidate that name was most likely meant to be, or "" when
// none is near: at most a third of its letters wrong, counting a swapped pair
// as one; upper and lower case are the same.
func Name(name string, candidates []string) string {
	best, bestDistance := "", len([]rune(name))/3+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if name != "" && strings.EqualFold(c, name) {
			return c
		}
		if d := Distance(name, c); d < bestDistance || (best == "" && d == bestDistance) {
			best, bestDistance = c, d
		}
	}
	return best
}

// Distance counts the letters to insert, delete or replace, and the neighbours
// to swap, that turn a into b (optimal string alignment).
func Distance(a, b string) int { return distance([]rune(a), []rune(b)) }

// distance keeps the last three rows of the usual table.
func distance(a, b []rune) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}
