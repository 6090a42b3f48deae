package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/nearest"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/template"
)

// unresolved is a value that has templates in it: its texts, all of them
// templates, and where each stands.
type unresolved struct {
	texts []string
	spots []spot
}

func isUnresolved(v any) bool {
	_, ok := v.(unresolved)
	return ok
}

// resolver gives the options that have templates their values, in whatever
// order they ask for each other.
type resolver struct {
	*loader
	open []string // options that are being resolved
	done map[string]bool
}

func (l *loader) resolve() {
	r := resolver{loader: l, done: map[string]bool{}}
	for _, o := range l.item.Options {
		r.option(o)
	}
}

// option resolves one option, after those that it asks for.
func (r *resolver) option(o Option) {
	s := r.values[o.Name]
	u, ok := s.value.(unresolved)
	if !ok || r.done[o.Name] {
		return
	}
	r.done[o.Name] = true
	r.open = append(r.open, o.Name)
	defer func() { r.open = r.open[:len(r.open)-1] }()
	s.value = o.Default // so that what asks for it finds something of its kind
	var templates []templ
	for i, text := range u.texts {
		t, err := parseTempl(text, u.spots[i], fmt.Sprintf("option %q", o.Name))
		if err == nil {
			err = r.references(o, t, &s.late)
		}
		if err != nil {
			r.fail(err)
			s.late = false
			r.values[o.Name] = s
			return
		}
		templates = append(templates, t)
	}
	value, err := r.evaluate(o, templates, s.late)
	r.fail(err)
	if err == nil {
		s.value, s.spots = value, u.spots
	}
	r.values[o.Name] = s
}

// references checks what a template of an option asks for, and resolves those
// options. late is set where it is known only on the target.
func (r *resolver) references(o Option, t templ, late *bool) error {
	var errs []error
	for _, ref := range t.References() {
		switch ref.Kind {
		case template.Secret:
			errs = append(errs, t.refer(ref, "", "option %q: an option cannot hold a secret: files and units can", o.Name))
			continue
		case template.Env:
			*late = true
			errs = append(errs, r.known(t, ref))
		case template.Option:
			other, ok := r.item.option(ref.Name)
			if !ok || ref.List && other.Kind != List {
				errs = append(errs, r.known(t, ref))
				continue
			}
			if slices.Contains(r.open, ref.Name) {
				errs = append(errs, t.refer(ref, "", "option %q asks for itself: %s", ref.Name, strings.Join(append(r.open, ref.Name), " -> ")))
				continue
			}
			r.option(other)
			*late = *late || r.values[ref.Name].late
		}
		if *late && !o.Late {
			errs = append(errs, t.refer(ref, "", "option %q is needed before the machine is known: of templates it takes only {{ option }}", o.Name))
			break
		}
	}
	return errors.Join(errs...)
}

// evaluate is the value of an option: for one that is late its templates, to be
// filled in and checked on the target.
func (r *resolver) evaluate(o Option, templates []templ, late bool) (any, error) {
	var texts []string
	var errs []error
	for _, t := range templates {
		text := t.String()
		if !late {
			var err error
			text, err = t.Text(r.source())
			errs = append(errs, placed(err, t.spot, fmt.Sprintf("option %q", o.Name)))
		}
		texts = append(texts, text)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if o.Kind != List {
		return r.checked(o.Rule, texts[0], templates[0], late)
	}
	for i, text := range texts {
		_, err := r.checked(*o.Of, text, templates[i], late)
		errs = append(errs, named(err, o.Name))
	}
	return texts, errors.Join(errs...)
}

func (r *resolver) checked(rule Rule, text string, t templ, late bool) (any, error) {
	if late {
		return text, nil
	}
	v, err := rule.parse(text)
	if err == nil {
		return v, nil
	}
	source, line, column := t.spot(1, 1)
	return nil, &Error{Source: source, Line: line, Column: column, Msg: err.Error()}
}

// source answers templates with the options.
func (l *loader) source() template.Source {
	return template.Source{Option: func(name string) (template.Value, error) {
		o, ok := l.item.option(name)
		if !ok {
			return template.Value{}, fmt.Errorf("unknown option %q", name)
		}
		s := l.values[name]
		if s.late {
			return template.Value{}, fmt.Errorf("option %q is known only on the machine", name)
		}
		v := template.Value{Text: o.Format(s.value)}
		if list, ok := s.value.([]string); ok {
			v.List, v.Len, v.Items = true, len(list), append([]string{}, list...)
		}
		return v, nil
	}}
}

// known refuses a reference to what the item does not have.
func (l *loader) known(t templ, ref template.Reference) error {
	switch ref.Kind {
	case template.Env:
		if l.facts != nil {
			if err := l.facts(ref.Name); err != nil {
				return t.refer(ref, "", "%v", err)
			}
		}
	case template.Option:
		o, ok := l.item.option(ref.Name)
		if !ok {
			e := l.unknown(ref.Name)
			return t.refer(ref, e.Nearest, "%s", e.Msg)
		}
		if ref.List && o.Kind != List {
			return t.refer(ref, "", "option %q is no list", ref.Name)
		}
	case template.Secret:
		names := l.item.secretNames()
		if !slices.Contains(names, ref.Name) {
			return t.refer(ref, nearest.Name(ref.Name, names), "unknown secret %q of item %s", ref.Name, l.item.Name)
		}
	}
	return nil
}

func (it Item) secretNames() []string {
	var names []string
	for _, s := range it.Secrets {
		names = append(names, s.Name)
	}
	return names
}

// Late tells whether the option's value depends on the machine: then String and
// List give its templates.
func (c *Config) Late(key string) bool { return c.values[key].late }

// Template is the value of a string option as a template: what System of
// package request takes.
func (c *Config) Template(key string) string { return escape(c.String(key), c.Late(key)) }

// Templates is Template for a list of strings.
func (c *Config) Templates(key string) []string {
	list := c.List(key)
	for i, v := range list {
		list[i] = escape(v, c.Late(key))
	}
	return list
}

func escape(text string, late bool) string {
	if late {
		return text
	}
	return template.Escape(text)
}

// asked is an option as templates on the target ask for it.
func (c *Config) asked(o Option) request.Option {
	s := c.values[o.Name]
	r := request.Option{Name: o.Name, Value: o.Format(s.value)}
	if list, ok := s.value.([]string); ok {
		r.List, r.Items = true, list
	}
	if s.late {
		rule := o.Rule
		if o.Of != nil { // Value is made of what Items become
			rule, r.Value = *o.Of, ""
		}
		late := rule.onTarget()
		r.Rule = &late
	}
	return r
}
