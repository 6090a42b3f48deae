package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/template"
)

// fact is a fact as templates see it.
func (l *late) fact(path string) (template.Value, error) {
	v, err := l.quick(path)
	if err == errSlow {
		v, err = l.slow(path)
	}
	unknown := !errors.Is(err, envscan.ErrUnknown) && !known(v)
	switch {
	case unknown && l.facts.Scan.Version == Prediction:
		return template.Value{}, fmt.Errorf("env.%s %w", path, errLater)
	case unknown && l.facts.Scan.Version == Anywhere:
		return template.Value{}, fmt.Errorf("env.%s %w", path, errAnywhere)
	}
	switch {
	case errors.Is(err, envscan.ErrNull):
		return template.Value{}, none{because("env."+path, err)}
	case err != nil:
		return template.Value{}, because("env."+path, err)
	}
	return v, nil
}

// errSlow: a path is for package envscan, which knows all kinds of paths, and
// why there is nothing.
var errSlow = errors.New("not a plain path to something that is there")

// quick follows a path of names and numbers through the document, which is made
// only once: a list may ask for hundreds of facts.
func (l *late) quick(path string) (template.Value, error) {
	if l.document == nil {
		var err error
		if l.document, err = envscan.Lookup(l.facts, ""); err != nil {
			return template.Value{}, err
		}
	}
	at := l.document
	for _, name := range strings.Split(path, ".") {
		switch below := at.(type) {
		case map[string]any:
			at = below[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(below) {
				return template.Value{}, errSlow
			}
			at = below[i]
		default:
			return template.Value{}, errSlow
		}
	}
	switch at := at.(type) {
	case string:
		return template.Value{Text: at}, nil
	case json.Number:
		return template.Value{Text: at.String()}, nil
	case bool:
		return template.Value{Text: strconv.FormatBool(at)}, nil
	case []any:
		return template.Value{List: true, Len: len(at)}, nil
	}
	return template.Value{}, errSlow
}

func (l *late) slow(path string) (v template.Value, err error) {
	found, err := envscan.Lookup(l.facts, path)
	if list, ok := found.([]any); ok || err != nil {
		return template.Value{List: ok, Len: len(list)}, err
	}
	v.Text, err = envscan.Value(l.facts, path)
	if _, ok := found.(map[string]any); ok && err != nil {
		return template.Value{Object: true}, nil
	}
	return v, err
}

// known tells whether a prediction has more than the zero value.
func known(v template.Value) bool {
	return v.Object || v.Len > 0 || v.Text != "" && v.Text != "0" && v.Text != "false"
}

// because is an error of envscan as one about the fact.
func because(what string, err error) error {
	var p *envscan.PathError
	if errors.As(err, &p) {
		return fmt.Errorf("%s: %s", what, p.Why)
	}
	return err
}

// none is the error of a fact that is null.
type none struct{ error }

func (none) Is(target error) bool { return target == template.ErrNone }
