// Package command is the command line of vic-env: it prints what envscan finds
// out. It is small and has no dependency on vic's own command line, so that it
// fits on any machine; `vic env` is made of the same verbs.
//
// A verb is a Verb value, in a file of its name, and listed in Verbs.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/victorinix/vic/internal/nearest"
)

// The exit codes; they are vic's, with 1 as of grep and diff.
const (
	exitNone    = 1 // nothing matches; documents differ; the fact is not there
	exitUsage   = 2
	exitRefused = 3 // before anything was touched
	exitFailed  = 4
)

// Verb is what vic-env can do.
type Verb struct {
	Name string
	// Args are the names of the arguments. One in brackets may be left out, one
	// that ends in ... may be given more than once.
	Args    []string
	Short   string // one line
	Long    string // may be empty
	Example string // lines that begin with "vic-env "
	// New defines the verb's flags, and returns what runs it when they are
	// parsed.
	New func(*flag.FlagSet) Run
}

// Run does what the flags and args say.
type Run func(ctx context.Context, s Streams, args []string) error

// Streams are a verb's surroundings: where it reads and writes: Out is for machines, or the one
// thing that was asked for, Err for people.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	// Self is how this program runs a verb of vic-env: its path, and perhaps an
	// argument. capture watches it.
	Self []string
}

// Verbs are all of them, in the order of the help.
func Verbs() []Verb {
	return []Verb{dumpVerb(), getVerb(), matchVerb(), namesVerb(), diffVerb(), schemaVerb(), captureVerb()}
}

// Error is an error with an exit code, and what to do about it.
type Error struct {
	Code int
	Err  error // nil: the exit code says it all
	Hint string
}

func (e *Error) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

func misuse(hint, format string, args ...any) error {
	return &Error{exitUsage, fmt.Errorf(format, args...), hint}
}

// Main runs the command line args, without the name of the program, and returns
// the exit code.
func Main(ctx context.Context, args []string, s Streams) int {
	err := run(ctx, args, s)
	var e *Error
	if err != nil && !errors.As(err, &e) {
		e = &Error{exitFailed, err, ""}
	}
	if e == nil {
		return 0
	}
	if e.Err != nil {
		fmt.Fprintln(s.Err, "vic-env:", e.Err)
	}
	if e.Hint != "" {
		fmt.Fprintln(s.Err, "hint:", e.Hint)
	}
	return e.Code
}

func run(ctx context.Context, args []string, s Streams) error {
	if len(args) == 0 {
		return misuse("`vic-env --help` lists the verbs", "expected a verb")
	}
	switch args[0] {
	case "-h", "-help", "--help":
		return usage(s.Out)
	case "help":
		if len(args) == 1 {
			return usage(s.Out)
		}
		args = []string{args[1], "--help"}
	}
	v, err := find(args[0])
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet(v.Name, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	run := v.New(flags)
	rest, err := parse(flags, args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return v.help(s.Out, flags)
	} else if err != nil {
		return v.flagError(flags, err)
	}
	if err := v.CheckArgs(rest); err != nil {
		return misuse("usage: vic-env "+v.Usage(), "vic-env %s %w", v.Name, err)
	}
	return run(ctx, s, rest)
}

func find(name string) (Verb, error) {
	var names []string
	for _, v := range Verbs() {
		if v.Name == name {
			return v, nil
		}
		names = append(names, v.Name)
	}
	suggestion := ""
	if near := nearest.Name(name, names); near != "" {
		suggestion = fmt.Sprintf("; did you mean %q?", near)
	}
	return Verb{}, misuse("`vic-env --help` lists the verbs", "unknown verb %q%s", name, suggestion)
}

// parse takes flags before and after the arguments.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	var rest []string
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		// Behind -- everything is an argument.
		if used := len(args) - flags.NArg(); used > 0 && args[used-1] == "--" {
			return append(rest, flags.Args()...), nil
		}
		if args = flags.Args(); len(args) > 0 {
			rest, args = append(rest, args[0]), args[1:]
		}
	}
	return rest, nil
}

// flagError names the nearest right flag.
func (v Verb) flagError(flags *flag.FlagSet, err error) error {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		var names []string
		flags.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
		text = "unknown flag --" + strings.TrimPrefix(name, "-")
		if near := nearest.Name(name, names); near != "" {
			text += fmt.Sprintf("; did you mean %q?", "--"+near)
		}
	}
	return misuse("`vic-env "+v.Name+" --help` lists the flags", "%s", text)
}

// Usage is the verb with its arguments.
func (v Verb) Usage() string { return strings.Join(append([]string{v.Name}, v.Args...), " ") }

// CheckArgs checks the number of arguments.
func (v Verb) CheckArgs(given []string) error {
	least, many := 0, false
	for _, a := range v.Args {
		many = many || strings.HasSuffix(strings.TrimSuffix(a, "]"), "...")
		if !strings.HasPrefix(a, "[") {
			least++
		}
	}
	switch {
	case len(given) < least:
		return fmt.Errorf("needs %s", strings.Join(v.Args[len(given):least], " and "))
	case len(given) > len(v.Args) && !many:
		return fmt.Errorf("takes no argument %q", given[len(v.Args)])
	}
	return nil
}

func usage(w io.Writer) error {
	var b strings.Builder
	b.WriteString("vic-env finds out what this machine is.\n\n")
	width := 0
	for _, v := range Verbs() {
		width = max(width, len(v.Usage()))
	}
	for _, v := range Verbs() {
		fmt.Fprintf(&b, "  vic-env %-*s  %s\n", width, v.Usage(), v.Short)
	}
	b.WriteString(`
PATH is dotted, as in configs: hw.nic.0.hwaddr, hw.disk[name=sda].serial, os.
It only reads, and needs no privilege; scan.gaps lists what could not be read.
` + "`vic-env VERB --help`" + ` explains a verb.

Example:
  vic-env get hw.disk
`)
	_, err := io.WriteString(w, b.String())
	return err
}

func (v Verb) help(w io.Writer, flags *flag.FlagSet) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s.\n\n", v.Short)
	if v.Long != "" {
		fmt.Fprintf(&b, "%s\n\n", v.Long)
	}
	fmt.Fprintf(&b, "Usage:\n  vic-env %s [flags]\n\nExamples:\n", v.Usage())
	for line := range strings.Lines(v.Example) {
		b.WriteString("  " + line)
	}
	b.WriteString("\n\nFlags:\n")
	var rows [][2]string
	flags.VisitAll(func(f *flag.Flag) {
		name, text := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" {
			text += " (default " + f.DefValue + ")"
		}
		rows = append(rows, [2]string{strings.TrimSpace("--" + f.Name + " " + name), text})
	})
	rows = append(rows, [2]string{"--help", "explain the verb"})
	slices.SortFunc(rows, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	width := 0
	for _, r := range rows {
		width = max(width, len(r[0]))
	}
	for _, r := range rows {
		fmt.Fprintf(&b, "  %-*s  %s\n", width, r[0], r[1])
	}
	_, err := io.WriteString(w, b.String())
	return err
}
