package envscan

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/victorinix/vic/envscan/query"
)

// Change is a fact that differs between two documents. An element of a list is
// named by what identifies it: hw.disk[serial=QM0001].size.
type Change struct {
	Path     string
	Old, New *query.Node // nil: absent
}

// String is the change for people: PATH: OLD -> NEW.
func (c Change) String() string {
	return fmt.Sprintf("%s: %s -> %s", c.Path, brief(c.Old), brief(c.New))
}

// brief is a value as JSON, unless that has more than a line.
func brief(n *query.Node) string {
	if n == nil {
		return "absent"
	}
	if n.Kind == query.Object || slices.ContainsFunc(n.List, func(e *query.Node) bool { return !e.Scalar() }) {
		return "present"
	}
	text, err := n.MarshalJSON()
	if err != nil {
		return n.Text
	}
	return string(text)
}

// identities are what an element of a list is known by in another document, by
// the list's path: the first group of members that has a value in both and is
// the same makes a pair. Lists that are not here hold scalars.
var identities = sync.OnceValue(func() map[string][][]string {
	return map[string][][]string{
		"hw.disk":                     {{"serial"}, {"wwn"}, {"path"}, {"name"}},
		"hw.disk.partition":           {{"number"}},
		"hw.disk.content":             {{"type", "offset"}},
		"hw.disk.table.entries":       {{"guid"}, {"number"}},
		"hw.disk.partition.content":   {{"type", "offset"}},
		"hw.volume.partition":         {{"number"}},
		"hw.volume.content":           {{"type", "offset"}},
		"hw.volume.table.entries":     {{"guid"}, {"number"}},
		"hw.volume.partition.content": {{"type", "offset"}},
		"net.route.hops":              {{"gateway", "interface"}, {"interface"}},
		"hw.nic":                      {{"hwaddr"}, {"path", "port"}, {"name"}},
		"hw.nic.names":                {{"scheme"}},
		"hw.volume":                   {{"title", "kind"}, {"name"}},
		"hw.pci":                      {{"address"}},
		"hw.usb":                      {{"serial"}, {"port"}},
		"hw.gpu":                      {{"path"}},
		"hw.display":                  {{"serial"}, {"gpu", "connector"}},
		"hw.battery":                  {{"serial"}, {"name"}},
		"hw.sensor":                   {{"id"}},
		"hw.console":                  {{"name"}},
		"hw.watchdog":                 {{"name"}},
		"hw.firmware.boot":            {{"number"}},
		"hw.memory.dimm":              {{"serial"}, {"slot", "bank"}, {"slot"}},
		"net.links":                   {{"name"}},
		"net.address":                 {{"interface", "address"}},
		"net.route":                   {{"table", "family", "destination", "gateway", "interface", "metric"}, {"table", "family", "destination", "metric"}, {"destination"}},
		"net.rule":                    {{"family", "priority"}},
		"os.hostKey":                  {{"type"}},
		"state.wireless":              {{"nic", "bssid"}},
	}
})

// ReadDocument reads a document as it is, for Diff: what is absent stays so.
func ReadDocument(doc []byte) (*query.Node, error) { return parseDocument(doc) }

// Diff lists what differs between two documents, in the order of the first. How
// they were made (scan) does not count, and state, which always differs, only
// when it is asked for. Lists of objects are compared by what identifies their
// elements, whatever their order; lists of scalars as a whole.
func Diff(a, b *query.Node, state bool) []Change {
	d := differ{skip: map[string]bool{"scan": true, "state": !state}}
	d.compare("", "", a, b)
	return d.changes
}

type differ struct {
	skip    map[string]bool
	changes []Change
}

// compare takes the path with what identifies elements, and the one without.
func (d *differ) compare(path, plain string, a, b *query.Node) {
	switch {
	case a == nil && b == nil || d.skip[plain]:
	case a == nil || b == nil || a.Kind != b.Kind || a.Scalar():
		if a == nil || b == nil || !equal(a, b) {
			d.changes = append(d.changes, Change{path, a, b})
		}
	case a.Kind == query.Object:
		for _, key := range keysOf(a, b) {
			d.compare(query.Join(path, key), query.Join(plain, key), a.Member(key), b.Member(key))
		}
	case elements(a, b):
		d.lists(path, plain, a.List, b.List)
	case !equal(a, b):
		d.changes = append(d.changes, Change{path, a, b})
	}
}

// keysOf are the names in both, in the order of a, then of b.
func keysOf(a, b *query.Node) []string {
	keys := a.Keys()
	for _, k := range b.Keys() {
		if a.Member(k) == nil {
			keys = append(keys, k)
		}
	}
	return keys
}

// elements says whether both lists hold objects.
func elements(a, b *query.Node) bool {
	all := slices.Concat(a.List, b.List)
	return len(all) > 0 && !slices.ContainsFunc(all, func(e *query.Node) bool { return e.Kind != query.Object })
}

func equal(a, b *query.Node) bool {
	if a.Kind != b.Kind || a.Text != b.Text || len(a.List) != len(b.List) || len(a.Members) != len(b.Members) {
		return false
	}
	for i := range a.List {
		if !equal(a.List[i], b.List[i]) {
			return false
		}
	}
	for _, m := range a.Members {
		if other := b.Member(m.Key); other == nil || !equal(m.Value, other) {
			return false
		}
	}
	return true
}

// lists pairs the elements of two lists, by each identity in turn. Of several
// with the same one, the first is the first.
func (d *differ) lists(path, plain string, a, b []*query.Node) {
	groups := identities()[plain]
	pair := make([]int, len(a)) // index in b, plus 1
	taken := make([]bool, len(b))
	for _, g := range groups {
		for i := range a {
			id := identity(a[i], g)
			if pair[i] != 0 || id == "" {
				continue
			}
			for j := range b {
				if !taken[j] && identity(b[j], g) == id {
					pair[i], taken[j] = j+1, true
					break
				}
			}
		}
	}
	for i, j := range pair {
		name := path + selector(a[i], groups, i)
		if j == 0 {
			d.changes = append(d.changes, Change{name, a[i], nil})
			continue
		}
		d.compare(name, plain, a[i], b[j-1])
	}
	for j, t := range taken {
		if !t {
			d.changes = append(d.changes, Change{path + selector(b[j], groups, j), nil, b[j]})
		}
	}
}

// identity is what members say, "" when one of them says nothing.
func identity(n *query.Node, members []string) string {
	var parts []string
	for _, m := range members {
		v := n.Member(m)
		if v == nil || v.Kind == query.Null || !v.Scalar() {
			return ""
		}
		parts = append(parts, v.Text)
	}
	return strings.Join(parts, "\x00")
}

// selector names an element in a path.
func selector(n *query.Node, groups [][]string, index int) string {
	for _, g := range groups {
		if identity(n, g) == "" {
			continue
		}
		var step query.Step
		for _, m := range g {
			step.Where = append(step.Where, query.Compare{Path: query.Path{Steps: []query.Step{{Name: m}}}, Op: "=", Value: n.Member(m).Text})
		}
		return query.Path{Steps: []query.Step{step}}.String()
	}
	return fmt.Sprintf("[%d]", index)
}
