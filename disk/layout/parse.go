package layout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxSize is the largest document that is read, in bytes.
const maxSize = 1 << 20

// Parse reads a layout from YAML or JSON and validates it. The layout is the
// value of "disko: devices:", of "devices:", or the document itself. name is
// used in errors; each wrong thing is an *Error with line and column.
func Parse(name string, data []byte) (Layout, error) {
	l, errs := parse(name, data)
	return l, join(errs)
}

func parse(name string, data []byte) (Layout, []*Error) {
	if len(data) > maxSize {
		return Layout{}, []*Error{{Source: name, Msg: fmt.Sprintf("is %d bytes long, at most %d are read", len(data), maxSize)}}
	}
	if json.Valid(data) {
		// YAML forbids tabs in indentation. Outside of strings, where JSON
		// has none, one is as good as a space and keeps the columns.
		data = bytes.ReplaceAll(data, []byte("\t"), []byte(" "))
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return Layout{}, []*Error{syntaxError(name, err)}
	}
	d := decoder{
		source: name, positions: map[string]ast.Node{}, devices: map[string]ast.Node{},
		unmounted: map[string]bool{}, fields: map[reflect.Type]map[string][]int{},
	}
	var l Layout
	if body := d.document(file); body != nil {
		d.layout(body, &l)
		d.check(&l)
	}
	return l, d.errs
}

// check finds what is wrong with a layout that was read. Where reading it found
// mistakes, what seems to be missing, or lies inside of what could not be read,
// is not reported as well.
func (d *decoder) check(l *Layout) {
	for key := range l.Nodev {
		if d.unmounted[d.full("nodev."+key)] {
			delete(l.Nodev, key)
		}
	}
	l.normalize()
	unread := make([]string, len(d.errs))
	for i, e := range d.errs {
		unread[i] = e.Path
	}
	d.computed(*l)
	for _, e := range l.problems() {
		if len(unread) > 0 && (e.absent || slices.ContainsFunc(unread, func(at string) bool { return within(d.full(e.Path), at) })) {
			continue
		}
		d.locate(e)
	}
}

// within says whether a path is below another, or the other way round.
func within(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+".") || strings.HasPrefix(b, a+".") || strings.HasPrefix(a, b+"[") || b == ""
}

// full is a path from the top of the document.
func (d *decoder) full(path string) string {
	if d.prefix == "" {
		return path
	}
	return d.prefix + "." + path
}

// syntaxError makes one line of the library's drawing of the source.
func syntaxError(name string, err error) *Error {
	e := &Error{Source: name, Msg: err.Error()}
	var ye yaml.Error
	if errors.As(err, &ye) {
		e.Msg, _, _ = strings.Cut(ye.GetMessage(), "\n")
		if tk := ye.GetToken(); tk != nil && tk.Position != nil {
			e.Line, e.Column = tk.Position.Line, tk.Position.Column
		}
	}
	return e
}

// document returns the root of the one document in the file, or nil after an
// error.
func (d *decoder) document(file *ast.File) ast.Node {
	var body ast.Node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentGroupType {
			continue
		}
		if body != nil {
			d.fail(doc.Body, "", "holds a second document, expected one")
			return nil
		}
		body = doc.Body
	}
	if body == nil {
		d.errs = append(d.errs, &Error{Source: d.source, Msg: "is empty, expected a layout"})
	}
	return body
}

// layout finds the value of disko.devices and decodes it.
func (d *decoder) layout(n ast.Node, l *Layout) {
	path := ""
	for _, wrapper := range []string{"disko", "devices"} {
		inner := d.only(n, path, wrapper)
		if inner == nil {
			continue
		}
		if path != "" {
			path += "."
		}
		n, path = inner, path+wrapper
	}
	d.prefix = path
	d.value(n, path, reflectOf(l))
}

// only returns the value of key when n is a mapping that has it. The keys
// beside it are then errors.
func (d *decoder) only(n ast.Node, path, key string) ast.Node {
	m, ok := n.(ast.MapNode)
	if !ok {
		return nil
	}
	var found ast.Node
	var others []ast.Node
	for it := m.MapRange(); it.Next(); {
		if k := it.Key(); k.GetToken() != nil && k.GetToken().Value == key {
			found = it.Value()
		} else {
			others = append(others, it.Key())
		}
	}
	if found != nil {
		for _, k := range others {
			d.unknown(k, path, []string{key})
		}
	}
	return found
}
