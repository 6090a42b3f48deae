package template

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/victorinix/vic/internal/nearest"
)

// The delimiters of an action.
const (
	open = "{{"
	end  = "}}"
)

// maxDepth bounds how deep blocks and parentheses are nested, and so the stack.
const maxDepth = 32

// parser goes through the text once. A mistake of syntax ends it; mistakes in
// names and arguments are collected.
type parser struct {
	src  string
	pos  int
	errs []error
	refs []Reference
	// depth counts open blocks and parentheses.
	depth int
	// dots are the ranges around, innermost last: the path of a fact's list
	// element ("hw.nic.0"), or "" for the elements of an option.
	dots []string
	// blocks counts the ifs and ranges around.
	blocks int
}

// syntaxError ends the parsing.
type syntaxError struct{ err *Error }

// Parse reads a template. All that is wrong is joined, each an *Error; a mistake
// of syntax hides what comes after it.
func Parse(src string) (t *Template, err error) {
	if !utf8.ValidString(src) || strings.ContainsRune(src, 0) {
		return nil, &Error{Line: 1, Column: 1, Msg: "is no text: a template has to be UTF-8 without NUL bytes"}
	}
	p := &parser{src: src}
	defer func() {
		if s, ok := recover().(syntaxError); ok {
			t, err = nil, errors.Join(append(p.errs, s.err)...)
		}
	}()
	nodes, closed := p.list()
	if closed.word != "" {
		p.stop(closed.at, "", "%s without an if or a range", closed.word)
	}
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	return &Template{src, nodes, p.refs}, nil
}

func (p *parser) error(at int, near, format string, args ...any) *Error {
	line, column := place(p.src, at)
	return &Error{Line: line, Column: column, Msg: fmt.Sprintf(format, args...), Nearest: near}
}

func (p *parser) fail(at int, near, format string, args ...any) {
	p.errs = append(p.errs, p.error(at, near, format, args...))
}

func (p *parser) stop(at int, near, format string, args ...any) {
	panic(syntaxError{p.error(at, near, format, args...)})
}

// keyword is a word that begins an action, with its place.
type keyword struct {
	word string
	at   int
}

// list reads nodes up to the end, or to the "else" or "end" of a block, of
// which only the word is consumed.
func (p *parser) list() ([]node, keyword) {
	var nodes []node
	for {
		i := strings.Index(p.src[p.pos:], open)
		if i < 0 {
			return p.literal(nodes, p.src[p.pos:], len(p.src)), keyword{}
		}
		at := p.pos + i
		before := p.src[p.pos:at]
		after := at + len(open)
		if rest := p.src[after:]; len(rest) > 1 && rest[0] == '-' && isSpace(rest[1]) {
			before, after = strings.TrimRight(before, spaceCharacters), after+1
		}
		nodes = p.literal(nodes, before, after)
		if p.comment(at) {
			continue
		}
		k := p.keyword()
		switch k.word {
		case "else", "end":
			return nodes, k
		case "if":
			nodes = append(nodes, p.branch(k.at))
		case "range":
			nodes = append(nodes, p.loop(k.at))
		case "":
			nodes = append(nodes, p.output(at))
		default:
			p.stop(k.at, "", "%s is not supported: a template has if, else, range, end, and the functions %s", k.word, strings.Join(functionNames(), ", "))
		}
	}
}

// literal adds text, and goes on behind it.
func (p *parser) literal(nodes []node, text string, next int) []node {
	p.pos = next
	if text == "" {
		return nodes
	}
	return append(nodes, literal(text))
}

// comment skips {{/* ... */}}.
func (p *parser) comment(at int) bool {
	rest := strings.TrimLeft(p.src[p.pos:], spaceCharacters)
	if !strings.HasPrefix(rest, "/*") {
		return false
	}
	i := strings.Index(rest, "*/")
	if i < 0 {
		p.stop(at, "", "comment is not closed with */}}")
	}
	p.pos = len(p.src) - len(rest) + i + 2
	p.close(at)
	return true
}

// keywords begin an action that is no value; text/template has more of them
// than this package takes.
var keywords = []string{"if", "else", "range", "end", "with", "define", "template", "block", "break", "continue"}

func (p *parser) keyword() keyword {
	p.space()
	at, word := p.pos, p.peekName()
	if slices.Contains(keywords, word) {
		p.pos += len(word)
		return keyword{word, at}
	}
	return keyword{}
}

// close reads }} or -}}, and the space that the latter swallows.
func (p *parser) close(opened int) {
	p.space()
	switch {
	case strings.HasPrefix(p.src[p.pos:], "-"+end) && isSpace(p.src[p.pos-1]):
		rest := strings.TrimLeft(p.src[p.pos+1+len(end):], spaceCharacters)
		p.pos = len(p.src) - len(rest)
	case strings.HasPrefix(p.src[p.pos:], end):
		p.pos += len(end)
	case p.pos == len(p.src):
		p.stop(opened, "", "action is not closed with }}")
	default:
		p.stop(p.pos, "", "unexpected %.20q, expected }}", p.rest())
	}
}

// rest is what follows, up to the end of the line, for messages.
func (p *parser) rest() string {
	line, _, _ := strings.Cut(p.src[p.pos:], "\n")
	return line
}

func (p *parser) output(at int) node {
	v, _ := p.pipe() // everything can be written out
	p.close(at)
	return &output{v}
}

// branch reads what follows "if".
func (p *parser) branch(at int) node {
	cond, gives := p.pipe()
	switch {
	case gives == secretive:
		p.fail(cond.at, "", "a secret cannot be a condition: it can only be written out")
	case cond.kind == constant && cond.text != "true" && cond.text != "false":
		p.fail(cond.at, "", "a condition is true or false, or compares: eq, ne, has")
	}
	p.close(at)
	b := &branch{cond: cond}
	b.then, b.else_ = p.block(at, "if")
	return b
}

// block reads the two halves of an if or a range.
func (p *parser) block(at int, word string) (body, other []node) {
	p.deeper(at)
	defer func() { p.depth-- }()
	p.blocks++
	defer func() { p.blocks-- }()
	body, k := p.list()
	if k.word == "else" {
		if word == "range" { // its else has no element
			p.dots = p.dots[:len(p.dots)-1]
			defer func() { p.dots = append(p.dots, "") }()
		}
		if next := p.keyword(); next.word == "if" && word == "if" {
			return body, []node{p.branch(next.at)} // it reads the end of both
		}
		p.close(k.at)
		other, k = p.list()
	}
	if k.word != "end" {
		if k.word == "" {
			p.stop(at, "", "%s without an end", word)
		}
		p.stop(k.at, "", "a second %s, expected end", k.word)
	}
	p.close(k.at)
	return body, other
}

func (p *parser) deeper(at int) {
	if p.depth++; p.depth > maxDepth {
		p.stop(at, "", "nested deeper than %d", maxDepth)
	}
}

// loop reads what follows "range".
func (p *parser) loop(at int) node {
	over, _ := p.pipe()
	element, ok := p.element(over)
	if !ok {
		p.fail(over.at, "", `range goes through a list: env "PATH", option "NAME", or .FIELD`)
	}
	p.close(at)
	p.dots = append(p.dots, element)
	defer func() { p.dots = p.dots[:len(p.dots)-1] }()
	l := &loop{over: over}
	l.body, l.else_ = p.block(at, "range")
	return l
}

// element is the path of a list's first element, "" for an option's.
func (p *parser) element(over expr) (string, bool) {
	switch {
	case over.kind == dot:
		if len(p.dots) > 0 && p.dots[len(p.dots)-1] != "" {
			p.refs[len(p.refs)-1].List = true
			return p.dots[len(p.dots)-1] + over.text + ".0", true
		}
	case over.kind == call && (over.fn == Env || over.fn == Option) && named(over):
		p.refs[len(p.refs)-1].List = true
		if over.fn == Env {
			return FactPath(over.args[0].text) + ".0", true
		}
		return "", true
	}
	return "", false
}

// FactPath is the path of a fact without the "env." that it may begin with.
func FactPath(path string) string { return strings.TrimPrefix(path, "env.") }

// name adds a reference.
func (p *parser) name(at int, kind, name string) {
	line, column := place(p.src, at)
	p.refs = append(p.refs, Reference{Kind: kind, Name: name, Line: line, Column: column, Conditional: p.blocks > 0})
}

// near suggests a function.
func near(name string) string { return nearest.Name(name, functionNames()) }
