package template

import (
	"strconv"
	"strings"
)

const spaceCharacters = " \t\r\n"

func isSpace(c byte) bool { return strings.IndexByte(spaceCharacters, c) >= 0 }

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func (p *parser) space() {
	for p.pos < len(p.src) && isSpace(p.src[p.pos]) {
		p.pos++
	}
}

// peekName is the name that begins here.
func (p *parser) peekName() string {
	i := p.pos
	for i < len(p.src) && (isLetter(p.src[i]) || i > p.pos && isDigit(p.src[i])) {
		i++
	}
	return p.src[p.pos:i]
}

// pipe reads VALUE | FUNCTION ARGUMENTS | ...
func (p *parser) pipe() (expr, typ) {
	v, gives := p.value(nil, text)
	for {
		p.space()
		if !strings.HasPrefix(p.src[p.pos:], "|") {
			return v, gives
		}
		p.pos++
		p.space()
		if p.peekName() == "" {
			p.stop(p.pos, "", "unexpected %.20q, expected a function after |", p.rest())
		}
		piped := v
		v, gives = p.value(&piped, gives)
	}
}

// value reads an operand, or the call of a function, with the value that is
// piped into it.
func (p *parser) value(piped *expr, pipedGives typ) (expr, typ) {
	p.space()
	at, name := p.pos, p.peekName()
	if piped == nil && (name == "" || name == "true" || name == "false") {
		return p.operand()
	}
	p.pos += len(name)
	e := expr{at: at, kind: call, fn: name}
	var types []typ
	for p.operandFollows() {
		arg, gives := p.operand()
		e.args, types = append(e.args, arg), append(types, gives)
	}
	if piped != nil {
		e.args, types = append(e.args, *piped), append(types, pipedGives)
	}
	return e, p.check(e, types)
}

// operandFollows tells whether another argument follows.
func (p *parser) operandFollows() bool {
	p.space()
	if p.pos == len(p.src) {
		return false
	}
	c := p.src[p.pos]
	return c == '"' || c == '`' || c == '(' || c == '.' || isDigit(c) || isLetter(c)
}

// operand reads a constant, a dot, or something in parentheses.
func (p *parser) operand() (expr, typ) {
	p.space()
	at := p.pos
	if at == len(p.src) {
		p.stop(at, "", "unexpected end, expected a value")
	}
	switch c := p.src[at]; {
	case c == '"' || c == '`':
		return expr{at: at, text: p.quoted(c)}, text
	case isDigit(c):
		for p.pos < len(p.src) && isDigit(p.src[p.pos]) {
			p.pos++
		}
		return expr{at: at, text: p.src[at:p.pos]}, text
	case c == '(':
		p.deeper(at)
		defer func() { p.depth-- }()
		p.pos++
		v, gives := p.pipe()
		p.space()
		if !strings.HasPrefix(p.src[p.pos:], ")") {
			p.stop(at, "", "( is not closed")
		}
		p.pos++
		return v, gives
	case c == '.':
		return p.dot(), text
	case isLetter(c):
		name := p.peekName()
		p.pos += len(name)
		if name == "true" || name == "false" {
			return expr{at: at, text: name}, boolean
		}
		if _, ok := functions[name]; ok {
			p.stop(at, "", "%s as an argument stands in parentheses: (%s ...)", name, name)
		}
		p.stop(at, near(name), "unknown function %q", name)
	}
	p.stop(at, "", "unexpected %.20q, expected a value", p.rest())
	return expr{}, text
}

// quoted reads a string as Go writes it.
func (p *parser) quoted(quote byte) string {
	at := p.pos
	for p.pos++; p.pos < len(p.src); p.pos++ {
		switch c := p.src[p.pos]; {
		case c == '\\' && quote == '"':
			p.pos++
		case c == '\n' && quote == '"':
			p.stop(at, "", "string is not closed on its line")
		case c == quote:
			p.pos++
			s, err := strconv.Unquote(p.src[at:p.pos])
			if err != nil {
				p.stop(at, "", "%.40s is no string: an escape in it is wrong", p.src[at:p.pos])
			}
			return s
		}
	}
	p.stop(at, "", "string is not closed")
	return ""
}

// dot reads . or .field.field, which means the element of the range around.
func (p *parser) dot() expr {
	e := expr{at: p.pos, kind: dot}
	for strings.HasPrefix(p.src[p.pos:], ".") {
		p.pos++
		word := p.pos
		for p.pos < len(p.src) && (isLetter(p.src[p.pos]) || isDigit(p.src[p.pos])) {
			p.pos++
		}
		if p.pos == word {
			if e.text != "" {
				p.stop(p.pos, "", "unexpected %.20q, expected a field", p.rest())
			}
			break
		}
		e.text += "." + p.src[word:p.pos]
	}
	switch {
	case len(p.dots) == 0:
		p.fail(e.at, "", `. is the element of a range, and there is none around; a fact is written env "PATH"`)
	case p.dots[len(p.dots)-1] != "":
		p.name(e.at, Env, p.dots[len(p.dots)-1]+e.text)
	case e.text != "":
		p.fail(e.at, "", "the elements of an option have no fields")
	}
	return e
}

// check says what a call gives, after comparing it with the function.
func (p *parser) check(e expr, types []typ) typ {
	fn, ok := functions[e.fn]
	if !ok {
		p.fail(e.at, near(e.fn), "unknown function %q", e.fn)
		return text
	}
	if n := len(e.args); n < fn.least || n > fn.most {
		p.fail(e.at, "", "%s takes %s, got %d", e.fn, arguments(fn), n)
		return fn.gives
	}
	last := len(types) - 1
	for i, t := range types {
		if t == secretive && (!fn.secret || i != last) {
			p.fail(e.args[i].at, "", "a secret cannot go through %s: it can be written out as it is, or through json, shell, indent", e.fn)
		}
	}
	switch {
	case fn.name:
		p.reference(e)
	case e.fn == "indent" && e.args[0].kind != constant:
		p.fail(e.args[0].at, "", "indent takes a constant number of spaces first")
	case e.fn == "indent":
		if _, err := spaces(e.args[0].text); err != nil {
			p.fail(e.args[0].at, "", "%v", err)
		}
	}
	if fn.secret && types[last] == secretive {
		return secretive
	}
	return fn.gives
}

func arguments(fn function) string {
	switch {
	case fn.least == 1 && fn.most == 1:
		return "one argument"
	case fn.least == fn.most:
		return strconv.Itoa(fn.least) + " arguments"
	}
	return "at least " + strconv.Itoa(fn.least) + " arguments"
}

// named tells whether the only argument is the name of something.
func named(e expr) bool {
	return len(e.args) == 1 && e.args[0].kind == constant && e.args[0].text != ""
}

// reference notes what a function that takes a name asks for.
func (p *parser) reference(e expr) {
	arg := e.args[0]
	switch {
	case e.fn == "has" && arg.kind == dot:
		return // it was noted as the dot
	case !named(e):
		p.fail(arg.at, "", `%s takes a constant: %s "NAME"`, e.fn, e.fn)
	case e.fn == "has" || e.fn == Env:
		p.name(arg.at, Env, FactPath(arg.text))
	default:
		p.name(arg.at, e.fn, arg.text)
	}
}
