package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/victorinix/vic/internal/nearest"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/template"
)

// fileSpec is an element of `files`, or of `units`: then name is set, and not
// path, owner, group and mode.
type fileSpec struct {
	when, unless map[string][]string
	at           *Error // where it stands
	content      templ
	// path, owner and group may ask for options.
	path, owner, group templ
	mode               uint32 // 0: by what is in it
	unit               string
	enabled            bool
}

// what names it for people.
func (f fileSpec) what() string {
	if f.unit != "" {
		return "unit " + f.unit
	}
	return "file " + f.path.String()
}

var (
	fileKeys = []string{"path", "content", "source", "verbatim", "mode", "owner", "group", "when", "unless"}
	unitKeys = []string{"name", "content", "source", "verbatim", "enabled", "when", "unless"}
)

// specReader reads one element of `files` or `units`.
type specReader struct {
	doc      document
	spec     fileSpec
	values   map[string]ast.Node
	errs     []error
	verbatim bool
}

// readSpecs reads a list of files or of units; keys are those of an element.
func readSpecs(doc document, n ast.Node, keys []string) ([]fileSpec, error) {
	if n == nil || n.Type() == ast.NullType {
		return nil, nil
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		return nil, doc.at(n, "expected a list, each element with %s, got %s", strings.Join(keys, ", "), describe(n))
	}
	var specs []fileSpec
	var errs []error
	for _, el := range seq.Values {
		r := specReader{doc: doc, values: map[string]ast.Node{}}
		r.spec.at = doc.at(el, "")
		r.read(el, keys)
		specs, errs = append(specs, r.spec), append(errs, r.errs...)
	}
	return specs, errors.Join(errs...)
}

func (r *specReader) fail(err error) {
	if err != nil {
		r.errs = append(r.errs, err)
	}
}

func (r *specReader) read(el ast.Node, keys []string) {
	list, err := entries(r.doc.name, el)
	r.fail(err)
	for _, e := range list {
		if !slices.Contains(keys, e.key) {
			at := r.doc.at(e.node, "unknown key %q, expected %s", e.key, strings.Join(keys, ", "))
			at.Nearest = nearest.Name(e.key, keys)
			r.fail(at)
			continue
		}
		r.values[e.key] = e.value
	}
	if err != nil {
		return
	}
	if slices.Contains(keys, "name") {
		r.unit(el)
	} else {
		r.file(el)
	}
	r.spec.when, r.spec.unless = r.condition("when"), r.condition("unless")
	r.verbatim = r.flag("verbatim")
	r.content(el)
}

// text is the text of a key that may be missing.
func (r *specReader) text(key, otherwise string) (string, spot) {
	n, ok := r.values[key]
	if !ok {
		return otherwise, r.doc.spotOf(nil)
	}
	if _, number := n.(*ast.IntegerNode); number {
		return n.GetToken().Value, r.doc.spotOf(n)
	}
	s, ok := stringOf(n)
	if !ok {
		r.fail(r.doc.at(n, "%s: expected a string, got %s", key, describe(n)))
	}
	return s, r.doc.spotOf(n)
}

// templ is the template of a key, which may ask for options and nothing else.
func (r *specReader) templ(key, otherwise string) templ {
	text, where := r.text(key, otherwise)
	t, err := parseTempl(text, where, key)
	r.fail(err)
	if err != nil {
		t, _ = parseTempl("", where, key)
	}
	for _, ref := range t.References() {
		if ref.Kind != template.Option {
			r.fail(t.refer(ref, "", "%s: it has to be known before the machine is: of templates it takes only {{ option }}", key))
		}
	}
	return t
}

func (r *specReader) flag(key string) bool {
	n, ok := r.values[key]
	if !ok {
		return false
	}
	b, ok := n.(*ast.BoolNode)
	if !ok {
		r.fail(r.doc.at(n, "%s: expected true or false, got %s", key, describe(n)))
		return false
	}
	return b.Value
}

func (r *specReader) file(el ast.Node) {
	if _, ok := r.values["path"]; !ok {
		r.fail(r.doc.at(el, "a file needs a path"))
	}
	r.spec.path, r.spec.owner, r.spec.group = r.templ("path", "/"), r.templ("owner", "root"), r.templ("group", "")
	if n, ok := r.values["path"]; ok && len(r.spec.path.References()) == 0 {
		if err := request.CheckPath(r.spec.path.String()); err != nil && !template.Is(r.spec.path.String()) {
			r.fail(r.doc.at(n, "path: %v", err))
		}
	}
	n, ok := r.values["mode"]
	if !ok {
		return
	}
	text, _ := r.text("mode", "")
	mode, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil || mode == 0 || mode > 0o7777 || len(text) < 3 {
		r.fail(r.doc.at(n, "mode: expected octal digits such as 0644, got %.20q", text))
	}
	r.spec.mode = uint32(mode)
}

func (r *specReader) unit(el ast.Node) {
	n, ok := r.values["name"]
	if !ok {
		r.fail(r.doc.at(el, "a unit needs a name"))
		return
	}
	r.spec.unit, _ = r.text("name", "")
	if err := request.CheckUnitName(r.spec.unit); err != nil {
		r.fail(r.doc.at(n, "%v", err))
	}
	r.spec.enabled = r.flag("enabled")
}

// condition reads `when` or `unless`, as lists have them.
func (r *specReader) condition(key string) map[string][]string {
	n, ok := r.values[key]
	if !ok {
		return nil
	}
	list, err := entries(r.doc.name, n)
	r.fail(err)
	cond := map[string][]string{}
	for _, e := range list {
		values, err := scalars(r.doc.name, e.value)
		r.fail(err)
		cond[e.key] = values
	}
	return cond
}

// scalars reads one scalar, or a list of them, as text.
func scalars(source string, n ast.Node) ([]string, error) {
	nodes := []ast.Node{n}
	if seq, ok := n.(*ast.SequenceNode); ok {
		nodes = seq.Values
	}
	var values []string
	for _, n := range nodes {
		switch n := n.(type) {
		case *ast.StringNode:
			values = append(values, n.Value)
		case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.NullNode:
			values = append(values, n.GetToken().Value)
		default:
			return nil, at(source, n, "expected a value, or a list of values, got %s", describe(n))
		}
	}
	return values, nil
}

// content reads the template, from the document or from a file beside it.
func (r *specReader) content(el ast.Node) {
	inline, here := r.values["content"]
	file, there := r.values["source"]
	if here == there {
		r.fail(r.doc.at(el, "needs either content or source"))
		return
	}
	n, key := inline, "content"
	if there {
		n, key = file, "source"
	}
	text, ok := stringOf(n)
	if !ok {
		r.fail(r.doc.at(n, "%s: expected a string, got %s", key, describe(n)))
		return
	}
	where := r.doc.spotOf(n)
	if there {
		path, body, err := r.load(text)
		if err != nil {
			r.fail(r.doc.at(n, "source: %v", err))
			return
		}
		text = body
		where = func(line, column int) (string, int, int) { return path, line, column }
	}
	if r.verbatim {
		text = template.Escape(text)
	}
	t, err := parseTempl(text, where, "template")
	r.fail(err)
	r.spec.content = t
}

// maxSource is the largest file that becomes part of an item, in bytes.
const maxSource = 256 << 10

func (r *specReader) load(name string) (path, text string, err error) {
	if r.doc.files == nil {
		return "", "", errors.New("there are no files here to read from")
	}
	if path, err = resolve(r.doc.dir, name); err != nil {
		return "", "", err
	}
	b, err := r.doc.files.ReadFile(path)
	if err == nil && len(b) > maxSource {
		err = fmt.Errorf("%s has %d bytes, at most %d are taken: what is large belongs into a package", path, len(b), maxSource)
	}
	return filepath.Clean(path), string(b), err
}
