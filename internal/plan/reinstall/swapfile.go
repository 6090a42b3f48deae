package reinstall

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/plan"
)

// SwapFile is a file that the running system swaps to.
type SwapFile struct {
	Path string `json:"path"` // as the running system sees it
	// Device has its file system: sda1, dm-0.
	Device string `json:"-"`
	Size   int64  `json:"size"` // bytes that it takes there
	Used   int64  `json:"used"` // bytes of memory that are swapped out to it
	// Stays is why it cannot be removed; empty: nothing that is known.
	Stays string `json:"-"`
}

// short says that too little is free in the root file system.
type short struct {
	missing int64 // bytes
	why     string
}

func (s short) Error() string { return s.why }

// makingFree tries a kind of room as the root file system is, and where too little
// is free in it, once more as it is without the swap files that have to go.
func (t *target) makingFree(p *Plan, room func(*target, *Plan) error) error {
	err := room(t, p)
	var s short
	if !errors.As(err, &s) || len(t.Running.SwapFiles) == 0 {
		return err
	}
	going, why := t.giveUp(s.missing)
	if why != nil {
		return errors.Join(err, why)
	}
	with := *t
	for _, f := range going {
		with.root.Free += f.Size
		if with.root.MinSize > 0 {
			with.root.MinSize = max(1, with.root.MinSize-f.Size)
		}
	}
	err = room(&with, p)
	p.Room.SwapFiles = going
	return err
}

// giveUp chooses swap files that free so many bytes: as few as will do, and of those
// the smallest.
func (t *target) giveUp(missing int64) ([]SwapFile, error) {
	var may []SwapFile
	var errs []error
	for _, f := range t.Running.SwapFiles {
		if err := t.mayGo(f); err != nil {
			errs = append(errs, fmt.Errorf("the swap file %s: %w", f.Path, err))
			continue
		}
		may = append(may, f)
	}
	var best []SwapFile
	var tight error
	for _, set := range subsets(may) {
		size, used := sums(set)
		switch {
		case size < missing:
		case t.swapsIn(used) != nil:
			if tight == nil {
				tight = fmt.Errorf("%s: %w", files(set), t.swapsIn(used))
			}
		case best == nil || smaller(set, best):
			best = set
		}
	}
	switch {
	case best != nil:
		return best, nil
	case tight != nil:
		errs = append(errs, tight)
	case len(may) > 0:
		errs = append(errs, fmt.Errorf("without %s it would still be %s too little", files(may), plan.Bytes(missing-total(may))))
	}
	return nil, errors.Join(errs...)
}

// unpin is which swap files go before a btrfs shrinks: all that may. The kernel moves
// nothing out of a range that it swaps to ("could not shrink block group due to active
// swapfile"), and where on the disk that is, nobody knows beforehand.
func (t *target) unpin(going []SwapFile) []SwapFile {
	all := slices.DeleteFunc(slices.Clone(t.Running.SwapFiles), func(f SwapFile) bool { return t.mayGo(f) != nil })
	if _, used := sums(all); len(all) == 0 || t.swapsIn(used) != nil {
		return going
	}
	return all
}

// mayGo says why a swap file has to stay.
func (t *target) mayGo(f SwapFile) error {
	switch {
	case f.Stays != "":
		return errors.New(f.Stays)
	case f.Device != t.root.Device:
		return errors.New("it is in another file system")
	case t.Running.Resume == f.Device:
		return errors.New("the system wakes up from a file of this file system (resume=): it is left alone")
	}
	return nil
}

// mostSwapFiles are looked at together: of more, the largest.
const mostSwapFiles = 8

func subsets(list []SwapFile) [][]SwapFile {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b SwapFile) int { return cmp.Compare(b.Size, a.Size) })
	list = list[:min(len(list), mostSwapFiles)]
	var sets [][]SwapFile
	for bits := 1; bits < 1<<len(list); bits++ {
		var set []SwapFile
		for i, f := range list {
			if bits&(1<<i) != 0 {
				set = append(set, f)
			}
		}
		sets = append(sets, set)
	}
	return sets
}

func smaller(a, b []SwapFile) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return total(a) < total(b)
}

func total(set []SwapFile) int64 {
	size, _ := sums(set)
	return size
}

func sums(set []SwapFile) (size, used int64) {
	for _, f := range set {
		size += f.Size
		used += f.Used
	}
	return size, used
}

// files names them: "the swap file /swap.img", "the swap files /a and /b".
func files(set []SwapFile) string {
	var paths []string
	for _, f := range set {
		paths = append(paths, f.Path)
	}
	if len(paths) == 1 {
		return "the swap file " + paths[0]
	}
	return "the swap files " + strings.Join(paths, " and ")
}
