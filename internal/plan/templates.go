package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/internal/request"
	"github.com/victorinix/vic/internal/template"
)

// Prediction is the Scan.Version of facts that nobody has scanned: those of a
// machine that is going to be made, as far as they are known. What is null,
// zero or empty in them is not known yet. A plan from them is for people; the
// machine makes its own.
const Prediction = "prediction"

// errLater is wrapped for facts that are not known yet.
var errLater = errors.New("is known only on the machine itself")

// errTold stands for the error of an option that was reported before.
var errTold = errors.New("the option has no value")

// untold is err without what was reported before.
func untold(err error) error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		var errs []error
		for _, e := range many.Unwrap() {
			errs = append(errs, untold(e))
		}
		return errors.Join(errs...)
	}
	if errors.Is(err, errTold) {
		return nil
	}
	return err
}

// Unmet says which requirements the machine does not meet, and what it has
// instead; nil when it meets them all. Of a prediction, what is not known is
// left to the machine.
func Unmet(requires []request.Requirement, facts envscan.Facts) error {
	var errs []error
	for _, r := range requires {
		if found, ok := meets(r, facts); !ok {
			errs = append(errs, fmt.Errorf("it requires %s: %s", r, found))
		}
	}
	return errors.Join(errs...)
}

// meets compares one fact; found is what there is, for people.
func meets(r request.Requirement, facts envscan.Facts) (found string, ok bool) {
	l := late{facts: facts}
	v, err := l.fact(r.Fact)
	switch {
	case errors.Is(err, errLater), errors.Is(err, errAnywhere):
		return "", true
	case errors.Is(err, template.ErrNone):
		return err.Error(), r.None
	case err != nil:
		return err.Error(), false
	case v.Object:
		return "it is an object: a requirement names one of its fields", false
	case !v.List:
		return "this machine has " + v.Text, slices.Contains(r.OneOf, v.Text)
	}
	var elements []string
	for i := range v.Len {
		e, err := l.fact(fmt.Sprintf("%s.%d", r.Fact, i))
		if err == nil && slices.Contains(r.OneOf, e.Text) {
			return "", true
		}
		elements = append(elements, e.Text)
	}
	return fmt.Sprintf("this machine has %.200s", strings.Join(elements, ", ")), false
}

// late fills in what only the machine knows.
type late struct {
	facts    envscan.Facts
	document any // the facts, decoded
	options  map[string]request.Option
	values   map[string]template.Value // of options that were rendered
	failed   map[string]bool           // options whose error was told
	open     []string                  // options that are being rendered
}

func newLate(s request.System, facts envscan.Facts) *late {
	l := &late{facts: facts, options: map[string]request.Option{}, values: map[string]template.Value{}, failed: map[string]bool{}}
	for _, o := range s.Options {
		l.options[o.Name] = o
	}
	return l
}

// Source answers the templates of a system with the facts of a machine.
func Source(s request.System, facts envscan.Facts) template.Source { return newLate(s, facts).source() }

func (l *late) source() template.Source {
	return template.Source{Option: l.option, Fact: l.fact}
}

// option is an option as templates see it. One that is a template itself is
// rendered, and has to obey its rule.
func (l *late) option(name string) (template.Value, error) {
	if v, done := l.values[name]; done {
		return v, nil
	}
	o, ok := l.options[name]
	if !ok {
		return template.Value{}, fmt.Errorf("option %q is not in the request", name)
	}
	if slices.Contains(l.open, name) {
		return template.Value{}, fmt.Errorf("option %q asks for itself", name)
	}
	if l.failed[name] {
		return template.Value{}, errTold
	}
	l.open = append(l.open, name)
	defer func() { l.open = l.open[:len(l.open)-1] }()
	v := template.Value{Text: o.Value, List: o.List, Len: len(o.Items), Items: append([]string{}, o.Items...)}
	if o.Rule != nil {
		texts := v.Items
		if !o.List {
			texts = []string{o.Value}
		}
		var err error
		if texts, err = l.rendered(o, texts); err != nil {
			l.failed[name] = !errors.Is(err, errLater)
			return template.Value{}, err
		}
		v.Text = strings.Join(texts, ",")
		copy(v.Items, texts)
	}
	l.values[name] = v
	return v, nil
}

func (l *late) rendered(o request.Option, texts []string) ([]string, error) {
	var out []string
	for _, text := range texts {
		got, err := l.text(text)
		if err == nil {
			err = o.Rule.Check(got)
		}
		if err != nil {
			return nil, fmt.Errorf("option %q, which is %s: %w", o.Name, text, err)
		}
		out = append(out, got)
	}
	return out, nil
}

// text renders a template without secrets.
func (l *late) text(text string) (string, error) {
	t, err := template.Parse(text)
	if err != nil {
		return "", err
	}
	return t.Text(l.source())
}

// system is the request's system with its settings filled in. Of a prediction,
// what is not known yet stays a template.
func (l *late) system(s request.System) (request.System, error) {
	var errs []error
	later := false
	for _, o := range s.Options {
		_, err := l.option(o.Name)
		later = later || errors.Is(err, errLater)
		if !errors.Is(err, errLater) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return s, err // the settings would only repeat it
	}
	out, err := s.Map(func(field, text string) (string, error) {
		got, err := l.text(text)
		switch {
		case errors.Is(err, errLater):
			later = true
			return text, nil
		case untold(err) != nil:
			return text, fmt.Errorf("%s: %w", field, err)
		}
		return got, nil
	})
	if err == nil && !later {
		err = out.Validate()
	}
	return out, err
}

// injected is a file or a unit with its content.
type injected struct {
	PutFile
	enable string // the unit to enable
}

// injected renders the item's files and units. Of a prediction, content that is
// not known yet is replaced by a word that says so.
func (l *late) injected(s request.System) ([]injected, error) {
	var all []injected
	var errs []error
	add := func(what, content string, in injected) {
		var err error
		in.Content, err = l.content(content)
		if err = untold(err); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
		all = append(all, in)
	}
	for _, f := range s.Files {
		add("file "+f.Path, f.Content, injected{PutFile: PutFile{Path: f.Path, Mode: f.Mode, Owner: f.Owner, Group: f.Group}})
	}
	for _, u := range s.Units {
		in := injected{PutFile: PutFile{Path: u.Path(), Mode: 0o644, Owner: "root"}}
		if u.Enabled {
			in.enable = u.Name
		}
		add("unit "+u.Name, u.Content, in)
		if last := &all[len(all)-1]; len(template.Secrets(last.Content)) > 0 {
			last.Mode = 0o600
		}
	}
	return all, errors.Join(errs...)
}

func (l *late) content(text string) ([]template.Segment, error) {
	t, err := template.Parse(text)
	if err != nil {
		return nil, err
	}
	segments, err := t.Render(l.source())
	if !errors.Is(err, errLater) {
		return segments, err
	}
	segments = []template.Segment{{Text: "(" + strings.ReplaceAll(err.Error(), "\n", "; ") + ")"}}
	for _, ref := range t.References() {
		if ref.Kind == template.Secret && !ref.Conditional {
			segments = append(segments, template.Segment{Secret: ref.Name})
		}
	}
	return segments, nil
}

// itemFiles are the steps that write the item's files and units.
func (t target) itemFiles() []named {
	var s []named
	for _, in := range t.injected {
		s = append(s, named{in.Path, in.PutFile})
	}
	for _, in := range t.injected {
		if in.enable != "" {
			s = append(s, named{"enable " + in.enable, EnableUnit{in.enable}})
		}
	}
	return s
}
