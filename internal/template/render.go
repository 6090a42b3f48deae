package template

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The largest text that a template may become, in bytes, and how many nodes are
// looked at: lists in lists could take any memory, and forever.
const (
	maxOutput = 1 << 20
	maxSteps  = 1 << 18
)

// ErrNone is wrapped by a Source that knows that there is nothing: a fact that
// is null, or beyond the end of a list. Then `has` is false. Any other error
// means that it is not known.
var ErrNone = errors.New("there is none")

// Source answers what templates ask for. Its errors say why there is no answer.
type Source struct {
	// Option is an option's value; a nil function has none.
	Option func(name string) (Value, error)
	// Fact is a fact by its path, without "env."; a nil function has none.
	Fact func(path string) (Value, error)
}

// Value is an answer: a text, a list, or an object.
type Value struct {
	Text string // never empty for a fact that is a text
	// Object: it has fields, and no text of its own.
	Object bool
	// List: it is a list with Len elements. Those of an option are Items; those
	// of a fact are asked for, by path.
	List  bool
	Len   int
	Items []string
}

// Render fills in options and facts. All that is missing is joined, each an
// *Error that wraps what the Source said.
func (t *Template) Render(src Source) ([]Segment, error) {
	r := renderer{t: t, src: src}
	r.nodes(t.nodes)
	r.flush()
	if err := errors.Join(r.errs...); err != nil {
		return nil, err
	}
	return r.out, nil
}

// Text renders a template that has no secrets.
func (t *Template) Text(src Source) (string, error) {
	segments, err := t.Render(src)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, s := range segments {
		if s.Secret != "" {
			return "", fmt.Errorf("secret %q cannot be here", s.Secret)
		}
		b.WriteString(s.Text)
	}
	return b.String(), nil
}

// element is what the dot is in a range.
type element struct {
	path string // of a fact
	text string // of an option's element
}

type renderer struct {
	t     *Template
	src   Source
	dots  []element
	text  strings.Builder // that follows out
	out   []Segment
	size  int
	steps int
	over  bool // a limit was reached
	errs  []error
}

// result is what an expression gave.
type result struct {
	text   string
	secret *Segment
}

// missing is an error that knows where in the text it is.
type missing struct {
	at int
	error
}

func (m missing) Unwrap() error { return m.error }

func (r *renderer) fail(at int, err error) {
	var m missing
	if errors.As(err, &m) {
		at, err = m.at, m.error
	}
	line, column := place(r.t.text, at)
	r.errs = append(r.errs, &Error{Line: line, Column: column, Msg: err.Error(), Err: err})
}

func (r *renderer) nodes(list []node) {
	for _, n := range list {
		if !r.step() {
			return
		}
		switch n := n.(type) {
		case literal:
			r.write(0, result{text: string(n)})
		case *output:
			if v, err := r.eval(n.value); err != nil {
				r.fail(n.value.at, err)
			} else {
				r.write(n.value.at, v)
			}
		case *branch:
			r.branch(n)
		case *loop:
			r.loop(n)
		}
	}
}

// step tells whether to go on.
func (r *renderer) step() bool {
	if r.steps++; r.steps > maxSteps && !r.over {
		r.over = true
		r.fail(0, fmt.Errorf("takes more than %d steps", maxSteps))
	}
	return !r.over
}

func (r *renderer) write(at int, v result) {
	if v.secret != nil {
		r.flush()
		r.out = append(r.out, *v.secret)
		return
	}
	if r.size += len(v.text); r.size > maxOutput {
		r.over = true
		r.fail(at, fmt.Errorf("becomes larger than %d bytes", maxOutput))
		return
	}
	r.text.WriteString(v.text)
}

// flush ends a segment of text.
func (r *renderer) flush() {
	if r.text.Len() > 0 {
		r.out = append(r.out, Segment{Text: r.text.String()})
		r.text.Reset()
	}
}

func (r *renderer) branch(b *branch) {
	yes, err := r.truth(b.cond)
	switch {
	case err != nil:
		r.fail(b.cond.at, err)
	case yes:
		r.nodes(b.then)
	default:
		r.nodes(b.else_)
	}
}

func (r *renderer) loop(l *loop) {
	v, path, err := r.ask(l.over)
	if err == nil && !v.List {
		err = fmt.Errorf("%s is no list", what(l.over, path))
	}
	if err != nil {
		r.fail(l.over.at, err)
		return
	}
	for i := range v.Len {
		if !r.step() {
			return
		}
		d := element{path: path + "." + strconv.Itoa(i)}
		if v.Items != nil {
			d = element{text: v.Items[i]}
		}
		r.dots = append(r.dots, d)
		r.nodes(l.body)
		r.dots = r.dots[:len(r.dots)-1]
	}
	if v.Len == 0 {
		r.nodes(l.else_)
	}
}

// what names an expression that asks the Source.
func what(e expr, path string) string {
	if e.kind == call && e.fn == Option {
		return fmt.Sprintf("option %q", e.args[0].text)
	}
	return "env." + path
}

// ask gets the value of option, env, or a dot; path is the fact's.
func (r *renderer) ask(e expr) (v Value, path string, err error) {
	if e.fn == "has" && e.args[0].kind == dot {
		e = e.args[0]
	}
	switch {
	case e.kind == dot:
		d := r.dots[len(r.dots)-1]
		if d.path == "" {
			return Value{Text: d.text}, "", nil
		}
		path = d.path + e.text
	case e.fn == Option:
		if r.src.Option == nil {
			return Value{}, "", errors.New("options are not known here")
		}
		v, err = r.src.Option(e.args[0].text)
		return v, "", err
	default:
		path = FactPath(e.args[0].text)
	}
	if r.src.Fact == nil {
		return Value{}, path, fmt.Errorf("env.%s: facts are known only on the machine", path)
	}
	v, err = r.src.Fact(path)
	return v, path, err
}

func (r *renderer) eval(e expr) (result, error) {
	if e.kind == constant {
		return result{text: e.text}, nil
	}
	switch {
	case e.kind == dot || e.fn == Env || e.fn == Option:
		v, path, err := r.ask(e)
		if err == nil && v.List && v.Items == nil && v.Len > 0 {
			err = fmt.Errorf("%s is a list: range goes through it, and a number after a dot takes one", what(e, path))
		}
		if err == nil && v.Object {
			err = fmt.Errorf("%s is an object: a name after a dot takes one of its fields", what(e, path))
		}
		if err != nil {
			return result{}, missing{e.at, err}
		}
		return result{text: v.Text}, nil
	case e.fn == Secret:
		return result{secret: &Segment{Secret: e.args[0].text}}, nil
	case functions[e.fn].gives == boolean:
		yes, err := r.logic(e)
		return result{text: strconv.FormatBool(yes)}, err
	}
	return r.pure(e)
}

// pure applies a function, or keeps it for later where a secret goes through.
func (r *renderer) pure(e expr) (result, error) {
	var args []string
	for _, a := range e.args {
		v, err := r.eval(a)
		if err != nil {
			return result{}, err
		}
		if v.secret != nil { // it is the last: see parser.check
			s := *v.secret
			s.Filters = append(s.Filters, Filter{e.fn, args})
			return result{secret: &s}, nil
		}
		args = append(args, v.text)
	}
	out, err := functions[e.fn].apply(args)
	return result{text: out}, err
}

// truth is a condition.
func (r *renderer) truth(e expr) (bool, error) {
	v, err := r.eval(e)
	if err != nil {
		return false, err
	}
	switch v.text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("a condition is true or false, this is %.40q: compare it with eq or ne, or ask with has", v.text)
}

// logic is the functions that give true or false. The arguments of and, or are
// looked at until one decides.
func (r *renderer) logic(e expr) (bool, error) {
	switch e.fn {
	case "has":
		_, _, err := r.ask(e)
		if errors.Is(err, ErrNone) {
			return false, nil
		}
		return err == nil, err
	case "not":
		yes, err := r.truth(e.args[0])
		return !yes, err
	case "and", "or":
		for _, a := range e.args {
			yes, err := r.truth(a)
			if err != nil || yes == (e.fn == "or") {
				return yes, err
			}
		}
		return e.fn == "and", nil
	}
	first, err := r.eval(e.args[0])
	if err != nil {
		return false, err
	}
	for _, a := range e.args[1:] {
		v, err := r.eval(a)
		if err != nil {
			return false, err
		}
		if v.text == first.text {
			return e.fn == "eq", nil
		}
	}
	return e.fn == "ne", nil
}
