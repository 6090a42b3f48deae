package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// readLines reads the lines of the FILE in @FILE; see Rule.FromFile.
type readLines func(file string) ([]string, error)

// fromNode reads a value out of YAML. All that is wrong with it is joined.
func (r Rule) fromNode(source string, n ast.Node, lines readLines) (any, error) {
	if r.Kind == List {
		return r.listFromNode(source, n, lines)
	}
	text, err := r.scalar(source, n)
	if err != nil {
		return nil, err
	}
	v, err := r.parse(text)
	if err != nil {
		return nil, at(source, n, "%v", err)
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

func (r Rule) listFromNode(source string, n ast.Node, lines readLines) (any, error) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		// sshkey: "@FILE" is what people write.
		if s, isString := n.(*ast.StringNode); isString && r.FromFile && strings.HasPrefix(s.Value, "@") {
			return r.element(s.Value, lines, func(msg string) error { return at(source, n, "%s", msg) })
		}
		return nil, at(source, n, "expected %s, got %s", r.want(), describe(n))
	}
	list := []string{}
	var errs []error
	for _, el := range seq.Values {
		text, err := r.Of.scalar(source, el)
		if err == nil {
			var got []string
			got, err = r.element(text, lines, func(msg string) error { return at(source, el, "%s", msg) })
			list = append(list, got...)
		}
		errs = append(errs, err)
	}
	return list, errors.Join(errs...)
}

// fromText reads a value as -o takes it. A comma separates the elements of a
// list; elements that contain commas are written as a YAML list:
// -o 'kernel-params=["console=ttyS0,115200", quiet]'.
func (r Rule) fromText(source, text string, lines readLines) (any, error) {
	fail := func(msg string) error { return &Error{Source: source, Msg: msg} }
	if r.Kind != List {
		v, err := r.parse(text)
		if err != nil {
			return nil, fail(err.Error())
		}
		return v, nil
	}
	if strings.HasPrefix(text, "[") {
		n, err := parse(source, []byte(text))
		if err != nil {
			return nil, err
		}
		return r.listFromNode(source, n, lines)
	}
	list := []string{}
	var errs []error
	for el := range strings.SplitSeq(text, ",") {
		if text == "" {
			break
		}
		got, err := r.element(strings.TrimSpace(el), lines, fail)
		list, errs = append(list, got...), append(errs, err)
	}
	return list, errors.Join(errs...)
}

// element reads one element of a list, or all lines of the file that @FILE
// names.
func (r Rule) element(text string, lines readLines, fail func(string) error) ([]string, error) {
	name, isFile := strings.CutPrefix(text, "@")
	if !isFile || !r.FromFile {
		if _, err := r.Of.parse(text); err != nil {
			return nil, fail(err.Error())
		}
		return []string{text}, nil
	}
	found, err := lines(name)
	if err != nil {
		return nil, fail(err.Error())
	}
	if len(found) == 0 {
		return nil, fail(fmt.Sprintf("file %s is empty, expected %s", name, r.want()))
	}
	for _, line := range found {
		if _, err := r.Of.parse(line); err != nil {
			return nil, fail(fmt.Sprintf("file %s: %v", name, err))
		}
	}
	return found, nil
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
