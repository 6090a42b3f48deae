package config

import (
	"errors"
	"maps"
	"slices"

	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/template"
)

// Facts are the paths of the facts that templates and requirements ask for,
// sorted.
func (c *Config) Facts() []string {
	refs := c.references()
	for _, o := range c.item.Options {
		refs = append(refs, c.lateReferences(o.Name)...)
	}
	paths := map[string]bool{}
	for _, r := range c.item.requires {
		paths[r.Fact] = true
	}
	for _, ref := range refs {
		if ref.Kind == template.Env {
			paths[ref.Name] = true
		}
	}
	return slices.Sorted(maps.Keys(paths))
}

// Fits compares the item with a machine: unmet says why a requirement is not
// met, src answers templates. All errors point into what people wrote.
func (c *Config) Fits(unmet func(request.Requirement) error, src template.Source) error {
	var errs []error
	for _, r := range c.item.requires {
		if err := unmet(r.Requirement); err != nil {
			errs = append(errs, &Error{Source: r.at.Source, Line: r.at.Line, Column: r.at.Column, Msg: err.Error()})
		}
	}
	for _, o := range c.item.Options {
		s := c.values[o.Name]
		if !s.late {
			continue
		}
		if _, err := src.Option(o.Name); err != nil {
			source, line, column := s.spots[0](1, 1)
			errs = append(errs, &Error{Source: source, Line: line, Column: column, Msg: err.Error()})
		}
	}
	for _, in := range c.injected {
		_, err := in.content.Render(src)
		errs = append(errs, placed(err, in.content.spot, in.file.Path))
	}
	return errors.Join(errs...)
}

// Options are those that templates on the target ask for, and those that are
// templates themselves.
func (c *Config) Options() []request.Option {
	wanted := map[string]bool{}
	var want func(refs []template.Reference)
	want = func(refs []template.Reference) {
		for _, ref := range refs {
			if ref.Kind != template.Option || wanted[ref.Name] {
				continue
			}
			wanted[ref.Name] = true
			want(c.lateReferences(ref.Name))
		}
	}
	want(c.references())
	var list []request.Option
	for _, o := range c.item.Options {
		if c.Late(o.Name) {
			wanted[o.Name] = true
			want(c.lateReferences(o.Name))
		}
	}
	for _, o := range c.item.Options {
		if wanted[o.Name] {
			list = append(list, c.asked(o))
		}
	}
	return list
}

// lateReferences are those of an option's own templates.
func (c *Config) lateReferences(key string) []template.Reference {
	s := c.values[key]
	if !s.late {
		return nil
	}
	texts, ok := s.value.([]string)
	if !ok {
		texts = []string{s.value.(string)}
	}
	var refs []template.Reference
	for _, text := range texts {
		if t, err := template.Parse(text); err == nil { // it was parsed before
			refs = append(refs, t.References()...)
		}
	}
	return refs
}
