package layout

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/victorinix/vic/internal/nearest"
)

// decoder fills Go values from a YAML tree. Unlike the library's own decoder
// it goes on after an error, and takes scalars as they are written: the type
// code 8e00 is not the number 8.
type decoder struct {
	source    string
	prefix    string              // of all paths: "", "devices" or "disko.devices"
	positions map[string]ast.Node // by path
	// devices are the values of keys that disko computes from the rest of the
	// layout ("device", a swap file's "mountpoint"), by path: see computed.
	devices map[string]ast.Node
	// unmounted are the paths of nodevs whose mountpoint is null: disko does not
	// mount them, and has nothing else to do with them.
	unmounted map[string]bool
	fields    map[reflect.Type]map[string][]int
	depth     int
	errs      []*Error
}

// maxDepth is how deep contents may be nested in one another.
const maxDepth = 32

var nodevType = reflect.TypeFor[Nodev]()

func reflectOf(v any) reflect.Value { return reflect.ValueOf(v).Elem() }

func (d *decoder) fail(n ast.Node, path, format string, args ...any) *Error {
	e := &Error{Source: d.source, Path: path, Msg: fmt.Sprintf(format, args...)}
	if n != nil && n.GetToken() != nil && n.GetToken().Position != nil {
		e.Line, e.Column = n.GetToken().Position.Line, n.GetToken().Position.Column
	}
	d.errs = append(d.errs, e)
	return e
}

// locate adds an error of Validate, with the position of its path or of the
// nearest parent that was written down.
func (d *decoder) locate(e *Error) {
	path := d.full(e.Path)
	for at := path; ; {
		if n := d.positions[at]; n != nil {
			d.fail(n, path, "%s", e.Msg).Nearest = e.Nearest
			return
		}
		i := strings.LastIndexByte(at, '.')
		if i < 0 {
			d.fail(nil, path, "%s", e.Msg).Nearest = e.Nearest
			return
		}
		at = at[:i]
	}
}

func (d *decoder) unknown(key ast.Node, path string, known []string) {
	name := key.GetToken().Value
	d.fail(key, path, "unknown key %q", name).Nearest = nearest.Name(name, known)
}

// value decodes n into v.
func (d *decoder) value(n ast.Node, path string, v reflect.Value) {
	if _, seen := d.positions[path]; !seen {
		d.positions[path] = n
	}
	if n == nil || n.Type() == ast.NullType {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, path, v.Elem())
	case reflect.Struct, reflect.Map:
		if c, ok := v.Addr().Interface().(*Content); ok {
			d.content(n, path, c)
			return
		}
		if files, ok := v.Addr().Interface().(*map[string]SwapFile); ok && d.oldSwap(n, path, files) {
			return
		}
		d.mapping(n, path, v)
	case reflect.Bool:
		switch s, _ := scalar(n); s {
		case "true", "false":
			v.SetBool(s == "true")
		default:
			d.fail(n, path, "expected true or false, got %s", describe(n))
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf(d.plain(n, path)))
	case reflect.Slice:
		d.sequence(n, path, v)
	case reflect.String:
		if s, ok := scalar(n); ok {
			v.SetString(s)
		} else {
			d.fail(n, path, "expected a string, got %s", describe(n))
		}
	case reflect.Int:
		s, _ := scalar(n)
		i, err := strconv.Atoi(s)
		if err != nil {
			d.fail(n, path, "expected a whole number, got %s", describe(n))
		}
		v.SetInt(int64(i))
	default:
		panic("layout: no decoder for " + v.Type().String())
	}
}

func (d *decoder) mapping(n ast.Node, path string, v reflect.Value) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.fail(n, path, "expected a mapping (key: value), got %s", describe(n))
		return
	}
	if v.Kind() == reflect.Map {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for it := m.MapRange(); it.Next(); {
		key, ok := scalar(it.Key())
		if !ok {
			d.fail(it.Key(), path, "expected a plain key, got %s", describe(it.Key()))
			continue
		}
		below := strings.TrimPrefix(path+"."+key, ".")
		d.positions[below] = it.Key()
		if v.Kind() == reflect.Map {
			elem := reflect.New(v.Type().Elem()).Elem()
			d.value(it.Value(), below, elem)
			v.SetMapIndex(reflect.ValueOf(key), elem)
			continue
		}
		fields := d.fieldsOf(v.Type())
		index, known := fields[key]
		switch {
		case known:
			d.value(it.Value(), below, v.FieldByIndex(index))
			if key == "mountpoint" && v.Type() == nodevType && it.Value().Type() == ast.NullType {
				d.unmounted[path] = true
			}
		case key == "type" && contentTypes[v.Type()]:
		case d.special(v.Type(), key, below, it.Value()):
		default:
			d.unknown(it.Key(), path, keys(fields))
		}
	}
}

func (d *decoder) sequence(n ast.Node, path string, v reflect.Value) {
	list, ok := n.(ast.ArrayNode)
	if !ok {
		d.fail(n, path, "expected a list, got %s", describe(n))
		return
	}
	for it := list.ArrayRange(); it.Next(); {
		elem := reflect.New(v.Type().Elem()).Elem()
		d.value(it.Value(), fmt.Sprintf("%s[%d]", path, v.Len()), elem)
		v.Set(reflect.Append(v, elem))
	}
}

// content decodes what a device holds, by its type.
func (d *decoder) content(n ast.Node, path string, c *Content) {
	if d.depth++; d.depth > maxDepth {
		d.fail(n, path, "is nested more than %d deep", maxDepth)
		return
	}
	defer func() { d.depth-- }()
	m, ok := n.(ast.MapNode)
	if !ok {
		d.fail(n, path, "expected a mapping (key: value), got %s", describe(n))
		return
	}
	var name ast.Node
	for it := m.MapRange(); it.Next(); {
		if key, ok := scalar(it.Key()); ok && key == "type" {
			name = it.Value()
		}
	}
	types := slices.Sorted(maps.Keys(specs))
	if name == nil {
		d.fail(n, path, "type is missing, expected one of %s", strings.Join(types, ", "))
		return
	}
	word, _ := scalar(name)
	if strings.HasPrefix(word, "bcache_") {
		d.fail(name, path+".type", "%s", refusedBcache)
		return
	}
	spec, ok := specs[word]
	if !ok {
		d.fail(name, path+".type", "unknown content type %s", describe(name)).Nearest = nearest.Name(word, types)
		return
	}
	c.Spec = spec()
	d.positions[path+".type"] = name
	d.mapping(n, path, reflectOf(c.Spec))
}

// contentTypes are the types behind Spec: their key "type" has been read.
var contentTypes = func() map[reflect.Type]bool {
	m := map[reflect.Type]bool{}
	for _, spec := range specs {
		m[reflect.TypeOf(spec()).Elem()] = true
	}
	return m
}()

// plain is the value of a node of any kind: a string, a list or a map.
func (d *decoder) plain(n ast.Node, path string) any {
	switch n := n.(type) {
	case ast.MapNode:
		m := map[string]any{}
		for it := n.MapRange(); it.Next(); {
			key, _ := scalar(it.Key())
			m[key] = d.plain(it.Value(), path+"."+key)
		}
		return m
	case ast.ArrayNode:
		list := []any{}
		for it := n.ArrayRange(); it.Next(); {
			list = append(list, d.plain(it.Value(), fmt.Sprintf("%s[%d]", path, len(list))))
		}
		return list
	}
	s, ok := scalar(n)
	if !ok {
		d.fail(n, path, "expected a value, got %s", describe(n))
	}
	return s
}

// fieldsOf maps the keys of a struct to its fields, those of embedded structs
// included.
func (d *decoder) fieldsOf(t reflect.Type) map[string][]int {
	if m, ok := d.fields[t]; ok {
		return m
	}
	m := map[string][]int{}
	d.fields[t] = m
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			m[name] = f.Index
		}
	}
	return m
}

func keys(m map[string][]int) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	return list
}

// scalar returns a scalar as it was written.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// describe says what a node is, for people.
func describe(n ast.Node) string {
	if s, ok := scalar(n); ok {
		return fmt.Sprintf("%.40q", s)
	}
	switch n.(type) {
	case ast.MapNode:
		return "a mapping"
	case ast.ArrayNode:
		return "a list"
	}
	return "a " + strings.ToLower(n.Type().String()) + " (not supported here)"
}
