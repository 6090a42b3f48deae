package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/nearest"
)

// Layers is what people and the machine say about the options, beyond what
// types and items do. Later fields win over earlier ones, and later elements
// over earlier ones.
type Layers struct {
	// Host is what vic found out about this machine, such as arch. Options
	// that the item does not have, or sets itself, are left out.
	Host map[string]string
	// UserEnv is the path of the user's settings for all items
	// (~/.config/vic/env.yaml). It may be missing, and may set options that
	// this item does not have but others do. Empty means none.
	UserEnv string
	// Inline are the arguments of -n: a file, or YAML (see IsInline).
	Inline []string
	// Options are the arguments of -o: KEY=VALUE or KEY.
	Options []string
	// Facts says that there is a fact of this path, or what is wrong with it;
	// nil: facts are not looked at. It is envscan.KnownPath.
	Facts func(path string) error
}

// IsInline tells whether an argument of -n is YAML and not the path of a file:
// it starts with "{", ends with ":", or contains a newline or ": ".
func IsInline(arg string) bool {
	return strings.HasPrefix(arg, "{") || strings.HasSuffix(arg, ":") || strings.Contains(arg, ": ") || strings.Contains(arg, "\n")
}

// setting is a value, and where it was set.
type setting struct {
	value    any
	source   string
	explicit bool   // by a person, for this item
	late     bool   // value is templates: it depends on the machine
	spots    []spot // of templates
}

// files reads files; the tests have their own.
type files interface {
	ReadFile(name string) ([]byte, error)
}

type osFiles struct{}

func (osFiles) ReadFile(name string) ([]byte, error) { return os.ReadFile(name) }

// fsFiles are those beside the items that vic has built in.
type fsFiles struct{ fs.FS }

func (f fsFiles) ReadFile(name string) ([]byte, error) { return fs.ReadFile(f.FS, name) }

// Load makes the Config of an item (by name, or the path of a file). All that
// is wrong in any layer is reported at once, as joined *Errors.
func (r *Registry) Load(item string, l Layers) (*Config, error) { return r.load(item, l, osFiles{}) }

func (r *Registry) load(item string, layers Layers, files files) (*Config, error) {
	it, err := r.item(item, files)
	if err != nil {
		return nil, err
	}
	l := loader{registry: r, item: it, files: files, facts: layers.Facts, values: map[string]setting{}}
	for _, o := range it.Options {
		l.values[o.Name] = setting{value: o.Default, source: "type " + o.Type}
		if s, ok := it.defaults[o.Name]; ok {
			l.values[o.Name] = s
		}
	}
	l.host(layers.Host)
	l.userEnv(layers.UserEnv)
	for _, arg := range layers.Inline {
		l.inline(arg)
	}
	for _, arg := range layers.Options {
		l.option(arg)
	}
	l.resolve()
	l.check()
	c := &Config{item: l.item, values: l.values}
	if len(l.errs) == 0 {
		c.injections(&l)
	}
	if err := errors.Join(l.errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// loader collects settings and all that is wrong with them.
type loader struct {
	registry *Registry
	item     Item
	files    files
	facts    func(path string) error
	values   map[string]setting
	errs     []error
}

func (l *loader) fail(err error) {
	if err != nil {
		l.errs = append(l.errs, err)
	}
}

func (l *loader) host(values map[string]string) {
	for key, text := range values {
		o, ok := l.item.option(key)
		if _, set := l.item.defaults[key]; !ok || set {
			continue
		}
		v, err := o.fromText(document{name: "this machine: " + key}, text, noFiles)
		if err != nil {
			l.fail(err)
			continue
		}
		l.values[key] = setting{value: v, source: "this machine"}
	}
}

func (l *loader) userEnv(path string) {
	if path == "" {
		return
	}
	text, err := l.files.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		l.fail(fmt.Errorf("read user settings: %w", err))
		return
	}
	list, err := parseMapping(path, text)
	l.fail(err)
	doc := document{name: path, dir: filepath.Dir(path), text: text, files: l.files}
	l.mapping(mapping{document: doc, explicit: true, shared: true}, list)
}

func (l *loader) inline(arg string) {
	m := mapping{document: document{name: "-n (inline)", files: l.files}, explicit: true}
	text := []byte(arg)
	if !IsInline(arg) {
		var err error
		if text, err = l.files.ReadFile(arg); err != nil {
			l.fail(fmt.Errorf("read options given with -n (YAML itself is written like 'hostname: web1'): %w", err))
			return
		}
		m.name, m.dir = arg, filepath.Dir(arg)
	}
	m.text = text
	list, err := parseMapping(m.name, text)
	l.fail(err)
	l.mapping(m, l.injected(m.document, list))
}

// mapping is a YAML mapping of option values.
type mapping struct {
	document
	label    string // what Config.Source says; empty means name:line
	explicit bool
	shared   bool // may set options of types that the item does not have
}

func (l *loader) mapping(m mapping, list []entry) {
	for _, e := range list {
		o, ok := l.item.option(e.key)
		if !ok {
			if m.shared && l.registry.typesWith(e.key) != nil {
				continue
			}
			err := l.unknown(e.key)
			at := m.at(e.node, "%s", err.Msg)
			at.Nearest = err.Nearest
			if m.shared && !slices.Contains(l.item.secretNames(), e.key) {
				at.Msg, at.Nearest = fmt.Sprintf("no item has an option %q", e.key), nearest.Name(e.key, l.registry.optionNames())
			}
			l.fail(at)
			continue
		}
		v, err := o.fromNode(m.document, e.value, m.lines())
		if err != nil {
			l.fail(named(err, o.Name))
			continue
		}
		label := m.label
		if label == "" {
			label = fmt.Sprintf("%s:%d", m.name, e.node.GetToken().Position.Line)
		}
		l.values[o.Name] = setting{value: v, source: label, explicit: m.explicit}
	}
}

// option reads one argument of -o.
func (l *loader) option(arg string) {
	source := "-o " + arg
	key, text, hasValue := strings.Cut(arg, "=")
	o, ok := l.item.option(key)
	if !ok {
		err := l.unknown(key)
		err.Source = "-o " + key // without the value, which may be a secret
		l.fail(err)
		return
	}
	var v any
	var err error
	switch {
	case hasValue:
		v, err = o.fromText(document{name: source}, text, document{files: l.files}.lines())
	case o.Kind == Bool:
		v = true
	case o.Kind == List:
		v = []string{}
	default:
		err = &Error{Source: source, Msg: fmt.Sprintf("needs a value, expected %s: -o %s=VALUE", o.want(), key)}
	}
	if err != nil {
		l.fail(err)
		return
	}
	l.values[key] = setting{value: v, source: "-o", explicit: true}
}

// unknown explains a key that is no option of the item.
func (l *loader) unknown(key string) *Error {
	for _, s := range l.item.Secrets {
		if s.Name == key {
			return &Error{Msg: fmt.Sprintf("%q is a secret, and secrets are no options: give it with -s %s=@FILE", key, key)}
		}
	}
	if types := l.registry.typesWith(key); types != nil {
		return &Error{Msg: fmt.Sprintf("option %q belongs to items of type %s, and %s is %s",
			key, strings.Join(types, ", "), l.item.Name, strings.Join(l.item.Types, ", "))}
	}
	return &Error{Msg: fmt.Sprintf("unknown option %q of item %s", key, l.item.Name), Nearest: nearest.Name(key, l.item.optionNames())}
}

// typesWith lists the types that have an option of that name.
func (r *Registry) typesWith(key string) []string {
	var names []string
	for _, t := range r.Types() {
		if slices.ContainsFunc(t.Options, func(o Option) bool { return o.Name == key }) {
			names = append(names, t.Name)
		}
	}
	return names
}

// optionNames are those of all types.
func (r *Registry) optionNames() []string {
	var names []string
	for _, t := range r.Types() {
		for _, o := range t.Options {
			names = append(names, o.Name)
		}
	}
	return names
}

// lines reads the files that @FILE names, relative to the document; ~/ is the
// home. Empty lines and comments (#) are left out.
func (d document) lines() readLines {
	return func(name string) ([]string, error) {
		if d.files == nil {
			return noFiles(name)
		}
		path, err := resolve(d.dir, name)
		if err != nil {
			return nil, err
		}
		text, err := d.files.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var lines []string
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
				lines = append(lines, line)
			}
		}
		return lines, nil
	}
}

func resolve(dir, name string) (string, error) {
	if rest, ok := strings.CutPrefix(name, "~/"); ok {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("find home directory for %s: %w", name, err)
		}
		return filepath.Join(home, rest), nil
	}
	if filepath.IsAbs(name) {
		return name, nil
	}
	return filepath.Join(dir, name), nil
}

// named adds the option's name to errors about its value.
func named(err error, key string) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, e := range many.Unwrap() {
			errs = append(errs, named(e, key))
		}
		return errors.Join(errs...)
	}
	if e, ok := err.(*Error); ok {
		with := *e
		with.Msg = fmt.Sprintf("option %q: %s", key, e.Msg)
		return &with
	}
	return err
}
