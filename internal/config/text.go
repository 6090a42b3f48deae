package config

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"

	"github.com/victorinix/vic/internal/template"
)

// document is a text that settings are read from.
type document struct {
	name  string // for people: a path, "-n (inline)"
	dir   string // that the files it names are relative to
	text  []byte
	files files // nil: it may name none
}

// at makes an Error that points at a node of the document.
func (d document) at(n ast.Node, format string, args ...any) *Error {
	return at(d.name, n, format, args...)
}

// spot turns a place in a text into one in what people wrote.
type spot func(line, column int) (source string, l, c int)

// spotOf finds a scalar's text again in the document it stands in. Where YAML
// has changed the text (escapes, folding), every place is that of the node.
func (d document) spotOf(n ast.Node) spot {
	start := at(d.name, n, "")
	lines := strings.Split(string(d.text), "\n")
	value, _ := stringOf(n)
	parts := strings.Split(value, "\n")
	_, block := n.(*ast.LiteralNode)
	return func(line, column int) (string, int, int) {
		row := start.Line + line - 1
		if block {
			row++ // the text begins below its |
		}
		if start.Line == 0 || row > len(lines) || line > len(parts) || !block && len(parts) > 1 {
			return d.name, start.Line, start.Column
		}
		before, raw := "", lines[row-1]
		if !block {
			cut := byteOffset(raw, start.Column)
			before, raw = raw[:cut], raw[cut:]
		}
		i := strings.Index(raw, parts[line-1])
		if i < 0 || !block && i > 1 {
			return d.name, start.Line, start.Column
		}
		return d.name, row, utf8.RuneCountInString(before+raw[:i]) + column
	}
}

// byteOffset is where the column, counted in characters from 1, begins.
func byteOffset(line string, column int) int {
	for i := range line {
		if column--; column == 0 {
			return i
		}
	}
	return len(line)
}

// stringOf is the text of a scalar that is a string.
func stringOf(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	}
	return "", false
}

// templ is a template, and where it stands.
type templ struct {
	*template.Template
	spot spot
}

// parseTempl reads a template; its mistakes point into what people wrote.
func parseTempl(text string, where spot, what string) (templ, error) {
	t, err := template.Parse(text)
	return templ{t, where}, placed(err, where, what)
}

// placed turns the errors of a template into Errors.
func placed(err error, where spot, what string) error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, e := range many.Unwrap() {
			errs = append(errs, placed(e, where, what))
		}
		return errors.Join(errs...)
	}
	var te *template.Error
	if !errors.As(err, &te) {
		source, l, c := where(1, 1)
		return &Error{Source: source, Line: l, Column: c, Msg: what + ": " + err.Error()}
	}
	source, l, c := where(te.Line, te.Column)
	return &Error{Source: source, Line: l, Column: c, Msg: what + ": " + te.Msg, Nearest: te.Nearest}
}

// refer makes an Error about one of the template's references.
func (t templ) refer(r template.Reference, near, format string, args ...any) *Error {
	source, l, c := t.spot(r.Line, r.Column)
	return &Error{Source: source, Line: l, Column: c, Msg: fmt.Sprintf(format, args...), Nearest: near}
}
