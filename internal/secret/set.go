package secret

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Set is secrets by name. The zero Set is empty; a Set is not changed once it
// is parsed or decoded.
type Set struct{ values map[string]Value }

// NewSet makes a Set of revealed values.
func NewSet(values map[string]string) Set {
	s := Set{map[string]Value{}}
	for name, v := range values {
		s.values[name] = NewValue(v)
	}
	return s
}

// FromMap makes a Set of values that come from outside. Its errors do not
// repeat a name that is none, which may be a secret in the wrong place.
func FromMap(values map[string]string) (Set, error) {
	s := Set{map[string]Value{}}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !isName(name) {
			errs = append(errs, errors.New("a name is not made of lower-case letters, digits and -"))
			continue
		}
		if err := checkSize(values[name]); err != nil {
			errs = append(errs, fmt.Errorf("secret %s: %w", name, err))
			continue
		}
		s.values[name] = NewValue(values[name])
	}
	return s, errors.Join(errs...)
}

// Names lists the names, sorted.
func (s Set) Names() []string { return slices.Sorted(maps.Keys(s.values)) }

// Get finds a secret.
func (s Set) Get(name string) (Value, bool) {
	v, ok := s.values[name]
	return v, ok
}

// With is the Set with one secret added or replaced.
func (s Set) With(name string, v Value) Set {
	values := maps.Clone(s.values)
	if values == nil {
		values = map[string]Value{}
	}
	values[name] = v
	return Set{values}
}

// String names the secrets and hides their values.
func (s Set) String() string { return "secrets " + strings.Join(s.Names(), ", ") }

// GoString is String, for %#v.
func (s Set) GoString() string { return s.String() }

// MissingError says which secrets an item wants and did not get.
type MissingError struct {
	Item  string
	Names []string
}

func (e *MissingError) Error() string {
	var how []string
	for _, n := range e.Names {
		how = append(how, fmt.Sprintf("-s %s=@FILE or -s %s=env:VAR", n, n))
	}
	return fmt.Sprintf("item %s needs the secret %s: give it with %s",
		e.Item, strings.Join(e.Names, ", "), strings.Join(how, ", "))
}

// Merge has the secrets of both; one that both have is an error that names it.
func (s Set) Merge(other Set) (Set, error) {
	var errs []error
	for _, name := range other.Names() {
		if _, twice := s.values[name]; twice {
			errs = append(errs, fmt.Errorf("read secret %s: it is given twice", name))
			continue
		}
		v, _ := other.Get(name)
		s = s.With(name, v)
	}
	return s, errors.Join(errs...)
}

// Require returns a *MissingError unless all named secrets are there.
func (s Set) Require(item string, names ...string) error {
	var missing []string
	for _, n := range names {
		if _, ok := s.values[n]; !ok {
			missing = append(missing, n)
		}
	}
	if missing == nil {
		return nil
	}
	slices.Sort(missing)
	return &MissingError{item, missing}
}

// Unknown lists the secrets that are not among the known names.
func (s Set) Unknown(known []string) []string {
	return slices.DeleteFunc(s.Names(), func(n string) bool { return slices.Contains(known, n) })
}

// Source is where Parse finds files and variables.
type Source interface {
	ReadFile(name string) ([]byte, error)
	LookupEnv(name string) (string, bool)
}

// MaxSize is the size of the largest secret, in bytes.
const MaxSize = 64 << 10

// Parse reads the arguments of -s. Each holds one or several of
//
//	NAME=VALUE     the value itself (others can see it in the list of processes)
//	NAME=@FILE     the content of a file, without one newline at its end
//	NAME=env:VAR   the value of an environment variable
//
// separated by commas. So a value that contains a comma, or begins with "@" or
// "env:", is given by file or variable. Everything that is wrong is reported,
// and no part of an argument that might be a secret is repeated in an error.
func Parse(args []string, src Source) (Set, error) {
	set := Set{map[string]Value{}}
	var errs []error
	for _, arg := range args {
		for i, part := range strings.Split(arg, ",") {
			name, spec, ok := strings.Cut(part, "=")
			if !ok || !isName(name) {
				errs = append(errs, fmt.Errorf("read -s: part %d of an argument does not begin with NAME= "+
					"(names are lower-case letters, digits and -; a value with a comma is given with NAME=@FILE or NAME=env:VAR)", i+1))
				continue
			}
			v, err := load(spec, src)
			if _, twice := set.values[name]; twice && err == nil {
				err = errors.New("it is given twice")
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("read secret %s: %w", name, err))
				continue
			}
			set.values[name] = v
		}
	}
	return set, errors.Join(errs...)
}

func load(spec string, src Source) (Value, error) {
	text := spec
	if file, ok := strings.CutPrefix(spec, "@"); ok {
		b, err := src.ReadFile(file)
		if err != nil {
			return Value{}, err
		}
		text = trimNewline(string(b))
	} else if name, ok := strings.CutPrefix(spec, "env:"); ok {
		if text, ok = src.LookupEnv(name); !ok {
			return Value{}, fmt.Errorf("environment variable %s is not set", name)
		}
	}
	if err := checkSize(text); err != nil {
		return Value{}, err
	}
	return NewValue(text), nil
}

func checkSize(text string) error {
	switch {
	case text == "":
		return errors.New("it is empty")
	case len(text) > MaxSize:
		return fmt.Errorf("it is %d bytes long, at most %d are taken", len(text), MaxSize)
	}
	return nil
}

func trimNewline(s string) string {
	return strings.TrimSuffix(strings.TrimSuffix(s, "\n"), "\r")
}

func isName(s string) bool {
	for i, c := range s {
		letter, digit := c >= 'a' && c <= 'z', c >= '0' && c <= '9' || c == '-'
		if !letter && (i == 0 || !digit) {
			return false
		}
	}
	return s != "" && len(s) <= 64
}
