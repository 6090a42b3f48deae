package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/victorinix/vic/internal/nearest"
	"github.com/victorinix/vic/internal/request"
)

// Kind is the type of an option's value.
type Kind string

// The kinds, with the Go type that a value of theirs has.
const (
	String   Kind = "string"   // string
	Bool     Kind = "bool"     // bool
	Int      Kind = "int"      // int64
	Size     Kind = "size"     // int64, bytes
	Duration Kind = "duration" // time.Duration
	Enum     Kind = "enum"     // string
	Hostname Kind = "hostname" // string: RFC 1123 labels, at most 64 characters (HOST_NAME_MAX)
	SSHKey   Kind = "sshkey"   // string: one line of authorized_keys, see sshd(8)
	List     Kind = "list"     // []string
)

// Rule says which values are right.
type Rule struct {
	Kind   Kind     `yaml:"type" json:"type"`
	Values []string `yaml:"values" json:"values,omitempty"` // of an enum
	// Pattern has to match a whole string; Expects says the same for people.
	Pattern string `yaml:"pattern" json:"pattern,omitempty"`
	Expects string `yaml:"expects" json:"expects,omitempty"`
	// Min and Max bound an int or a size; they are written as its values are.
	Min string `yaml:"min" json:"min,omitempty"`
	Max string `yaml:"max" json:"max,omitempty"`
	// Optional lets a string be empty.
	Optional bool `yaml:"optional" json:"optional,omitempty"`
	// Of is the rule for the elements of a list.
	Of *Rule `yaml:"of" json:"of,omitempty"`
	// FromFile lets an element @FILE of a list stand for the lines of FILE.
	FromFile bool `yaml:"from-file" json:"fromFile,omitempty"`
}

// valid says whether the rule itself makes sense.
func (r Rule) valid() error {
	switch r.Kind {
	case String, Bool, Duration, Hostname, SSHKey:
	case Int, Size:
		for _, limit := range []string{r.Min, r.Max} {
			if _, err := r.number(limit); limit != "" && err != nil {
				return fmt.Errorf("limit: %w", err)
			}
		}
	case Enum:
		if len(r.Values) == 0 {
			return fmt.Errorf("an enum needs values")
		}
	case List:
		if r.Of == nil || r.Of.Kind == List {
			return fmt.Errorf("a list needs `of`, the type of its elements, and that is no list")
		}
		return r.Of.valid()
	default:
		return fmt.Errorf("unknown type %q", r.Kind)
	}
	if _, err := regexp.Compile(r.Pattern); err != nil {
		return fmt.Errorf("pattern: %w", err)
	}
	return nil
}

// want says what the rule expects, for people.
func (r Rule) want() string {
	switch {
	case r.Expects != "":
		return r.Expects
	case r.Kind == Enum:
		return "one of " + strings.Join(r.Values, ", ")
	case r.Kind == Bool:
		return "true or false"
	case r.Kind == Size:
		return "a size such as 512M or 8G"
	case r.Kind == Duration:
		return "a duration such as 90s or 5m"
	case r.Kind == Int:
		return "a whole number"
	case r.Kind == Hostname:
		return "a host name: letters, digits and -, at most 64 characters"
	case r.Kind == SSHKey:
		return `a public SSH key such as "ssh-ed25519 AAAA... name"`
	case r.Kind == List:
		return "a list, each element " + r.Of.want()
	case r.Pattern != "":
		return "a string that matches " + r.Pattern
	}
	return "a string"
}

// parse reads one value that is no list.
func (r Rule) parse(s string) (any, error) {
	switch r.Kind {
	case Bool:
		switch s {
		case "true", "yes":
			return true, nil
		case "false", "no":
			return false, nil
		}
	case Int, Size:
		if n, err := r.number(s); err == nil {
			return n, r.inRange(n)
		}
	case Duration:
		if d, err := time.ParseDuration(s); err == nil && d >= 0 {
			return d, nil
		}
	case Enum:
		if slices.Contains(r.Values, s) {
			return s, nil
		}
		if near := nearest.Name(s, r.Values); near != "" {
			return nil, fmt.Errorf("expected %s, got %.80q; did you mean %q?", r.want(), s, near)
		}
	case Hostname, SSHKey, String:
		if r.matches(s) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("expected %s, got %.80q", r.want(), s)
}

func (r Rule) matches(s string) bool {
	if r.Kind == SSHKey && s != "" {
		return isSSHKey(s)
	}
	return r.onTarget().Check(s) == nil
}

// onTarget is the rule for a text, as the target checks it again.
func (r Rule) onTarget() request.Rule {
	return request.Rule{Hostname: r.Kind == Hostname, Pattern: r.Pattern, Expects: r.want(), Optional: r.Optional}
}

func isSSHKey(s string) bool {
	_, _, _, rest, err := ssh.ParseAuthorizedKey([]byte(s))
	return err == nil && len(rest) == 0 && !strings.ContainsAny(s, "\x00\n\r")
}

func (r Rule) number(s string) (int64, error) {
	if r.Kind == Size {
		return ParseSize(s)
	}
	return strconv.ParseInt(s, 10, 64)
}

func (r Rule) inRange(n int64) error {
	if lo, err := r.number(r.Min); err == nil && n < lo {
		return fmt.Errorf("expected at least %s, got %s", r.Min, r.Format(n))
	}
	if hi, err := r.number(r.Max); err == nil && n > hi {
		return fmt.Errorf("expected at most %s, got %s", r.Max, r.Format(n))
	}
	return nil
}

// Format writes a value as -o takes it.
func (r Rule) Format(v any) string {
	switch v := v.(type) {
	case int64:
		if r.Kind == Size {
			return FormatSize(v)
		}
	case []string:
		return formatList(v)
	}
	return fmt.Sprint(v)
}
