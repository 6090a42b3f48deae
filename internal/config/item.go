package config

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/victorinix/vic/internal/nearest"
)

// Item is a named thing that can be built, run, flashed or installed.
type Item struct {
	Name        string
	Description string
	Types       []string
	Options     []Option // of all its types, by name, with this item's defaults
	Secrets     []Secret // by name

	defaults map[string]setting // that the item itself sets
	lists    map[string][]group
	specs    []fileSpec // files and units
	requires []requirement
}

// group is names that an item needs under a condition.
type group struct {
	// When: every option named has one of the values. Unless: none has.
	When   map[string][]string `yaml:"when"`
	Unless map[string][]string `yaml:"unless"`
	Names  []string            `yaml:"names"`
}

// itemFile is items/NAME.yaml, or a user's own file.
type itemFile struct {
	// From is the item that this one extends: it starts with all of its
	// types, option values, secrets and lists.
	From        string             `yaml:"from"`
	Description string             `yaml:"description"`
	Types       []string           `yaml:"types"`
	Options     ast.Node           `yaml:"options"` // values, as in -n
	Secrets     map[string]Secret  `yaml:"secrets"`
	Lists       map[string][]group `yaml:"lists"`
	Files       ast.Node           `yaml:"files"`    // see fileKeys
	Units       ast.Node           `yaml:"units"`    // see unitKeys
	Requires    ast.Node           `yaml:"requires"` // fact -> value or values
}

func itemKeys() []string {
	return []string{"from", "description", "types", "options", "secrets", "lists", "files", "units", "requires"}
}

// isPath tells a user's own item file from the name of an item.
func isPath(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return strings.ContainsRune(name, filepath.Separator)
}

// Item finds an item by name, or reads it from a YAML file when name is a path
// (it contains a slash, or ends in .yaml).
func (r *Registry) Item(name string) (Item, error) { return r.item(name, osFiles{}) }

func (r *Registry) item(name string, files files) (Item, error) {
	if isPath(name) {
		text, err := files.ReadFile(name)
		if err != nil {
			return Item{}, fmt.Errorf("read item: %w", err)
		}
		base := filepath.Base(name)
		doc := document{name: name, dir: filepath.Dir(name), text: text, files: files}
		return r.readItem(strings.TrimSuffix(base, filepath.Ext(base)), doc, false)
	}
	it, ok := r.items[name]
	if !ok {
		return Item{}, &Error{Msg: fmt.Sprintf("unknown item %q, vic knows %s (a path such as ./%s.yaml names your own)",
			name, strings.Join(slices.Sorted(maps.Keys(r.items)), ", "), name),
			Nearest: nearest.Name(name, slices.Collect(maps.Keys(r.items)))}
	}
	return it, nil
}

// readItem reads an item's file.
func (r *Registry) readItem(name string, text document, builtIn bool) (Item, error) {
	var doc itemFile
	file := text.name
	if err := decode(file, text.text, &doc, itemKeys()); err != nil {
		return Item{}, err
	}
	it := Item{Name: name, defaults: map[string]setting{}, lists: map[string][]group{}}
	if doc.From != "" {
		parent, ok := r.items[doc.From]
		if !ok {
			return it, &Error{Source: file, Msg: fmt.Sprintf("extends unknown item %q", doc.From),
				Nearest: nearest.Name(doc.From, slices.Collect(maps.Keys(r.items)))}
		}
		it = parent.clone(name)
	}
	if doc.Description != "" {
		it.Description = doc.Description
	}
	if err := r.addTypes(&it, file, doc.Types); err != nil {
		return it, err
	}
	it.addSecrets(namedSecrets(doc.Secrets))
	err := it.setDefaults(r, text, doc.Options, builtIn)
	return it, errors.Join(err, it.addLists(file, doc.Lists), it.inject(text, injected{doc.Files, doc.Units, doc.Requires}))
}

func (it Item) clone(name string) Item {
	it.Name = name
	it.Types, it.Options, it.Secrets = slices.Clone(it.Types), slices.Clone(it.Options), slices.Clone(it.Secrets)
	it.defaults, it.lists = maps.Clone(it.defaults), maps.Clone(it.lists)
	return it
}

func (r *Registry) addTypes(it *Item, file string, names []string) error {
	for _, name := range names {
		t, ok := r.types[name]
		if !ok {
			return &Error{Source: file, Msg: fmt.Sprintf("unknown type %q", name),
				Nearest: nearest.Name(name, slices.Collect(maps.Keys(r.types)))}
		}
		if slices.Contains(it.Types, name) {
			continue
		}
		it.Types = append(it.Types, name)
		for _, o := range t.Options {
			if other, clash := it.option(o.Name); clash {
				return &Error{Source: file, Msg: fmt.Sprintf("types %s and %s both have an option %q", other.Type, name, o.Name)}
			}
			it.Options = append(it.Options, o)
		}
		it.addSecrets(t.Secrets)
	}
	if len(it.Types) == 0 {
		return &Error{Source: file, Msg: "an item needs `types`, or `from` with the item that it extends"}
	}
	slices.SortFunc(it.Options, func(a, b Option) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

// addSecrets adds secrets; one of the same name takes the other's place.
func (it *Item) addSecrets(list []Secret) {
	for _, s := range list {
		it.Secrets = slices.DeleteFunc(it.Secrets, func(o Secret) bool { return o.Name == s.Name })
		it.Secrets = append(it.Secrets, s)
	}
	slices.SortFunc(it.Secrets, func(a, b Secret) int { return strings.Compare(a.Name, b.Name) })
}

// setDefaults reads the option values that an item sets.
func (it *Item) setDefaults(r *Registry, doc document, options ast.Node, builtIn bool) error {
	if options == nil || options.Type() == ast.NullType {
		return nil
	}
	list, err := entries(doc.name, options)
	if err != nil {
		return err
	}
	l := loader{registry: r, item: *it, files: doc.files, values: it.defaults}
	m := mapping{document: doc}
	if builtIn { // people know its name, not its file
		m.label, m.files = "item "+it.Name, nil
	}
	l.mapping(m, list)
	for i, o := range it.Options {
		if s, ok := it.defaults[o.Name]; ok && !isUnresolved(s.value) {
			it.Options[i].Default = s.value
		}
	}
	return errors.Join(l.errs...)
}

// addLists adds groups to the item's lists, after checking that their
// conditions can come true.
func (it *Item) addLists(file string, lists map[string][]group) error {
	var errs []error
	for name, groups := range lists {
		for _, g := range groups {
			for _, cond := range []map[string][]string{g.When, g.Unless} {
				errs = append(errs, it.checkCondition(file, name, cond))
			}
		}
		it.lists[name] = append(slices.Clone(it.lists[name]), groups...)
	}
	return errors.Join(errs...)
}

func (it Item) checkCondition(file, list string, cond map[string][]string) error {
	for key, values := range cond {
		o, ok := it.option(key)
		if !ok || o.Kind == List {
			return &Error{Source: file, Msg: fmt.Sprintf("list %q depends on %q, which is no option that has one value", list, key),
				Nearest: nearest.Name(key, it.optionNames())}
		}
		for _, v := range values {
			parsed, err := o.parse(v)
			if err == nil && o.Format(parsed) != v {
				err = fmt.Errorf("the value %s is written %s there", v, o.Format(parsed))
			}
			if err != nil {
				return &Error{Source: file, Msg: fmt.Sprintf("list %q depends on option %q: %v", list, key, err)}
			}
		}
	}
	return nil
}

// option finds an option by name.
func (it Item) option(name string) (Option, bool) {
	for _, o := range it.Options {
		if o.Name == name {
			return o, true
		}
	}
	return Option{}, false
}

func (it Item) optionNames() []string {
	var names []string
	for _, o := range it.Options {
		names = append(names, o.Name)
	}
	return names
}
