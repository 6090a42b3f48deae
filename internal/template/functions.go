package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// typ is what an expression gives.
type typ int

const (
	text      typ = iota
	boolean       // "true" or "false"; goes where text goes
	secretive     // the name of a secret, and what is done to it
)

// function is one that templates call. A value that is piped in is the last
// argument, as in text/template.
type function struct {
	least, most int // arguments
	gives       typ
	// name: its only argument is a constant, and it is the name of something.
	name bool
	// secret: a secret may go through it, as the last argument, and stays one.
	secret bool
	// apply is nil for those that are not pure: they ask the Source.
	apply func(args []string) (string, error)
}

// functions by name. Those without apply, and the logic that decides whether to
// look at an argument at all, are in render.go.
var functions = map[string]function{
	"option": {least: 1, most: 1, name: true},
	"env":    {least: 1, most: 1, name: true},
	"secret": {least: 1, most: 1, name: true, gives: secretive},
	"has":    {least: 1, most: 1, name: true, gives: boolean},

	"and": {least: 2, most: 16, gives: boolean},
	"or":  {least: 2, most: 16, gives: boolean},
	"not": {least: 1, most: 1, gives: boolean},
	"eq":  {least: 2, most: 16, gives: boolean},
	"ne":  {least: 2, most: 2, gives: boolean},

	"json":    {least: 1, most: 1, secret: true, apply: quoteJSON},
	"shell":   {least: 1, most: 1, secret: true, apply: quoteShell},
	"indent":  {least: 2, most: 2, secret: true, apply: indent},
	"lower":   {least: 1, most: 1, apply: func(a []string) (string, error) { return strings.ToLower(a[0]), nil }},
	"upper":   {least: 1, most: 1, apply: func(a []string) (string, error) { return strings.ToUpper(a[0]), nil }},
	"replace": {least: 3, most: 3, apply: func(a []string) (string, error) { return strings.ReplaceAll(a[2], a[0], a[1]), nil }},
}

func functionNames() []string { return slices.Sorted(maps.Keys(functions)) }

// quoteJSON makes a JSON string, which is a YAML one too.
func quoteJSON(a []string) (string, error) {
	if !utf8.ValidString(a[0]) {
		return "", errors.New("json: it is no UTF-8")
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(a[0])
	return strings.TrimSuffix(b.String(), "\n"), err
}

// quoteShell makes one word of a POSIX shell.
func quoteShell(a []string) (string, error) {
	if strings.ContainsRune(a[0], 0) {
		return "", errors.New("shell: it has a NUL, which no shell takes")
	}
	return "'" + strings.ReplaceAll(a[0], "'", `'\''`) + "'", nil
}

// indent puts spaces before every line but the first, which stands where the
// action stands.
func indent(a []string) (string, error) {
	n, err := spaces(a[0])
	return strings.ReplaceAll(a[1], "\n", "\n"+strings.Repeat(" ", n)), err
}

func spaces(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 || n > 64 {
		return 0, fmt.Errorf("indent: %q is no number of spaces (0 to 64)", s)
	}
	return n, nil
}

// Filter is a function that a secret goes through when it is written.
type Filter struct {
	Name string   `json:"name"`
	Args []string `json:"args,omitempty"` // before the secret itself
}

func (f Filter) apply(value string) (string, error) {
	fn, ok := functions[f.Name]
	if !ok || !fn.secret || len(f.Args)+1 != fn.least {
		return "", fmt.Errorf("%q is no function that a secret goes through", f.Name)
	}
	return fn.apply(append(slices.Clone(f.Args), value))
}
