package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/victorinix/vic/internal/nearest"
)

// Error is one thing wrong with the input. Load and Open report all that they
// find, joined.
type Error struct {
	Source string // the file, "-o suite=x", "-n (inline)"; may be empty
	// Line and Column count from 1 (columns in characters); 0 when there is
	// no text to point into.
	Line, Column int
	Msg          string
	// Nearest is the name that was probably meant; may be empty.
	Nearest string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Source)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	if e.Source != "" {
		b.WriteString(": ")
	}
	b.WriteString(e.Msg)
	if e.Nearest != "" {
		fmt.Fprintf(&b, "; did you mean %q?", e.Nearest)
	}
	return b.String()
}

// at makes an Error that points at a node.
func at(source string, n ast.Node, format string, args ...any) *Error {
	e := &Error{Source: source, Msg: fmt.Sprintf(format, args...)}
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return e
	}
	e.Line, e.Column = n.GetToken().Position.Line, n.GetToken().Position.Column
	return e
}

// fromYAML turns an error of the YAML library, which draws several lines of
// source, into an Error of one line. names are the keys that would have been
// right where the library met an unknown one.
func fromYAML(source string, err error, names []string) *Error {
	var ye yaml.Error
	if !errors.As(err, &ye) {
		return &Error{Source: source, Msg: err.Error()}
	}
	e := &Error{Source: source, Msg: firstLine(ye.GetMessage())}
	if tk := ye.GetToken(); tk != nil {
		e.Line, e.Column = tk.Position.Line, tk.Position.Column
		var unknown *yaml.UnknownFieldError
		if errors.As(err, &unknown) {
			e.Msg = fmt.Sprintf("unknown key %q", tk.Value)
			e.Nearest = nearest.Name(tk.Value, names)
		}
	}
	return e
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
