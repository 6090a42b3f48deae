package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/victorinix/vic/internal/template"
)

// readLines reads the lines of the FILE in @FILE; see Rule.FromFile.
type readLines func(file string) ([]string, error)

// fromNode reads a value out of YAML: of its Go type, or unresolved. All that
// is wrong with it is joined.
func (r Rule) fromNode(doc document, n ast.Node, lines readLines) (any, error) {
	if r.Kind == List {
		return r.listFromNode(doc, n, lines)
	}
	if text, ok := stringOf(n); ok && template.Is(text) {
		return unresolved{[]string{text}, []spot{doc.spotOf(n)}}, nil
	}
	text, err := r.scalar(doc.name, n)
	if err != nil {
		return nil, err
	}
	v, err := r.parse(text)
	if err != nil {
		return nil, doc.at(n, "%v", err)
	}
	return v, nil
}

// scalar is the text of a node of the right YAML type: a number is no string,
// because 12.10 and 012 would lose digits on the way.
func (r Rule) scalar(source string, n ast.Node) (string, error) {
	var ok bool
	switch n.(type) {
	case *ast.StringNode:
		ok = r.Kind != Bool && r.Kind != Int
	case *ast.BoolNode:
		ok = r.Kind == Bool
	case *ast.IntegerNode:
		ok = r.Kind == Int || r.Kind == Size
	}
	if ok {
		return n.GetToken().Value, nil
	}
	hint := ""
	switch n.(type) {
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		if r.Kind != Bool && r.Kind != Int {
			hint = fmt.Sprintf("; write it in quotes: %q", n.GetToken().Value)
		}
	}
	return "", at(source, n, "expected %s, got %s%s", r.want(), describe(n), hint)
}

func (r Rule) listFromNode(doc document, n ast.Node, lines readLines) (any, error) {
	list := elements{}
	failAt := func(n ast.Node) func(string) error {
		return func(msg string) error { return doc.at(n, "%s", msg) }
	}
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		// sshkey: "@FILE" is what people write.
		if s, isString := n.(*ast.StringNode); isString && r.FromFile && strings.HasPrefix(s.Value, "@") {
			err := r.element(&list, s.Value, lines, doc.spotOf(n), failAt(n))
			return list.value(), err
		}
		return nil, doc.at(n, "expected %s, got %s", r.want(), describe(n))
	}
	var errs []error
	for _, el := range seq.Values {
		text, err := r.Of.scalar(doc.name, el)
		if err == nil {
			err = r.element(&list, text, lines, doc.spotOf(el), failAt(el))
		}
		errs = append(errs, err)
	}
	return list.value(), errors.Join(errs...)
}

// fromText reads a value as -o takes it. A comma separates the elements of a
// list; elements that contain commas are written as a YAML list:
// -o 'kernel-params=["console=ttyS0,115200", quiet]'.
func (r Rule) fromText(doc document, text string, lines readLines) (any, error) {
	fail := func(msg string) error { return &Error{Source: doc.name, Msg: msg} }
	where := func(line, column int) (string, int, int) { return strings.SplitN(doc.name, "=", 2)[0], line, column }
	if r.Kind != List {
		if template.Is(text) {
			return unresolved{[]string{text}, []spot{where}}, nil
		}
		v, err := r.parse(text)
		if err != nil {
			return nil, fail(err.Error())
		}
		return v, nil
	}
	if strings.HasPrefix(text, "[") {
		n, err := parse(doc.name, []byte(text))
		if err != nil {
			return nil, err
		}
		return r.listFromNode(document{name: doc.name, text: []byte(text)}, n, lines)
	}
	list := elements{}
	var errs []error
	for el := range strings.SplitSeq(text, ",") {
		if text == "" {
			break
		}
		errs = append(errs, r.element(&list, strings.TrimSpace(el), lines, where, fail))
	}
	return list.value(), errors.Join(errs...)
}

// elements of a list, as they are read.
type elements struct {
	texts   []string
	spots   []spot
	pending []bool // it is a template
}

func (l *elements) add(text string, where spot, pending bool) {
	l.texts, l.spots, l.pending = append(l.texts, text), append(l.spots, where), append(l.pending, pending)
}

// value is the list, unresolved when an element is a template.
func (l *elements) value() any {
	if !slices.Contains(l.pending, true) {
		return append([]string{}, l.texts...)
	}
	u := unresolved{spots: l.spots}
	for i, text := range l.texts {
		if !l.pending[i] {
			text = template.Escape(text)
		}
		u.texts = append(u.texts, text)
	}
	return u
}

// element adds one element of a list, or all lines of the file that @FILE
// names.
func (r Rule) element(list *elements, text string, lines readLines, where spot, fail func(string) error) error {
	name, isFile := strings.CutPrefix(text, "@")
	if !isFile || !r.FromFile {
		pending := template.Is(text)
		if !pending {
			if _, err := r.Of.parse(text); err != nil {
				return fail(err.Error())
			}
		}
		list.add(text, where, pending)
		return nil
	}
	found, err := lines(name)
	if err != nil {
		return fail(err.Error())
	}
	if len(found) == 0 {
		return fail(fmt.Sprintf("file %s is empty, expected %s", name, r.want()))
	}
	for _, line := range found {
		if _, err := r.Of.parse(line); err != nil {
			return fail(fmt.Sprintf("file %s: %v", name, err))
		}
		list.add(line, where, false)
	}
	return nil
}

// formatList is the reverse of fromText.
func formatList(list []string) string {
	for _, s := range list {
		if strings.Contains(s, ",") {
			quoted := make([]string, len(list))
			for i, s := range list {
				quoted[i] = fmt.Sprintf("%q", s)
			}
			return "[" + strings.Join(quoted, ", ") + "]"
		}
	}
	return strings.Join(list, ",")
}
