package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Layer says what an option changes.
type Layer string

// The layers of a system that an option can belong to.
const (
	Build   Layer = "build"   // the bytes of the artefacts
	Install Layer = "install" // only what is done on the target (or in the virtual machine)
)

// Option is a typed, documented setting.
type Option struct {
	Name        string `yaml:"-" json:"name"`
	Type        string `yaml:"-" json:"-"` // the type that it comes from
	Rule        `yaml:",inline"`
	Default     any    `yaml:"-" json:"default"` // for the item, when it comes from Item.Options
	Description string `yaml:"description" json:"description"`
	Example     string `yaml:"example" json:"example,omitempty"` // as -o takes it
	Layer       Layer  `yaml:"layer" json:"layer"`
	// Late: its value may depend on the machine, and is a template until then.
	Late bool `yaml:"late" json:"late,omitempty"`

	DefaultNode ast.Node `yaml:"default" json:"-"`
}

// Secret is a secret that an item takes. Its value never enters a Config.
type Secret struct {
	Name        string `yaml:"-" json:"name"`
	Description string `yaml:"description" json:"description"`
	Required    bool   `yaml:"required" json:"required"`
}

// Type is a named set of options and secrets.
type Type struct {
	Name        string
	Description string
	Options     []Option // by name
	Secrets     []Secret // by name
}

// Registry is the items and types that vic knows.
type Registry struct {
	types map[string]Type
	items map[string]Item
}

// Open reads all types and items of a tree (see the package images) and checks
// that they fit together.
func Open(items fs.FS) (*Registry, error) {
	r := &Registry{map[string]Type{}, map[string]Item{}}
	var errs []error
	errs = append(errs, eachFile(items, "types", func(name, file string, text []byte) error {
		t, err := readType(name, file, text)
		r.types[name] = t
		return err
	}))
	if err := errors.Join(errs...); err != nil {
		return nil, err // items would only repeat it
	}
	errs = append(errs, eachFile(items, "items", func(name, file string, text []byte) error {
		it, err := r.readItem(name, document{name: file, dir: path.Dir(file), text: text, files: fsFiles{items}}, true)
		r.items[name] = it
		return err
	}))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return r, nil
}

func eachFile(items fs.FS, dir string, read func(name, file string, text []byte) error) error {
	files, err := fs.Glob(items, dir+"/*.yaml")
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	if len(files) == 0 {
		return fmt.Errorf("list %s: no files", dir)
	}
	var errs []error
	for _, file := range files {
		text, err := fs.ReadFile(items, file)
		if err == nil {
			err = read(strings.TrimSuffix(path.Base(file), ".yaml"), file, text)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Items lists the items by name.
func (r *Registry) Items() []Item {
	var list []Item
	for _, name := range slices.Sorted(maps.Keys(r.items)) {
		list = append(list, r.items[name])
	}
	return list
}

// Types lists the types by name.
func (r *Registry) Types() []Type {
	var list []Type
	for _, name := range slices.Sorted(maps.Keys(r.types)) {
		list = append(list, r.types[name])
	}
	return list
}

// readType reads types/NAME.yaml.
func readType(name, file string, text []byte) (Type, error) {
	var doc struct {
		Description string            `yaml:"description"`
		Options     map[string]Option `yaml:"options"`
		Secrets     map[string]Secret `yaml:"secrets"`
	}
	t := Type{Name: name}
	if err := decode(file, text, &doc, nil); err != nil {
		return t, err
	}
	t.Description = doc.Description
	t.Secrets = namedSecrets(doc.Secrets)
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(doc.Options)) {
		o := doc.Options[key]
		o.Name, o.Type = key, name
		err := o.complete(file)
		t.Options, errs = append(t.Options, o), append(errs, err)
	}
	return t, errors.Join(errs...)
}

// complete checks an option's definition and reads its default.
func (o *Option) complete(file string) error {
	fail := func(format string, args ...any) error {
		return &Error{Source: file, Msg: fmt.Sprintf("option %q: ", o.Name) + fmt.Sprintf(format, args...)}
	}
	if err := o.valid(); err != nil {
		return fail("%v", err)
	}
	if o.Description == "" || (o.Layer != Build && o.Layer != Install) {
		return fail("needs a description and a layer (build or install)")
	}
	if o.DefaultNode == nil {
		return fail("needs a default")
	}
	var err error
	if o.Default, err = o.fromNode(document{name: file}, o.DefaultNode, noFiles); err != nil {
		return err
	}
	if _, pending := o.Default.(unresolved); pending {
		return fail("its default is a template: that is for items")
	}
	if o.Late && !o.canBeLate() {
		return fail("only a string, a hostname or a list of them can be late, and only in the layer install")
	}
	if slices.Contains(reserved, o.Name) {
		return fail("the name means something else in -n")
	}
	if o.Example == "" {
		return nil
	}
	_, err = o.fromText(document{name: fmt.Sprintf("%s: example of %q", file, o.Name)}, o.Example, func(string) ([]string, error) {
		return nil, nil
	})
	if err != nil && !strings.HasPrefix(o.Example, "@") {
		return err
	}
	return nil
}

// reserved are the keys of -n that are no options.
var reserved = []string{"files", "units", "requires", "secrets"}

func (o *Option) canBeLate() bool {
	rule := o.Rule
	if rule.Of != nil {
		rule = *rule.Of
	}
	return o.Layer == Install && (rule.Kind == String || rule.Kind == Hostname)
}

func noFiles(string) ([]string, error) {
	return nil, errors.New("a default cannot come from a file")
}

func namedSecrets(m map[string]Secret) []Secret {
	var list []Secret
	for _, key := range slices.Sorted(maps.Keys(m)) {
		s := m[key]
		s.Name = key
		list = append(list, s)
	}
	return list
}
