package envscan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/envscan/query"
)

// Why a path gives no value.
var (
	ErrUnknown = errors.New("unknown fact")                   // the schema has no such path
	ErrAbsent  = errors.New("fact was not probed")            // or could not be read
	ErrNull    = errors.New("this machine has no such thing") // probed, and there is none
)

// PathError is a path that gives no value.
type PathError struct {
	Path string
	Err  error  // ErrUnknown, ErrAbsent, ErrNull, or another
	Why  string // for people
	// Gaps are what stands in the way of an absent fact.
	Gaps []Gap
}

func (e *PathError) Error() string { return "look up " + e.Path + ": " + e.Why }
func (e *PathError) Unwrap() error { return e.Err }

// Lookup returns the fact at a dotted path such as "env.hw.nic.0.hwaddr" or
// "hw.nic.0.hwaddr", as encoding/json decodes it, with numbers as
// json.Number. An empty path, or "env", is the whole document. A null fact is
// nil without an error.
func Lookup(f Facts, path string) (any, error) {
	n, err := lookup(f, path)
	if err != nil {
		return nil, err
	}
	return n.Any(), nil
}

// Value is the scalar at a path, as text: true, 42, box. An object that has a
// type stands for it: os is "linux", hw.firmware "uefi". The error is a
// *PathError: of ErrUnknown, ErrAbsent, or ErrNull.
func Value(f Facts, path string) (string, error) {
	n, err := lookup(f, path)
	if err != nil {
		return "", err
	}
	switch n = query.Stand(n); n.Kind {
	case query.Null:
		return "", &PathError{Path: path, Err: ErrNull, Why: "it is null: " + ErrNull.Error()}
	case query.List:
		return "", &PathError{Path: path, Err: ErrUnknown, Why: fmt.Sprintf("it is a list of %d and no single value: add an index, such as %s.0", len(n.List), path)}
	case query.Object:
		return "", &PathError{Path: path, Err: ErrUnknown, Why: "it is an object and no single value: it has " + strings.Join(n.Keys(), ", ")}
	}
	return n.Text, nil
}

// lookup is the one node at a path.
func lookup(f Facts, path string) (*query.Node, error) {
	found, err := Find(f, path)
	if err != nil {
		return nil, err
	}
	if len(found) == 1 {
		return found[0].Node, nil
	}
	var places []string
	for _, x := range found {
		places = append(places, x.String())
	}
	return nil, &PathError{Path: path, Err: ErrUnknown, Why: "it means several: " + strings.Join(places, ", ")}
}

// Find returns what is at a path: at least one thing, or a *PathError of
// ErrUnknown, ErrAbsent with the gaps that are to blame, or ErrNull.
func Find(f Facts, path string) ([]query.Place, error) {
	p, err := knownPath(path)
	if err != nil {
		return nil, err
	}
	doc, err := f.document()
	if err != nil {
		return nil, err
	}
	found := query.Find(doc, p)
	if len(found) == 0 {
		return nil, f.nothing(doc, path, p)
	}
	return found, nil
}

// nothing says why there is nothing at a path.
func (f Facts) nothing(doc *query.Node, path string, p query.Path) error {
	if gaps := f.gapsAt(p); len(gaps) > 0 {
		return GapsError(path, gaps)
	}
	e := &PathError{Path: path, Err: ErrAbsent}
	last, at, rest := deepest(doc, p)
	switch {
	case last.Kind == query.List:
		e.Err, e.Why = ErrNull, fmt.Sprintf("env.%s is a list of %d, counted from 0: it has no %s", at, len(last.List), query.Path{Steps: rest[:1]})
	case last.Kind == query.Null:
		e.Err, e.Why = ErrNull, fmt.Sprintf("env.%s is null: %v", at, ErrNull)
	case isMap(at):
		e.Err, e.Why = ErrNull, fmt.Sprintf("env.%s has no %s, only %s", at, query.Path{Steps: rest[:1]}, strings.Join(last.Keys(), ", "))
	case f.Scan.Redacted == RedactDrop:
		e.Why = "it is not in this document, from which identifying values were dropped"
	case len(f.Scan.Only) > 0:
		e.Why = "it was not probed: the scan was limited to " + strings.Join(f.Scan.Only, ", ")
	default:
		e.Why = "it is not in this document: it was not probed"
	}
	return e
}

// GapsError is the error of a fact that could not be read.
func GapsError(path string, gaps []Gap) error {
	var why []string
	for _, g := range gaps {
		why = append(why, g.String())
	}
	return &PathError{Path: path, Err: ErrAbsent, Gaps: gaps, Why: "it could not be read: " + strings.Join(why, "; ")}
}

// GapsAt are the gaps at, above and below a path.
func GapsAt(f Facts, path string) []Gap {
	p, err := query.ParsePath(path)
	if err != nil {
		return nil
	}
	return f.gapsAt(p)
}

// String is the gap as a sentence.
func (g Gap) String() string {
	text := g.Fact
	if g.Path != "" {
		text += ": " + g.Path
	}
	text += ": " + g.Why
	if g.Need != "" {
		text += " (needs " + g.Need + ")"
	}
	return text
}

// gapsAt are the gaps of a fact, of what holds it, and of what it holds.
func (f Facts) gapsAt(p query.Path) []Gap {
	full, err := f.complete()
	if err != nil {
		return nil
	}
	want := places(full, p)
	return slices.DeleteFunc(slices.Clone(f.Scan.Gaps), func(g Gap) bool {
		gp, err := query.ParsePath(g.Fact)
		if err != nil {
			return true
		}
		for _, a := range places(full, gp) {
			for _, b := range want {
				if n := min(len(a), len(b)); slices.Equal(a[:n], b[:n]) {
					return false
				}
			}
		}
		return true
	})
}

// places are where a path leads, by names and indices; what is not there is by
// the words of the path.
func places(full *query.Node, p query.Path) [][]string {
	var list [][]string
	for _, found := range query.Find(full, p) {
		list = append(list, found.At)
	}
	if len(list) == 0 {
		for n := len(p.Steps) - 1; n >= 0 && len(list) == 0; n-- {
			for _, found := range query.Find(full, query.Path{Steps: p.Steps[:n]}) {
				at := found.At
				for _, s := range p.Steps[n:] {
					at = append(at, query.Path{Steps: []query.Step{s}}.String())
				}
				list = append(list, at)
			}
		}
	}
	return list
}

// deepest is how far a path leads in a document.
func deepest(doc *query.Node, p query.Path) (n *query.Node, at string, rest []query.Step) {
	for i := len(p.Steps) - 1; i > 0; i-- {
		if found := query.Find(doc, query.Path{Steps: p.Steps[:i]}); len(found) > 0 {
			return found[0].Node, found[0].String(), p.Steps[i:]
		}
	}
	return doc, "", p.Steps
}
