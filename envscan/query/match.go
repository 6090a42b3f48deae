package query

import (
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// Place is a Node and where it is: names and indices from the root.
type Place struct {
	At   []string
	Node *Node
}

// String is the place as a path, with indices.
func (p Place) String() string {
	var names []string
	for _, a := range p.At {
		names = append(names, Name(a))
	}
	return strings.Join(names, ".")
}

// Find returns everything at a path, in the order of the document.
func Find(root *Node, p Path) []Place {
	return find(Place{Node: root}, p.Steps)
}

func find(at Place, steps []Step) []Place {
	if len(steps) == 0 {
		return []Place{at}
	}
	s := steps[0]
	if s.Where != nil || s.all() {
		var found []Place
		for _, c := range children(at) {
			if s.all() || holdAll(c.Node, s.Where) {
				found = append(found, find(c, steps[1:])...)
			}
		}
		return found
	}
	if i, ok := s.index(); ok && at.Node.Kind == List {
		if i >= len(at.Node.List) {
			return nil
		}
		return find(at.child(strconv.Itoa(i), at.Node.List[i]), steps[1:])
	}
	// A name that has dots in it may stand there without quotes.
	for n := dotted(steps); n > 0; n-- {
		name := joined(steps[:n])
		if c := at.Node.Member(name); c != nil {
			return find(at.child(name, c), steps[n:])
		}
	}
	return nil
}

// dotted is how many steps could be one name.
func dotted(steps []Step) int {
	if steps[0].Quoted {
		return 1
	}
	n := 0
	for n < len(steps) && steps[n].Where == nil && !steps[n].Quoted {
		n++
	}
	return n
}

func joined(steps []Step) string {
	var names []string
	for _, s := range steps {
		names = append(names, s.Name)
	}
	return strings.Join(names, ".")
}

func (p Place) child(name string, n *Node) Place {
	return Place{append(slices.Clone(p.At), name), n}
}

func children(p Place) []Place {
	var list []Place
	for i, e := range p.Node.List {
		list = append(list, p.child(strconv.Itoa(i), e))
	}
	for _, m := range p.Node.Members {
		list = append(list, p.child(m.Key, m.Value))
	}
	return list
}

// Match returns what is at the expression's path and meets its comparison.
func Match(root *Node, e Expr) []Place {
	found := Find(root, e.Path)
	if e.Compare == nil {
		return found
	}
	return slices.DeleteFunc(found, func(p Place) bool { return !e.Compare.holds(p.Node) })
}

func holdAll(n *Node, list []Compare) bool {
	return !slices.ContainsFunc(list, func(c Compare) bool { return !c.holds(n) })
}

// holds says whether the fact below n is as the comparison says. What is absent
// meets none, for nobody knows. In a comparison a list stands for each of its
// elements: one that meets it is enough, and for != all have to.
func (c Compare) holds(n *Node) bool {
	values := reach(n, c.Path.Steps)
	if c.Op == "!=" {
		return len(values) > 0 && !slices.ContainsFunc(values, c.equal)
	}
	return slices.ContainsFunc(values, c.test)
}

// reach is everything at a path, through lists that the path does not mention.
func reach(n *Node, steps []Step) []*Node {
	if n.Kind == List && (len(steps) == 0 || !steps[0].picks()) {
		var all []*Node
		for _, e := range n.List {
			all = append(all, reach(e, steps)...)
		}
		return all
	}
	if len(steps) == 0 {
		return []*Node{n}
	}
	var all []*Node
	for k := dotted(steps); k > 1; k-- { // a name with dots in it
		if c := n.Member(joined(steps[:k])); c != nil {
			return reach(c, steps[k:])
		}
	}
	for _, p := range find(Place{Node: n}, steps[:1]) {
		all = append(all, reach(p.Node, steps[1:])...)
	}
	return all
}

// picks says whether a step chooses among the elements of a list.
func (s Step) picks() bool { return s.Where != nil || s.all() || s.isIndex() }

func (c Compare) test(n *Node) bool {
	if c.Op == "=" {
		return c.equal(n)
	}
	order, ok := c.order(Stand(n))
	if !ok {
		return false
	}
	switch c.Op {
	case "<":
		return order < 0
	case ">":
		return order > 0
	case "<=":
		return order <= 0
	}
	return order >= 0
}

func (c Compare) equal(n *Node) bool {
	n = Stand(n)
	switch n.Kind {
	case Null:
		return c.Value == "null" && !c.Quoted
	case String:
		if n.Text == c.Value {
			return true
		}
	case Bool:
		return n.Text == c.Value
	case List, Object:
		return false
	}
	order, ok := c.order(n)
	return ok && order == 0
}

// order compares numbers; those beyond 2^53 are texts in JSON.
func (c Compare) order(n *Node) (int, bool) {
	if n.Kind != Number && (n.Kind != String || !isDigits(n.Text)) {
		return 0, false
	}
	a, okA := number(n.Text)
	b, okB := number(c.Value)
	if !okA || !okB {
		return 0, false
	}
	return a.Cmp(b), true
}

// isDigits: texts such as 0x10 or 0042 are names, not numbers.
func isDigits(s string) bool {
	s = strings.TrimPrefix(s, "-")
	return s != "" && strings.Trim(s, "0123456789") == "" && (s == "0" || s[0] != '0')
}

// number reads what JSON calls one, with K, M, G, T for powers of 1024.
func number(s string) (*big.Rat, bool) {
	unit := new(big.Rat).SetInt64(1)
	if i := strings.IndexAny(s, "KMGT"); i > 0 && i == len(s)-1 {
		unit.SetInt64(1 << (10 * (strings.IndexByte("KMGT", s[i]) + 1)))
		s = s[:i]
	}
	if len(s) > 40 || strings.Trim(s, "0123456789.+-eE") != "" {
		return nil, false
	}
	// An exponent of a million digits would take the machine's memory.
	if f, err := strconv.ParseFloat(s, 64); err != nil || f > 1e300 || f < -1e300 || f != 0 && f < 1e-300 && f > -1e-300 {
		return nil, false
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		return nil, false
	}
	return r.Mul(r, unit), true
}

// Stand is what stands for n in comparisons: of an object that has a type, its
// type.
func Stand(n *Node) *Node {
	if n.Kind == Object {
		if t := n.Member("type"); t != nil && t.Scalar() {
			return t
		}
	}
	return n
}
