// Package template is the language of files, units and options that depend on
// what is known late: option values, facts of the machine, secrets.
//
//	hostname: 'node-{{ env "hw.nic.0.hwaddr" | replace ":" "" }}'
//
//	psk={{ secret "wifi-psk" }}
//	{{- range env "hw.nic" }}
//	allow-hotplug {{ .name }}
//	{{- end }}
//
// The syntax is a small part of text/template's: actions with functions and
// pipes, if, else, range, comments, and the trim markers. Names are constants,
// so that everything a template asks for is known without running it:
// References lists it, and `vic check` compares it with what there is.
//
//	Parse --References--> who is asked for what
//	      --Render(Source)--> Segments, with the names of secrets in them
//	Segments --Fill(secrets)--> bytes
//
// Options and facts are filled in where no secret is needed. A secret can only
// be written out, whole, through a function that quotes it or as it is: so it
// is looked up at the very end, by what writes the file, and what comes before
// has only its name. Nothing that is missing becomes an empty string.
//
// The package is pure: it knows no machine, and reads nothing.
package template

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Template is a text that was parsed and checked.
type Template struct {
	text  string
	nodes []node
	refs  []Reference
}

// The kinds of a Reference.
const (
	Option = "option"
	Env    = "env"
	Secret = "secret"
)

// Reference is one place where a template asks for something.
type Reference struct {
	Kind string // Option, Env or Secret
	Name string // of a fact: its path; elements of a list are meant by the first, 0
	// Line and Column are where, from 1; columns in characters.
	Line, Column int
	// Conditional: it stands below an if or a range, and may not be asked for.
	Conditional bool
	// List: it is what a range goes through.
	List bool
}

// Error is something wrong at a place of a template.
type Error struct {
	Line, Column int // from 1; columns in characters
	Msg          string
	Nearest      string // the name that was probably meant; may be empty
	Err          error  // the cause, when a Source gave one
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%d:%d: %s", e.Line, e.Column, e.Msg)
	if e.Nearest != "" {
		s += fmt.Sprintf("; did you mean %q?", e.Nearest)
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Is tells whether a text has actions, and so is no literal.
func Is(text string) bool { return strings.Contains(text, open) }

// Escape makes a template that renders to exactly this text.
func Escape(text string) string { return strings.ReplaceAll(text, open, open+`"`+open+`"`+end) }

// References lists what the template asks for, in the order of the text.
func (t *Template) References() []Reference { return slices.Clone(t.refs) }

// Asks tells whether there is a reference of the kind.
func (t *Template) Asks(kind string) bool {
	return slices.ContainsFunc(t.refs, func(r Reference) bool { return r.Kind == kind })
}

// String is the text that was parsed.
func (t *Template) String() string { return t.text }

// node is a part of a template: literal, *output, *branch or *loop.
type node any

type literal string

// output writes a value.
type output struct {
	value expr
}

// branch is if, else.
type branch struct {
	cond        expr
	then, else_ []node
}

// loop is range; else_ is for an empty list.
type loop struct {
	over        expr
	body, else_ []node
}

// expr is a constant, a dot, or the call of a function.
type expr struct {
	at   int // offset in the text
	kind exprKind
	text string // of a constant; of a dot: the path below it, as in .name
	fn   string
	args []expr
}

type exprKind int

const (
	constant exprKind = iota
	dot
	call
)

// place turns an offset into line and column.
func place(text string, at int) (line, column int) {
	before := text[:at]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[start:]) + 1
}
