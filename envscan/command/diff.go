package command

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/victorinix/vic/envscan"
	"github.com/victorinix/vic/envscan/query"
)

func diffVerb() Verb {
	return Verb{
		Name: "diff", Args: []string{"A", "B"}, Short: "Print the facts that differ; exit with 1 when some do",
		Long: `A and B are documents that dump wrote as JSON, - for standard input, or live for
this machine now. Each line is a path, what it was in A, and what it is in B.
Disks, network cards and the like are the same when their serial number, address
or place on the bus is, wherever they are in a list. How the documents were made
(scan) does not count.`,
		Example: "vic-env diff before.json after.json\nvic-env diff before.json live\nssh web1 vic-env dump | vic-env diff - live",
		New: func(flags *flag.FlagSet) Run {
			var f diffFlags
			f.scan.add(flags)
			flags.BoolVar(&f.state, "state", false, "compare state too, which changes all the time")
			flags.StringVar(&f.format, "format", "text", "`FORMAT` of the differences: text or json")
			return f.run
		},
	}
}

type diffFlags struct {
	scan   scanFlags
	state  bool
	format string
}

func (f *diffFlags) run(ctx context.Context, s Streams, args []string) error {
	if err := oneOf("format", f.format, "text", "json"); err != nil {
		return err
	}
	if args[0] == "-" && args[1] == "-" {
		return misuse("", "vic-env diff: only one of A and B can be standard input")
	}
	var docs [2]*query.Node
	for i, arg := range args {
		var err error
		if docs[i], err = f.read(ctx, s, arg); err != nil {
			return err
		}
	}
	changes := envscan.Diff(docs[0], docs[1], f.state)
	if f.format == "json" {
		if err := writeChanges(s.Out, changes); err != nil {
			return err
		}
	} else {
		for _, c := range changes {
			if _, err := fmt.Fprintln(s.Out, c); err != nil {
				return err
			}
		}
	}
	if len(changes) > 0 {
		return &Error{Code: exitNone}
	}
	return nil
}

// writeChanges writes a list; what is absent in a document has no old or new.
func writeChanges(w io.Writer, changes []envscan.Change) error {
	type change struct {
		Path string      `json:"path"`
		Old  *query.Node `json:"old,omitempty"`
		New  *query.Node `json:"new,omitempty"`
	}
	list := []change{}
	for _, c := range changes {
		list = append(list, change(c))
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(list)
}

func (f *diffFlags) read(ctx context.Context, s Streams, arg string) (*query.Node, error) {
	var text []byte
	var err error
	switch arg {
	case "live":
		facts, err := f.scan.scan(ctx)
		if err != nil {
			return nil, err
		}
		return envscan.Document(facts)
	case "-":
		text, err = io.ReadAll(s.In)
	default:
		text, err = os.ReadFile(arg)
	}
	if err != nil {
		return nil, &Error{exitRefused, fmt.Errorf("read facts: %w", err), "A and B are files that `vic-env dump` wrote, - or live"}
	}
	doc, err := envscan.ReadDocument(text)
	if err != nil {
		return nil, &Error{exitRefused, fmt.Errorf("%s: %w", arg, err), "`vic-env dump` writes documents of facts, as JSON"}
	}
	return doc, nil
}
