package request

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/lazyregexp"
	"github.com/victorinix/vic/internal/template"
)

// Requirement is a fact that the machine has to have: a requirement that is not
// met is a reason not to begin.
type Requirement struct {
	Fact string `json:"fact"` // its path, without "env."
	// OneOf are the values that are right. Of a list, one element has to be
	// among them; an object stands for its field "type".
	OneOf []string `json:"oneOf,omitempty"`
	// None: null is right, which is what a fact is that was probed and that the
	// machine does not have.
	None bool `json:"none,omitempty"`
}

// String is the requirement for people.
func (r Requirement) String() string {
	values := slices.Clone(r.OneOf)
	if r.None {
		values = append(values, "null")
	}
	return "env." + r.Fact + " to be " + strings.Join(values, " or ")
}

// Option is the value of an option, for the templates that ask for it.
type Option struct {
	Name  string   `json:"name"`
	Value string   `json:"value"`          // as -o takes it
	List  bool     `json:"list,omitempty"` // it is a list: Items
	Items []string `json:"items,omitempty"`
	// Rule is there when Value, or all of Items, are templates that depend on
	// the machine: what they become has to obey it.
	Rule *Rule `json:"rule,omitempty"`
}

// Rule says which texts are right.
type Rule struct {
	Hostname bool   `json:"hostname,omitempty"` // RFC 1123 labels, at most 64 characters
	Pattern  string `json:"pattern,omitempty"`  // has to match all of it; empty: one line
	Expects  string `json:"expects"`            // the same for people
	Optional bool   `json:"optional,omitempty"` // it may be empty
}

// Check refuses a text that does not obey the rule.
func (r Rule) Check(text string) error {
	if r.matches(text) {
		return nil
	}
	return fmt.Errorf("expected %s, got %.80q", r.Expects, text)
}

func (r Rule) matches(text string) bool {
	switch {
	case text == "":
		return r.Optional
	case r.Hostname:
		return isHostname(text)
	case strings.ContainsAny(text, "\x00\n\r"):
		return false
	case r.Pattern == "":
		return true
	}
	pattern, err := regexp.Compile(`^(?:` + r.Pattern + `)$`)
	return err == nil && pattern.MatchString(text)
}

func isHostname(s string) bool {
	label := regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
	return len(s) <= 64 && !slices.ContainsFunc(strings.Split(s, "."), func(l string) bool { return !label.MatchString(l) })
}

// File is one that the item puts into the system, over what the payload has
// and after everything that vic itself writes.
type File struct {
	Path string `json:"path"` // absolute, in its shortest form
	// Content is a template: see package template. Options are those of
	// System.Options.
	Content string `json:"content"`
	Mode    uint32 `json:"mode"` // permission bits; JSON decimal
	// Owner and Group are names that the installed system knows, or numbers. An
	// empty Group is the owner's own.
	Owner string `json:"owner"`
	Group string `json:"group,omitempty"`
}

// Unit is a systemd unit of the item.
type Unit struct {
	Name    string `json:"name"`    // "hello.service"
	Content string `json:"content"` // template
	Enabled bool   `json:"enabled,omitempty"`
}

// UnitDir is where the units of items are.
const UnitDir = "/etc/systemd/system"

// Path is where the unit is.
func (u Unit) Path() string { return path.Join(UnitDir, u.Name) }

// What systemd.unit(5) takes for a name.
var unitName = lazyregexp.New(`^[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]*)?\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)$`)

// CheckUnitName refuses what systemd does not take for the name of a unit.
func CheckUnitName(name string) error {
	if len(name) > 255 || !unitName.MatchString(name) {
		return fmt.Errorf("%.80q is no name of a systemd unit, such as hello.service", name)
	}
	return nil
}

// CheckPath refuses what is no path of a file in the installed system.
func CheckPath(name string) error {
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" || strings.ContainsAny(name, "\x00\n") {
		return fmt.Errorf("%.80q is no absolute path in its shortest form, such as /etc/motd", name)
	}
	return nil
}

// account is a name of passwd(5) or group(5), or a number.
var account = lazyregexp.New(`^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,9})$`)

// CheckAccount refuses what is neither the name nor the number of an account.
func CheckAccount(name string) error {
	if !account.MatchString(name) {
		return fmt.Errorf("%.80q is neither the name of an account nor a number", name)
	}
	return nil
}

// Map is the system with every setting that may be a template replaced by what
// f makes of it. field names the setting, for errors; all errors are joined.
func (s System) Map(f func(field, text string) (string, error)) (System, error) {
	var errs []error
	do := func(field, text string) string {
		out, err := f(field, text)
		errs = append(errs, err)
		return out
	}
	s.Hostname = do("hostname", s.Hostname)
	s.Timezone = do("time zone", s.Timezone)
	s.APT.Mirror = do("mirror", s.APT.Mirror)
	s.APT.Security = do("security mirror", s.APT.Security)
	s.Cmdline = slices.Clone(s.Cmdline)
	for i, p := range s.Cmdline {
		s.Cmdline[i] = do("kernel parameter", p)
	}
	s.Users = slices.Clone(s.Users)
	for i, u := range s.Users {
		s.Users[i].Name = do("user", u.Name)
	}
	return s, errors.Join(errs...)
}

// SecretNames are the secrets that the system may ask for, sorted.
func (s System) SecretNames() []string {
	var names []string
	for _, u := range s.Users {
		if u.PasswordSecret != "" {
			names = append(names, u.PasswordSecret)
		}
	}
	contents := []string{}
	for _, f := range s.Files {
		contents = append(contents, f.Content)
	}
	for _, u := range s.Units {
		contents = append(contents, u.Content)
	}
	for _, text := range contents {
		t, err := template.Parse(text)
		if err != nil {
			continue // Check tells
		}
		for _, r := range t.References() {
			if r.Kind == template.Secret {
				names = append(names, r.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// validateLate checks what templates are made of.
func (s System) validateLate() error {
	known := map[string]bool{}
	for _, o := range s.Options {
		known[o.Name] = true
	}
	var errs []error
	text := func(field, text string, secrets bool) {
		errs = append(errs, checkTemplate(field, text, known, secrets))
	}
	for _, o := range s.Options {
		if o.Rule == nil {
			continue
		}
		for _, v := range append([]string{o.Value}, o.Items...) {
			text("option "+o.Name, v, false)
		}
	}
	_, _ = s.Map(func(field, v string) (string, error) {
		text(field, v, false)
		return v, nil
	})
	written := map[string]bool{}
	for _, f := range s.Files {
		errs = append(errs, f.validate(), check(!written[f.Path], "file", f.Path, "is there twice"))
		written[f.Path] = true
		text("file "+f.Path, f.Content, true)
	}
	for _, u := range s.Units {
		errs = append(errs, CheckUnitName(u.Name), check(!written[u.Path()], "file", u.Path(), "is there twice"))
		written[u.Path()] = true
		text("unit "+u.Name, u.Content, true)
	}
	for _, r := range s.Requires {
		errs = append(errs, check(r.Fact != "" && (len(r.OneOf) > 0 || r.None), "requirement", r.Fact, "must have a value"))
	}
	return errors.Join(errs...)
}

func (f File) validate() error {
	errs := []error{CheckPath(f.Path), CheckAccount(f.Owner)}
	if f.Group != "" {
		errs = append(errs, CheckAccount(f.Group))
	}
	if f.Mode > 0o7777 {
		errs = append(errs, fmt.Errorf("mode %o has more than permission bits", f.Mode))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("file %s: %w", f.Path, err)
	}
	return nil
}

func checkTemplate(field, text string, options map[string]bool, secrets bool) error {
	t, err := template.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", field, err)
	}
	for _, r := range t.References() {
		switch {
		case r.Kind == template.Option && !options[r.Name]:
			return fmt.Errorf("%s: %d:%d: option %q is not in the request", field, r.Line, r.Column, r.Name)
		case r.Kind == template.Secret && !secrets:
			return fmt.Errorf("%s: %d:%d: a secret can only be in files and units", field, r.Line, r.Column)
		}
	}
	return nil
}
