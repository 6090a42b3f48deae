package envscan

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/victorinix/vic/envscan/query"
)

// How Go values become a document:
//
//   - A zero string, a nil pointer and a nil map are null: probed, and there is
//     none. A nil slice is [].
//   - An integer beyond 2^53 is a string: many programs that read JSON keep
//     numbers as float64.
//   - What a gap names was not probed, and is absent when it is zero. When it is
//     an object or a list with something in it, it stays, and what is null, empty
//     or an object of nothing but zeros below it is absent: nobody knows which of
//     them the gap swallowed. Numbers and booleans beside something that was
//     found stay.
//   - Of a scan that was limited to some paths (scan.only), everything else is
//     absent, whatever its value.
//   - Of a document with its identifying values dropped (scan.redacted), those
//     are absent.
//   - Types of other packages are as their own tags have them.

// MarshalJSON writes the document.
func (f Facts) MarshalJSON() ([]byte, error) {
	n, err := Document(f)
	if err != nil {
		return nil, err
	}
	return n.MarshalJSON()
}

// MarshalJSON writes disks by the rules of a document of facts.
func (d Disks) MarshalJSON() ([]byte, error) {
	n, err := encoder{}.node(reflect.ValueOf(d))
	if err != nil {
		return nil, fmt.Errorf("encode disks: %w", err)
	}
	hw := query.Member{Key: "hw", Value: n}
	gone := missing(&query.Node{Kind: query.Object, Members: []query.Member{hw}}, d.Gaps)
	return prune(n, gone).MarshalJSON()
}

// document is f as a tree, with what is absent left out.
func (f Facts) document() (*query.Node, error) {
	n, err := f.complete()
	if err != nil {
		return nil, err
	}
	gone := missing(n, f.Scan.Gaps)
	outside(n, f.Scan.Only, gone)
	return prune(n, gone), nil
}

// Document is the document as a tree.
func Document(f Facts) (*query.Node, error) {
	n, err := f.document()
	if err != nil {
		return nil, fmt.Errorf("encode facts: %w", err)
	}
	return n, nil
}

// complete is f as a tree, without anything being absent for a gap.
func (f Facts) complete() (*query.Node, error) {
	return encoder{f.Scan.Redacted}.node(reflect.ValueOf(f))
}

// encoder turns values into trees.
type encoder struct {
	redacted string // as Report.Redacted
}

// without says whether a field of such privacy is left out.
func (e encoder) without(privacy string) bool {
	return privacy != "" && e.redacted == RedactDrop || privacy == secret && e.redacted != ""
}

var own = reflect.TypeFor[Facts]().PkgPath()

func (e encoder) node(v reflect.Value) (*query.Node, error) {
	if foreign(v.Type()) {
		return e.foreign(v)
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return &query.Node{}, nil
		}
		return e.node(v.Elem())
	case reflect.Struct:
		return e.object(v)
	case reflect.Slice:
		return e.list(v)
	case reflect.Map:
		return e.named(v)
	}
	return scalar(v)
}

// foreign types encode themselves.
func foreign(t reflect.Type) bool {
	marshals := t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
	return marshals && t != reflect.TypeFor[Facts]() && t != reflect.TypeFor[Disks]() && t.Kind() != reflect.Pointer ||
		t.Kind() == reflect.Struct && t.PkgPath() != own
}

func (e encoder) foreign(v reflect.Value) (*query.Node, error) {
	b, err := json.Marshal(v.Interface())
	if err != nil {
		return nil, err
	}
	n, err := query.Parse(b)
	if err != nil {
		return nil, err
	}
	if e.redacted == RedactDrop {
		n = dropForeign(n, v.Type())
	}
	return quoteBig(n), nil
}

// quoteBig turns integers beyond 2^53 into strings.
func quoteBig(n *query.Node) *query.Node {
	if n.Kind == query.Number && beyond(n.Text) {
		n.Kind = query.String
	}
	for _, c := range n.List {
		quoteBig(c)
	}
	for _, m := range n.Members {
		quoteBig(m.Value)
	}
	return n
}

// exact is the largest integer up to which float64 has them all.
const exact = 1 << 53

func beyond(integer string) bool {
	if strings.ContainsAny(integer, ".eE") {
		return false
	}
	i, err := strconv.ParseInt(integer, 10, 64)
	return err != nil || i > exact || i < -exact
}

func (e encoder) object(v reflect.Value) (*query.Node, error) {
	n := &query.Node{Kind: query.Object}
	for _, f := range fieldsOf(v.Type()) {
		if e.without(f.privacy) {
			continue
		}
		c, err := e.node(v.FieldByIndex(f.index))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		n.Members = append(n.Members, query.Member{Key: f.name, Value: c})
	}
	return n, nil
}

func (e encoder) list(v reflect.Value) (*query.Node, error) {
	n := &query.Node{Kind: query.List}
	for i := range v.Len() {
		c, err := e.node(v.Index(i))
		if err != nil {
			return nil, fmt.Errorf("%d: %w", i, err)
		}
		n.List = append(n.List, c)
	}
	return n, nil
}

// named is a map, by its keys.
func (e encoder) named(v reflect.Value) (*query.Node, error) {
	if v.IsNil() {
		return &query.Node{}, nil
	}
	n := &query.Node{Kind: query.Object}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, k := range keys {
		c, err := e.node(v.MapIndex(k))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k, err)
		}
		n.Members = append(n.Members, query.Member{Key: k.String(), Value: c})
	}
	return n, nil
}

func scalar(v reflect.Value) (*query.Node, error) {
	if v.Kind() == reflect.String {
		if v.Len() == 0 {
			return &query.Node{}, nil
		}
		// As encoding/json has it: bytes that are no UTF-8 are replaced.
		return &query.Node{Kind: query.String, Text: strings.ToValidUTF8(v.String(), "\ufffd")}, nil
	}
	b, err := json.Marshal(v.Interface())
	if err != nil {
		return nil, err
	}
	if v.Kind() == reflect.Bool {
		return &query.Node{Kind: query.Bool, Text: string(b)}, nil
	}
	n := &query.Node{Kind: query.Number, Text: string(b)}
	if v.Kind() != reflect.Float64 {
		quoteBig(n)
	}
	return n, nil
}

// missing are the nodes that gaps make absent.
func missing(root *query.Node, gaps []Gap) map[*query.Node]bool {
	gone := map[*query.Node]bool{}
	for _, g := range gaps {
		p, err := query.ParsePath(g.Fact)
		if err != nil {
			continue // the gap itself is in the document all the same
		}
		for _, found := range query.Find(root, p) {
			if found.Node.Zero() {
				gone[found.Node] = true
			} else {
				thin(found.Node, gone)
			}
		}
	}
	return gone
}

// thin makes absent what is empty below a node that has something in it.
func thin(n *query.Node, gone map[*query.Node]bool) {
	below := slices.Clone(n.List)
	for _, m := range n.Members {
		below = append(below, m.Value)
	}
	for _, c := range below {
		switch {
		case c.Kind == query.Number || c.Kind == query.Bool:
		case c.Zero():
			gone[c] = true
		default:
			thin(c, gone)
		}
	}
}

// outside makes absent what a limited scan did not look for.
func outside(root *query.Node, only []string, gone map[*query.Node]bool) {
	if len(only) == 0 {
		return
	}
	var walk func(n *query.Node, at string)
	walk = func(n *query.Node, at string) {
		for _, m := range n.Members {
			path := strings.TrimPrefix(at+"."+m.Key, ".")
			switch {
			case path == "schema" || path == "scan" || slices.ContainsFunc(only, func(o string) bool { return o == path || strings.HasPrefix(path, o+".") }):
			case slices.ContainsFunc(only, func(o string) bool { return strings.HasPrefix(o, path+".") }):
				walk(m.Value, path)
			default:
				gone[m.Value] = true
			}
		}
	}
	walk(root, "")
}

// prune is n without the nodes that are gone.
func prune(n *query.Node, gone map[*query.Node]bool) *query.Node {
	if n.Scalar() || len(gone) == 0 {
		return n
	}
	kept := &query.Node{Kind: n.Kind}
	for _, c := range n.List {
		if !gone[c] {
			kept.List = append(kept.List, prune(c, gone))
		}
	}
	for _, m := range n.Members {
		if !gone[m.Value] {
			kept.Members = append(kept.Members, query.Member{Key: m.Key, Value: prune(m.Value, gone)})
		}
	}
	return kept
}

// statics are the beginnings of paths up to their first index, which is as far
// as a scan can be limited. Without any the scan is not limited.
func statics(paths []string) ([]string, error) {
	only := []string{}
	whole := false
	for _, path := range paths {
		p, err := knownPath(path)
		if err != nil {
			return nil, err
		}
		static := p.Static()
		for at := static; at != ""; at, _ = cutLast(at) {
			if isMap(at) { // whose names may have dots in them
				static = at
			}
		}
		whole = whole || static == ""
		if !slices.Contains(only, static) {
			only = append(only, static)
		}
	}
	if whole {
		only = []string{}
	}
	return only, nil
}

func cutLast(path string) (before, last string) {
	i := strings.LastIndex(path, ".")
	if i < 0 {
		return "", path
	}
	return path[:i], path[i+1:]
}
