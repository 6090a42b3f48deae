package query

import (
	"fmt"
	"strconv"
	"strings"
)

// Path is a parsed path. The zero Path is the whole document.
type Path struct {
	Steps []Step
}

// Step is one step of a Path: down to a member or element by name or index, or
// among the elements of a list by comparisons.
type Step struct {
	// Name is a member's name or an element's index; * is all of them.
	Name string
	// Quoted: Name is exactly one name, whatever is in it.
	Quoted bool
	// Where are comparisons that an element has to meet; then Name is empty.
	Where []Compare
}

// Compare is a comparison: of the fact at Path with Value.
type Compare struct {
	Path Path
	// Op is =, !=, <, >, <= or >=.
	Op string
	// Value is a text, number, boolean or null; Quoted ones are texts.
	Value  string
	Quoted bool
}

// Expr is what Match takes: a Path, and perhaps a comparison of what is there.
type Expr struct {
	Path    Path
	Compare *Compare // of the path's end; its own Path is empty
}

// Static is the beginning of the path, dotted, that does not depend on what is
// in a document: up to the first index, comparison or *.
func (p Path) Static() string {
	var names []string
	for _, s := range p.Steps {
		if s.Where != nil || s.Quoted || s.all() || s.isIndex() {
			break
		}
		names = append(names, s.Name)
	}
	return strings.Join(names, ".")
}

func (p Path) String() string {
	var b strings.Builder
	for _, s := range p.Steps {
		b.WriteString(s.join(b.Len() > 0))
	}
	return b.String()
}

// join is the step's text behind another.
func (s Step) join(behind bool) string {
	if s.Where != nil {
		var parts []string
		for _, c := range s.Where {
			parts = append(parts, c.String())
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	dot := ""
	if behind {
		dot = "."
	}
	return dot + Name(s.Name)
}

// Name is a member's name as it stands in a path: quoted when it has to be.
func Name(name string) string {
	if name == "" || strings.ContainsAny(name, `.[]"=<>!, `) {
		return strconv.Quote(name)
	}
	return name
}

// Join is the path of a member.
func Join(path, name string) string { return strings.TrimPrefix(path+"."+Name(name), ".") }

func (c Compare) String() string {
	v := c.Value
	if c.Quoted || strings.ContainsAny(v, `],"`) {
		v = strconv.Quote(v)
	}
	return c.Path.String() + c.Op + v
}

func (s Step) all() bool { return s.Name == "*" && !s.Quoted && s.Where == nil }

func (s Step) isIndex() bool { _, ok := s.index(); return ok }

// index is the step as an index of a list.
func (s Step) index() (int, bool) {
	if s.Quoted || s.Where != nil || s.Name == "" || strings.Trim(s.Name, "0123456789") != "" {
		return 0, false
	}
	i, err := strconv.Atoi(s.Name)
	return i, err == nil
}

// ParsePath reads a path, which may begin with "env.".
func ParsePath(text string) (Path, error) {
	e, err := ParseExpr(text)
	if err == nil && e.Compare != nil {
		err = fmt.Errorf("read path %s: %q is a comparison; a path ends before it", text, e.Compare.Op+e.Compare.Value)
	}
	return e.Path, err
}

// ParseExpr reads a path, which may end in a comparison: os.id=debian.
func ParseExpr(text string) (Expr, error) {
	p := parser{rest: text}
	e := Expr{Path: p.path()}
	if p.err == nil && p.rest != "" {
		e.Compare = &Compare{Op: p.op()}
		e.Compare.Value, e.Compare.Quoted = p.value("")
	}
	if p.err == nil && p.rest != "" {
		p.fail("there is more behind its end")
	}
	if p.err != nil {
		return Expr{}, fmt.Errorf("read path %s: %w", text, p.err)
	}
	if s := e.Path.Steps; len(s) > 0 && s[0].Name == "env" && !s[0].Quoted {
		e.Path.Steps = s[1:]
	}
	return e, nil
}

// parser reads rest from its front; after an error it reads nothing more.
type parser struct {
	rest string
	err  error
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		where := " at its end"
		if p.rest != "" {
			where = fmt.Sprintf(" at %q", p.rest)
		}
		p.err = fmt.Errorf(format+where, args...)
	}
}

func (p *parser) take(prefix string) bool {
	rest, ok := strings.CutPrefix(p.rest, prefix)
	if ok && p.err == nil {
		p.rest = rest
	}
	return ok && p.err == nil
}

// path ends where no step follows.
func (p *parser) path() Path {
	var path Path
	for first := true; p.rest != "" && p.err == nil; first = false {
		switch {
		case p.take("["):
			path.Steps = append(path.Steps, p.selector())
		case !first && !p.take("."):
			return path
		default:
			path.Steps = append(path.Steps, p.name())
		}
	}
	return path
}

func (p *parser) name() Step {
	if strings.HasPrefix(p.rest, `"`) {
		return Step{Name: p.quoted(), Quoted: true}
	}
	n := p.until(`.[]"=<>!,`)
	if n == "" {
		p.fail("expected the name of a fact")
	}
	return Step{Name: n}
}

// selector is what stands in brackets: [0], [*], ["a.b"] or comparisons.
func (p *parser) selector() Step {
	if i := strings.IndexByte(p.rest, ']'); i >= 0 {
		if in := p.rest[:i]; in == "*" || in != "" && strings.Trim(in, "0123456789") == "" {
			p.rest = p.rest[i+1:]
			return Step{Name: in}
		}
	}
	if q, err := strconv.QuotedPrefix(p.rest); err == nil && strings.HasPrefix(p.rest[len(q):], "]") {
		s := Step{Name: p.quoted(), Quoted: true}
		p.take("]")
		return s
	}
	var s Step
	for p.err == nil {
		c := Compare{Path: p.path(), Op: p.op()}
		c.Value, c.Quoted = p.value(",]")
		s.Where = append(s.Where, c)
		if p.take("]") {
			return s
		}
		if !p.take(",") {
			p.fail("expected , or ]")
		}
	}
	return s
}

func (p *parser) op() string {
	for _, op := range []string{"!=", "<=", ">=", "=", "<", ">"} {
		if p.take(op) {
			return op
		}
	}
	p.fail("expected a comparison: =, !=, <, >, <= or >=")
	return ""
}

// value ends before one of the bytes of end.
func (p *parser) value(end string) (string, bool) {
	if strings.HasPrefix(p.rest, `"`) {
		return p.quoted(), true
	}
	if end == "" {
		v := p.rest
		p.rest = ""
		return v, false
	}
	return p.until(end), false
}

func (p *parser) until(end string) string {
	if p.err != nil {
		return ""
	}
	i := strings.IndexAny(p.rest, end)
	if i < 0 {
		i = len(p.rest)
	}
	v := p.rest[:i]
	p.rest = p.rest[i:]
	return v
}

// quoted reads a text in Go's double quotes.
func (p *parser) quoted() string {
	if p.err != nil {
		return ""
	}
	q, err := strconv.QuotedPrefix(p.rest)
	if err != nil {
		p.fail("expected a text that ends in a quotation mark")
		return ""
	}
	v, err := strconv.Unquote(q)
	if err != nil {
		p.fail("read %s: %v", q, err)
	}
	p.rest = p.rest[len(q):]
	return v
}
