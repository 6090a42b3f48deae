package envscan

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/victorinix/vic/envscan/query"
	"github.com/victorinix/vic/internal/nearest"
)

// KnownPath checks that facts can have something at a path, without any facts:
// the error is a *PathError of ErrUnknown, with the nearest right name.
func KnownPath(path string) error {
	_, err := knownPath(path)
	return err
}

func knownPath(path string) (query.Path, error) {
	p, err := query.ParsePath(path)
	if err != nil {
		return p, &PathError{Path: path, Err: ErrUnknown, Why: err.Error()}
	}
	if err := checkSteps(reflect.TypeFor[Facts](), "env", p.Steps, false); err != nil {
		return p, &PathError{Path: path, Err: ErrUnknown, Why: err.Error()}
	}
	return p, nil
}

// KnownExpr checks an expression as KnownPath does a path.
func KnownExpr(text string) (query.Expr, error) {
	e, err := query.ParseExpr(text)
	if err == nil {
		err = checkSteps(reflect.TypeFor[Facts](), "env", e.Path.Steps, false)
	}
	if err != nil {
		return e, &PathError{Path: text, Err: ErrUnknown, Why: err.Error()}
	}
	return e, nil
}

// checkSteps checks steps below a type. In comparisons a list stands for each of
// its elements (through).
func checkSteps(t reflect.Type, at string, steps []query.Step, through bool) error {
	if len(steps) == 0 {
		return nil
	}
	s := steps[0]
	next := under(at, steps[:1])
	k, below := kindOf(t)
	switch k {
	case listKind:
		return checkElement(below, at, steps, through)
	case mapKind:
		return checkNamed(below, at, steps)
	case objectKind:
		if s.Where != nil {
			return fmt.Errorf("%s is no list that comparisons could choose from", at)
		}
		if s.Name == "*" {
			return fmt.Errorf("%s is no list that * could stand for the elements of", at)
		}
		var names []string
		for _, f := range fieldsOf(below) {
			if f.name == s.Name {
				return checkSteps(f.typ, next, steps[1:], through)
			}
			names = append(names, f.name)
		}
		return unknownName(at, s.Name, names)
	}
	return fmt.Errorf("%s is a single value and has nothing below it", at)
}

func unknownName(at, name string, names []string) error {
	if near := nearest.Name(name, names); near != "" {
		return fmt.Errorf("%s has no %q; did you mean %q?", at, name, near)
	}
	return fmt.Errorf("%s has no %q, only %s", at, name, strings.Join(names, ", "))
}

func checkElement(t reflect.Type, at string, steps []query.Step, through bool) error {
	s := steps[0]
	if s.Where != nil {
		for _, c := range s.Where {
			if err := checkSteps(t, at, c.Path.Steps, true); err != nil {
				return err
			}
		}
	} else if strings.Trim(s.Name, "0123456789") != "" && s.Name != "*" {
		if through {
			return checkSteps(t, at, steps, true)
		}
		return fmt.Errorf("%s is a list, counted from 0: %q is no index; choose with %s.0 or %s[KEY=VALUE]", at, s.Name, at, at)
	}
	return checkSteps(t, under(at, steps[:1]), steps[1:], through)
}

// checkNamed: names in a map may have dots in them, and so take several steps.
// An object at the end of a path is asked for by one, or in quotes: otherwise
// every misspelt member of it were a name.
func checkNamed(t reflect.Type, at string, steps []query.Step) error {
	var first error
	k, _ := kindOf(t)
	for n := 1; n <= len(steps); n++ {
		if n > 1 && n == len(steps) && k != scalarKind {
			break
		}
		err := checkSteps(t, under(at, steps[:n]), steps[n:], false)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
		if steps[n-1].Quoted || steps[n-1].Where != nil {
			break
		}
	}
	return first
}

// isMap says whether a place in a document is a map, whose names a schema does
// not know.
func isMap(at string) bool {
	p, err := query.ParsePath(at)
	if err != nil {
		return false
	}
	t := typeAt(p)
	if t == nil {
		return false
	}
	k, _ := kindOf(t)
	return k == mapKind
}

// typeAt is the type of what is at a path, nil without.
func typeAt(p query.Path) reflect.Type {
	t := reflect.TypeFor[Facts]()
	for _, s := range p.Steps {
		k, below := kindOf(t)
		switch t = nil; k {
		case listKind, mapKind:
			t = below
		case objectKind:
			for _, f := range fieldsOf(below) {
				if f.name == s.Name {
					t = f.typ
				}
			}
		}
		if t == nil {
			return nil
		}
	}
	return t
}

// under is the path of a place below another, for people.
func under(at string, steps []query.Step) string {
	below := query.Path{Steps: steps}.String()
	if strings.HasPrefix(below, "[") {
		return at + below
	}
	return at + "." + below
}

// Complete lists the paths that begin as text does, for shells: members of the
// object that it is in, and the first element of a list.
func Complete(text string) []string {
	at, begun := cutLast(text)
	prefix := strings.TrimSuffix(text, begun)
	p, err := query.ParsePath(at)
	if err != nil {
		return nil
	}
	t := typeAt(p)
	if t == nil {
		return nil
	}
	var list []string
	switch k, below := kindOf(t); k {
	case listKind:
		if strings.HasPrefix("0", begun) {
			list = append(list, prefix+"0")
		}
	case objectKind:
		for _, f := range fieldsOf(below) {
			if strings.HasPrefix(f.name, begun) {
				list = append(list, prefix+f.name)
			}
		}
	}
	return list
}
