package layout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// kinds are in the order of Order.
var kinds = []string{KindDisk, KindArray, KindGroup, KindPool, KindBcachefs}

// refs are all devices, by kind and name.
func (l Layout) refs() []Ref {
	var list []Ref
	add := func(kind string, names []string) {
		for _, n := range names {
			list = append(list, Ref{kind, n})
		}
	}
	add(KindDisk, slices.Sorted(maps.Keys(l.Disk)))
	add(KindArray, slices.Sorted(maps.Keys(l.MDADM)))
	add(KindGroup, slices.Sorted(maps.Keys(l.LVMVG)))
	add(KindPool, slices.Sorted(maps.Keys(l.Zpool)))
	add(KindBcachefs, slices.Sorted(maps.Keys(l.Bcachefs)))
	return list
}

// member returns what a content makes its device a part of.
func member(s Spec) (Ref, bool) {
	switch s := s.(type) {
	case *MDRaid:
		return Ref{KindArray, s.Name}, true
	case *LVMPV:
		return Ref{KindGroup, s.VG}, true
	case *ZFS:
		return Ref{KindPool, s.Pool}, true
	case *BcachefsMember:
		return Ref{KindBcachefs, s.Filesystem}, true
	}
	return Ref{}, false
}

// DependsOn says for each device which others have to be there before it: those
// that its members are on, and those that the arguments of its btrfs name.
func (l Layout) DependsOn() map[Ref][]Ref {
	needs, at := map[Ref][]Ref{}, map[string]Ref{}
	l.walk(func(s site) {
		if s.device != "" {
			at[s.device] = s.owner
		}
	})
	add := func(r, on Ref) {
		if !slices.Contains(needs[r], on) {
			needs[r] = append(needs[r], on)
		}
	}
	l.walk(func(s site) {
		if whole, ok := member(s.spec()); ok {
			add(whole, s.owner)
		}
		for _, arg := range btrfsArgs(s.spec()) {
			if on, ok := at[arg]; ok && on != s.owner {
				add(s.owner, on)
			}
		}
	})
	return needs
}

func btrfsArgs(s Spec) []string {
	switch s := s.(type) {
	case *Btrfs:
		return s.ExtraArgs
	case *Filesystem:
		if s.Format == "btrfs" {
			return s.ExtraArgs
		}
	}
	return nil
}

// Order lists the devices so that each comes after what it depends on, and
// otherwise by kind and name. The error names the devices of a cycle.
func (l Layout) Order() ([]Ref, error) {
	needs := l.DependsOn()
	var list []Ref
	state := map[Ref]int{} // 1: being visited, 2: in the list
	var path []Ref
	var visit func(Ref) error
	visit = func(r Ref) error {
		switch state[r] {
		case 1:
			return cycle(append(path[slices.Index(path, r):], r))
		case 2:
			return nil
		}
		state[r], path = 1, append(path, r)
		on := slices.Clone(needs[r])
		slices.SortFunc(on, compareRefs)
		for _, n := range on {
			if err := visit(n); err != nil {
				return err
			}
		}
		state[r], path = 2, path[:len(path)-1]
		list = append(list, r)
		return nil
	}
	for _, r := range l.refs() {
		if err := visit(r); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func compareRefs(a, b Ref) int {
	return cmp.Or(cmp.Compare(slices.Index(kinds, a.Kind), slices.Index(kinds, b.Kind)), strings.Compare(a.Name, b.Name))
}

func cycle(refs []Ref) error {
	var names []string
	for _, r := range refs {
		names = append(names, r.String())
	}
	return &Error{Path: names[0], Msg: fmt.Sprintf("needs itself: %s", strings.Join(names, " is on "))}
}

// Order lists the keys of a group's volumes as they have to be made: disko's
// priorities (1000; a thin pool 501; with a size of 100% another 251), but
// never a volume before the pool that it is in; then by name.
func (g VolumeGroup) Order() []string {
	names := slices.Sorted(maps.Keys(g.LVs))
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(g.priority(a, true), g.priority(b, true))
	})
	return names
}

func (g VolumeGroup) priority(key string, pooled bool) int {
	v := g.LVs[key]
	p := 1000
	if v.LVMType == "thin-pool" {
		p = 501
	}
	if strings.Contains(v.Size, "100%") {
		p += 251
	}
	if v.Priority != nil {
		p = *v.Priority
	}
	if pool, ok := g.find(v.Pool); ok && pooled && pool != key {
		p = max(p, g.priority(pool, false)+1)
	}
	return p
}

// find returns the key of a volume by its name.
func (g VolumeGroup) find(name string) (string, bool) {
	if name == "" {
		return "", false
	}
	for _, key := range slices.Sorted(maps.Keys(g.LVs)) {
		if cmp.Or(g.LVs[key].Name, key) == name {
			return key, true
		}
	}
	return "", false
}
