package storage

import (
	"slices"

	"github.com/victorinix/vic/disk/layout"
	plan "github.com/victorinix/vic/internal/plan/storage"
)

// likeness is how much a table that is there is one that shall be.
type likeness int

const (
	different likeness = iota
	between            // cut as it shall be, with partitions that are unfinished
	final
)

// compare compares what a medium can hold: names and contents are not on it.
func compare(want layout.Table, now *layout.Table) likeness {
	if now == nil || kind(want) != kind(*now) || !sameID(want, *now) || len(parts(want)) != len(parts(*now)) {
		return different
	}
	found := final
	for _, e := range parts(want) {
		at := slices.IndexFunc(now.Entries, func(o layout.Entry) bool { return o.Number == e.Number })
		if at < 0 {
			return different
		}
		found = min(found, sameEntry(e, now.Entries[at]))
	}
	return found
}

// SameTable says whether a medium has a table, by all that it can hold.
func SameTable(want, now layout.Table) bool { return compare(want, &now) == final }

// begun says whether the table that is there is the unfinished form of another:
// all contents are still to be made.
func begun(want layout.Table, now *layout.Table) bool {
	if compare(want, now) == different {
		return false
	}
	return !slices.ContainsFunc(parts(want), func(e layout.Entry) bool {
		at := slices.IndexFunc(now.Entries, func(o layout.Entry) bool { return o.Number == e.Number })
		return e.Content != nil && !e.Kept && !isUnfinished(now.Entries[at])
	})
}

func kind(t layout.Table) string {
	if t.Kind == "" {
		return layout.KindGPT
	}
	return t.Kind
}

// parts are the entries that hold something: the extended partition of an MBR
// follows from the logical ones in it.
func parts(t layout.Table) []layout.Entry {
	return slices.DeleteFunc(slices.Clone(t.Entries), func(e layout.Entry) bool { return e.MBR != nil && e.MBR.Part == "extended" })
}

// sameID compares GUIDs; of an MBR the four bytes that it has.
func sameID(a, b layout.Table) bool {
	if kind(a) == layout.KindMBR {
		return [4]byte(a.GUID[:4]) == [4]byte(b.GUID[:4])
	}
	return a.GUID == b.GUID
}

func sameEntry(want, now layout.Entry) likeness {
	if want.Number != now.Number || want.FirstLBA != now.FirstLBA || want.LastLBA != now.LastLBA {
		return different
	}
	if want.Type == (layout.Entry{}).Type { // of an MBR
		switch {
		case want.MBR == nil || now.MBR == nil:
			return different
		case *now.MBR == *want.MBR:
			return final
		case now.MBR.Type == plan.UnfinishedMBR:
			return between
		}
		return different
	}
	if want.GUID != now.GUID || want.Label != now.Label || want.Attributes != now.Attributes {
		return different
	}
	switch {
	case now.Type == plan.TypeUnfinished || now.Type == want.Type && hybrid(want) && !hybrid(now):
		return between
	case now.Type == want.Type:
		return final
	}
	return different
}

func hybrid(e layout.Entry) bool { return e.MBR != nil }
