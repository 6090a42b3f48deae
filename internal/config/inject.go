package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/template"
)

// requirement is an entry of `requires`, and where it stands.
type requirement struct {
	request.Requirement
	at *Error
}

// readRequires reads a mapping from fact to value, or to a list of values.
func readRequires(doc document, n ast.Node) ([]requirement, error) {
	if n == nil || n.Type() == ast.NullType {
		return nil, nil
	}
	list, err := entries(doc.name, n)
	errs := []error{err}
	var all []requirement
	for _, e := range list {
		r := requirement{request.Requirement{Fact: template.FactPath(e.key)}, doc.at(e.node, "")}
		values, err := scalars(doc.name, e.value)
		errs = append(errs, err)
		for _, v := range values {
			if v == "null" {
				r.None = true
			} else {
				r.OneOf = append(r.OneOf, v)
			}
		}
		if err == nil && len(values) == 0 {
			errs = append(errs, doc.at(e.value, "env.%s: a requirement needs a value", r.Fact))
		}
		all = append(all, r)
	}
	return all, errors.Join(errs...)
}

// injected is what an item, or -n, has beside options and lists.
type injected struct {
	files, units, requires ast.Node
}

// inject adds files, units and requirements to the item. A requirement of the
// same fact takes the other's place.
func (it *Item) inject(doc document, in injected) error {
	files, err1 := readSpecs(doc, in.files, fileKeys)
	units, err2 := readSpecs(doc, in.units, unitKeys)
	requires, err3 := readRequires(doc, in.requires)
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	it.specs = append(slices.Clone(it.specs), append(files, units...)...)
	it.requires = slices.Clone(it.requires)
	for _, r := range requires {
		it.requires = slices.DeleteFunc(it.requires, func(o requirement) bool { return o.Fact == r.Fact })
		it.requires = append(it.requires, r)
	}
	return nil
}

// injected takes what is no option out of the settings given with -n.
func (l *loader) injected(doc document, list []entry) []entry {
	var in injected
	var options []entry
	for _, e := range list {
		switch e.key {
		case "files":
			in.files = e.value
		case "units":
			in.units = e.value
		case "requires":
			in.requires = e.value
		case "secrets":
			var secrets map[string]Secret
			if err := yaml.NodeToValue(e.value, &secrets, yaml.Strict()); err != nil {
				l.fail(fromYAML(doc.name, err, []string{"description", "required"}))
			}
			l.item = l.item.clone(l.item.Name)
			l.item.addSecrets(namedSecrets(secrets))
		default:
			options = append(options, e)
		}
	}
	l.fail(l.item.inject(doc, in))
	return options
}

// check compares what files, units and requirements ask for with what there is.
func (l *loader) check() {
	for _, s := range l.item.specs {
		for _, t := range []templ{s.content, s.path, s.owner, s.group} {
			if t.Template == nil {
				continue
			}
			for _, ref := range t.References() {
				l.fail(l.known(t, ref))
			}
		}
		for _, cond := range []map[string][]string{s.when, s.unless} {
			if err := l.item.checkCondition(s.at.Source, s.what(), cond); err != nil {
				l.fail(s.located(err))
			}
			l.fail(l.early(s.what(), cond, s.at))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.item.lists)) {
		for _, g := range l.item.lists[name] {
			l.fail(l.early(fmt.Sprintf("list %q", name), g.When, &Error{}))
			l.fail(l.early(fmt.Sprintf("list %q", name), g.Unless, &Error{}))
		}
	}
	for _, r := range l.item.requires {
		if l.facts == nil {
			break
		}
		if err := l.facts(r.Fact); err != nil {
			l.fail(&Error{Source: r.at.Source, Line: r.at.Line, Column: r.at.Column, Msg: "requires: " + err.Error()})
		}
	}
}

// located adds the place of the spec to an error about it.
func (f fileSpec) located(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	with := *e
	with.Line, with.Column = f.at.Line, f.at.Column
	return &with
}

// early refuses a condition on an option that is known only on the target.
func (l *loader) early(what string, cond map[string][]string, at *Error) error {
	for key := range cond {
		if l.values[key].late {
			return &Error{Source: at.Source, Line: at.Line, Column: at.Column,
				Msg: fmt.Sprintf("%s depends on option %q, and that depends on the machine (%s)", what, key, l.values[key].source)}
		}
	}
	return nil
}

// injections are the item's files and units whose conditions hold, by their
// path: of several with the same path the last one.
func (c *Config) injections(l *loader) {
	byPath := map[string]int{}
	for _, s := range c.item.specs {
		if !c.matches(group{When: s.when, Unless: s.unless}) {
			continue
		}
		in, err := c.injection(s, l)
		if err != nil {
			l.fail(err)
			continue
		}
		path := in.file.Path
		if i, twice := byPath[path]; twice {
			c.injected[i] = in
			continue
		}
		byPath[path] = len(c.injected)
		c.injected = append(c.injected, in)
	}
	// What cannot be written without a secret needs it.
	needed := c.neededSecrets()
	c.item.Secrets = slices.Clone(c.item.Secrets)
	for i, s := range c.item.Secrets {
		c.item.Secrets[i].Required = s.Required || slices.Contains(needed, s.Name)
	}
}

// injection is a file or a unit that will be written.
type injection struct {
	file    request.File // of a unit too, but for its mode
	unit    string
	enabled bool
	content templ
}

func (c *Config) injection(s fileSpec, l *loader) (injection, error) {
	in := injection{unit: s.unit, enabled: s.enabled, content: s.content}
	in.file.Content = s.content.String()
	if s.unit != "" {
		in.file.Path = request.Unit{Name: s.unit}.Path()
		return in, nil
	}
	var errs []error
	set := func(key string, t templ, check func(string) error) string {
		text, err := t.Text(l.source())
		if err == nil && (text != "" || key != "group") {
			err = check(text)
		}
		errs = append(errs, placed(err, t.spot, key))
		return text
	}
	in.file.Path = set("path", s.path, request.CheckPath)
	in.file.Owner = set("owner", s.owner, request.CheckAccount)
	in.file.Group = set("group", s.group, request.CheckAccount)
	in.file.Mode = s.mode
	if s.mode == 0 {
		in.file.Mode = 0o644
		if s.content.Asks(template.Secret) {
			in.file.Mode = 0o600
		}
	}
	return in, errors.Join(errs...)
}

// Requires are the facts that the machine has to have.
func (c *Config) Requires() []request.Requirement {
	var list []request.Requirement
	for _, r := range c.item.requires {
		list = append(list, r.Requirement)
	}
	slices.SortFunc(list, func(a, b request.Requirement) int { return strings.Compare(a.Fact, b.Fact) })
	return list
}

// Files are those that are written into the installed system.
func (c *Config) Files() []request.File {
	var list []request.File
	for _, in := range c.injected {
		if in.unit == "" {
			list = append(list, in.file)
		}
	}
	return list
}

// Units are the systemd units that are written into the installed system.
func (c *Config) Units() []request.Unit {
	var list []request.Unit
	for _, in := range c.injected {
		if in.unit != "" {
			list = append(list, request.Unit{Name: in.unit, Content: in.file.Content, Enabled: in.enabled})
		}
	}
	return list
}

// references are those of all files and units, with or without conditions.
func (c *Config) references() []template.Reference {
	var refs []template.Reference
	for _, in := range c.injected {
		refs = append(refs, in.content.References()...)
	}
	return refs
}

// neededSecrets are the names of the secrets that files and units cannot be
// written without, whatever the machine is.
func (c *Config) neededSecrets() []string {
	needed := map[string]bool{}
	for _, ref := range c.references() {
		if ref.Kind == template.Secret && !ref.Conditional {
			needed[ref.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(needed))
}
