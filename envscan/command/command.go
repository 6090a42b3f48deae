// Package command is the command line of vic-env: it prints what envscan finds
// out. It is small and has no dependency on vic's own command line, so that it
// fits on any machine.
package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/victorinix/vic/envscan"
)

const usage = `vic-env finds out what this machine is.

  vic-env dump [--format json|yaml] [--root DIR]   print all facts
  vic-env get [--root DIR] PATH                    print one fact

PATH is dotted, as in configs: env.hw.nic.0.hwaddr, hw.disk.0.serial, os.

  --format FORMAT    json (default) or yaml
  --root DIR         read the /sys, /proc, /dev and /etc below DIR instead
  --timeout TIME     for devices that do not answer (default 10s)

It only reads, and needs no privilege; scan.gaps lists what root could read in
addition.

Example:
  vic-env get hw.disk
`

// UsageError is an error of whoever typed the command: exit code 2.
type UsageError struct{ error }

func misuse(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// ExitCode is the exit code that an error of Run calls for.
func ExitCode(err error) int {
	var u UsageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &u):
		return 2
	}
	return 1
}

// options are what the flags say.
type options struct {
	format string
	config envscan.Config
	args   []string
}

// Run executes the command line args, without the name of the program.
func Run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return misuse("expected dump or get PATH; see vic-env --help")
	}
	switch verb, rest := args[0], args[1:]; verb {
	case "dump", "get":
		o, err := parse(verb, rest)
		if errors.Is(err, flag.ErrHelp) {
			return help(stdout)
		} else if err != nil {
			return UsageError{err}
		}
		return run(ctx, verb, o, stdout)
	case "-h", "-help", "--help", "help":
		return help(stdout)
	default:
		return misuse("unknown command %q, expected dump or get; see vic-env --help", verb)
	}
}

func help(w io.Writer) error {
	_, err := io.WriteString(w, usage)
	return err
}

// parse takes flags before and after the path.
func parse(verb string, args []string) (options, error) {
	o := options{format: "json"}
	fs := flag.NewFlagSet(verb, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.format, "format", o.format, "")
	fs.StringVar(&o.config.Root, "root", "/", "")
	fs.DurationVar(&o.config.Timeout, "timeout", 10*time.Second, "")
	for len(args) > 0 {
		if err := fs.Parse(args); err != nil {
			return o, err
		}
		if args = fs.Args(); len(args) > 0 {
			o.args, args = append(o.args, args[0]), args[1:]
		}
	}
	switch {
	case o.format != "json" && o.format != "yaml":
		return o, fmt.Errorf("--format: expected json or yaml, got %q", o.format)
	case o.config.Timeout <= 0:
		return o, fmt.Errorf("--timeout: expected a time such as 10s, got %v", o.config.Timeout)
	case verb == "get" && len(o.args) != 1:
		return o, errors.New("get takes one PATH, such as hw.nic.0.hwaddr")
	case verb == "dump" && len(o.args) != 0:
		return o, fmt.Errorf("dump takes no argument, got %q", o.args[0])
	}
	return o, nil
}

func run(ctx context.Context, verb string, o options, stdout io.Writer) error {
	facts, err := envscan.Scan(ctx, o.config)
	if err != nil {
		return err
	}
	var v any = facts
	if verb == "get" {
		if v, err = envscan.Lookup(facts, o.args[0]); err != nil {
			return err
		}
	}
	text, err := render(v, o.format)
	if err != nil {
		return fmt.Errorf("print facts: %w", err)
	}
	_, err = stdout.Write(text)
	return err
}

// render prints a scalar bare, for shells, and everything else as a document.
func render(v any, format string) ([]byte, error) {
	switch v := v.(type) {
	case string:
		return []byte(v + "\n"), nil
	case json.Number, bool:
		return fmt.Appendln(nil, v), nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil || format == "json" {
		return b.Bytes(), err
	}
	text, err := yaml.JSONToYAML(b.Bytes())
	return append([]byte(strings.TrimRight(string(text), "\n")), '\n'), err
}
